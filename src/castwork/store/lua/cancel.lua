-- Cancel a task: at once while it waits, by a message to its worker while it runs.
-- Idempotent: a task that has ended keeps its outcome. An entry of an adopted stream is deleted
-- while its group has not been given it; where others read the stream too it is noted as unwanted,
-- and whichever worker is given it drops it.
--
-- KEYS  1 record   2 due   3 parked   4 moved   5 high   6 normal   7 low   8 output   9 saved
--       10 held   11 waiters   12 turns   13 lines   14 waking
--       15 adopted stream   16 unwanted
-- ARGV  1 id   2 place that the id names ('': none)   3 nonce of the entry at that place
--       4 record of the cancelled task   5 ttl_ms ('': none)   6 control channel   7 group   8 channel
--       9 1: entries of the adopted stream may be deleted
--       10 call of the task that follows the end ('': none), which goes to the normal lane
--       11 what its worker is told on the control channel, if it runs
-- RETURN  status: 'cancelled', another final one, 'running' (its worker was told), 'unknown'
-- USES is_ahead lines
local call, id = redis.call, ARGV[1]
local raw, moved = call('GET', KEYS[1]), call('HGET', KEYS[4], id)
local status = raw and (string.match(raw, '^{"status":"(%a+)"') or cjson.decode(raw).status)
if status and status ~= 'scheduled' and status ~= 'queued' and status ~= 'running' then return status end

local lanes = {high = KEYS[5], normal = KEYS[6], low = KEYS[7], stream = KEYS[15]}
local lane, entry = string.match(moved or ARGV[2], '^(%a+):(%d+%-%d+)$')
local found = lane and lanes[lane] and call('XRANGE', lanes[lane], entry, entry)[1]
local fields = found and found[2]
local nonce = found and fields[1] == 'call' and string.match(fields[2], '^[^ ]+ ([^ ]+) ')
if lane == 'stream' then
  found = found and is_ahead(lanes.stream, ARGV[7], entry)
elseif found and not moved and nonce ~= ARGV[3] then
  found = nil
end

local removed = 0
local waits = call('HGET', KEYS[10], id)
if waits then
  call('HDEL', KEYS[10], id)
  call('ZREM', KEYS[11], waits)
  removed = call('HDEL', KEYS[3], id)
elseif call('ZREM', KEYS[2], id) == 1 then
  removed = call('HDEL', KEYS[3], id)
elseif found and lane == 'stream' then
  removed = 1
  if ARGV[9] == '1' then
    call('XDEL', lanes.stream, entry)
  else
    call('HSET', KEYS[16], id, entry)
    redis.pcall('PUBLISH', ARGV[6], id .. '\nunwanted')
  end
elseif found then
  local pending = redis.pcall('XPENDING', lanes[lane], ARGV[7], entry, entry, 1)
  if pending.err or not pending[1] then removed = call('XDEL', lanes[lane], entry) end
end
if removed == 0 then
  redis.pcall('PUBLISH', ARGV[6], ARGV[11])
  return (raw or found) and 'running' or 'unknown'
end
call('HDEL', KEYS[4], id)
local line = leave_line(KEYS[12], KEYS[13], id)
if line then call('ZADD', KEYS[14], 0, line) end -- the next in the line is woken soon
if ARGV[10] ~= '' then call('XADD', KEYS[6], '*', 'call', ARGV[10]) end
call('SET', KEYS[1], ARGV[4])
if ARGV[5] ~= '' then
  call('PEXPIRE', KEYS[1], ARGV[5])
  call('PEXPIRE', KEYS[8], ARGV[5])
end
call('DEL', KEYS[9])
redis.pcall('PUBLISH', ARGV[8], KEYS[1] .. '\n' .. ARGV[4])
return 'cancelled'
