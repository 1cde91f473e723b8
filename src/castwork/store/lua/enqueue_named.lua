-- Queue or park tasks whose ids do not name their place: tasks with an id of the caller's, with a
-- key, or with a delay.
-- Idempotent: a repeated call gets the answer of the first call. A task that is there already is
-- left alone.
--
-- KEYS  1 sent   2 moved   3 parked   4 due   5 high   6 normal   7 low
--       then per task: record, and its idempotency key if it has one
--       then, with a bound, waiters   then, where one stands in a line, turns and lines
-- ARGV  1 sender and slot   2 number of the call   3 max_depth (0: none)
--       then per task: id, name of the lane, call, meta ('': none), delay_ms (0: none), parked,
--       record of a parked task, key_ttl_ms (0: no key, -1: for good), digest of its arguments
-- RETURN  a line per task: '+' added, '=id' the task that is there already, '~id' that task, which
--         has the key and other arguments, '!depth' full
-- USES now sent lines
local call, KEYS, ARGV = redis.call, KEYS, ARGV
local max_depth, depth, next_key, time = tonumber(ARGV[3]), 0, 8, now()
local lanes = {high = KEYS[5], normal = KEYS[6], low = KEYS[7]}

local before = heard(KEYS[1], ARGV[1], ARGV[2])
if before then return before end
local more = 8
for at = 4, #ARGV, 9 do more = more + (ARGV[at + 7] == '0' and 1 or 2) end
if max_depth > 0 then
  for _, stream in pairs(lanes) do depth = depth + call('XLEN', stream) end
  if KEYS[more] then depth = depth + call('ZCARD', KEYS[more]) end
  more = more + 1
end
local turns, lines = KEYS[more], KEYS[more + 1]

local function line_of(meta)
  local fine, decoded = pcall(cjson.decode, string.find(meta, '"serial"', 1, true) and meta or '')
  local line = fine and type(decoded) == 'table' and decoded.serial
  return type(line) == 'string' and string.find(line, '^[^\n]+$') and line
end

local function queue(at)
  if max_depth > 0 and depth >= max_depth then return false end
  local id, lane, meta = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  local fields = {'call', ARGV[at + 2], 'id', id}
  if meta ~= '' then fields[5], fields[6] = 'meta', meta end
  call('HSET', KEYS[2], id, lane .. ':' .. call('XADD', lanes[lane], '*', unpack(fields)))
  local line = turns and line_of(meta)
  if line then join_line(turns, lines, line, id) end
  depth = depth + 1
  return true
end

local function add(at)
  local id, delay, key_ttl = ARGV[at], tonumber(ARGV[at + 4]), tonumber(ARGV[at + 7])
  local record, key = KEYS[next_key], key_ttl ~= 0 and KEYS[next_key + 1]
  next_key = next_key + (key and 2 or 1)
  if call('HEXISTS', KEYS[2], id) == 1 or call('EXISTS', record) == 1 then return '=' .. id end
  local holder, digest = string.match(key and call('GET', key) or '', '^(%S+) ?(%S*)$')
  if holder then return (digest == '' or digest == ARGV[at + 8]) and '=' .. holder or '~' .. holder end
  if delay > 0 then
    call('ZADD', KEYS[4], time + delay, id)
    call('HSET', KEYS[3], id, time .. ' ' .. ARGV[at + 5])
    call('SET', record, ARGV[at + 6])
  elseif not queue(at) then
    return '!' .. depth
  end
  local value = id .. ' ' .. ARGV[at + 8]
  if key_ttl > 0 then call('SET', key, value, 'PX', key_ttl) elseif key then call('SET', key, value) end
  return '+'
end

local lines = {}
for at = 4, #ARGV, 9 do lines[#lines + 1] = add(at) end
local reply = table.concat(lines, '\n')
note(KEYS[1], ARGV[1], ARGV[2], time, reply)
return reply
