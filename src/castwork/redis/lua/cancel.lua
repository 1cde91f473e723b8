-- Cancel a task: at once while it waits, by a message to its worker while it runs.
-- Idempotent: a task that has ended keeps its outcome.
--
-- KEYS  1 record   2 scheduled   3 parked   4 high   5 normal   6 low   7 output
-- ARGV  1 id   2 record of the cancelled task   3 ttl_ms   4 control channel   5 group
-- RETURN  state: 'cancelled', another final state, 'running' (its worker was told), 'unknown'
local raw = redis.call('GET', KEYS[1])
if not raw then
  redis.call('PUBLISH', ARGV[4], ARGV[1])
  return 'unknown'
end
local record = cjson.decode(raw)
local waits = record.state == 'scheduled' or record.state == 'queued'
if not waits and record.state ~= 'running' then return record.state end

local removed = 0
if record.state == 'scheduled' then
  removed = redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
elseif record.entry then
  local lanes = {high = KEYS[4], normal = KEYS[5], low = KEYS[6]}
  local lane, entry = string.match(record.entry, '^(%a+):(%d+%-%d+)$')
  local stream = lanes[lane]
  if stream and redis.call('EXISTS', stream) == 1 then
    local pending = redis.pcall('XPENDING', stream, ARGV[5], entry, entry, 1)
    if pending.err or not pending[1] then removed = redis.call('XDEL', stream, entry) end
  end
end
if removed == 0 then
  redis.call('PUBLISH', ARGV[4], ARGV[1])
  return 'running'
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[7], ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 'cancelled'
