-- Give a task that waits other arguments: the task that has an idempotency key.
-- A task that waits in a lane goes to the lane's end, as entries of streams cannot be changed.
-- Idempotent: a repeated call gives the task the same arguments again.
--
-- KEYS  1 moved   2 parked   3 due   4 high   5 normal   6 low   7 key   8 held
-- ARGV  1 id   2 call   3 group   4 value of the key
--       5 ms until the task is due, if it is parked ('': as it was)
-- RETURN  1 replaced, 0 the task does not wait, or the key is another task's
-- USES now
local call, id = redis.call, ARGV[1]
local holder = call('GET', KEYS[7])
if not holder or string.match(holder, '^%S+') ~= id then return 0 end

local function with_call(fields)
  for i = 1, #fields, 2 do
    if fields[i] == 'call' then fields[i + 1] = ARGV[2] end
  end
  return fields
end

local function in_lane()
  local name, entry = string.match(call('HGET', KEYS[1], id) or '', '^(%a+):(%d+%-%d+)$')
  local stream = ({high = KEYS[4], normal = KEYS[5], low = KEYS[6]})[name]
  local found = stream and call('XRANGE', stream, entry, entry)[1]
  if not found then return false end
  local pending = redis.pcall('XPENDING', stream, ARGV[3], entry, entry, 1)
  if not pending.err and pending[1] then return false end
  local fields = with_call(found[2])
  local dated = false
  for i = 1, #fields, 2 do dated = dated or fields[i] == 'at' end
  if not dated then -- its deadline still counts from when it was enqueued
    fields[#fields + 1], fields[#fields + 2] = 'at', string.match(entry, '^%d+')
  end
  local placed = call('XADD', stream, '*', unpack(fields))
  call('XDEL', stream, entry)
  call('HSET', KEYS[1], id, name .. ':' .. placed)
  return true
end

local function while_parked()
  local waits_for_time = call('ZSCORE', KEYS[3], id)
  local waits = waits_for_time or (KEYS[8] and call('HEXISTS', KEYS[8], id) == 1)
  local raw = waits and call('HGET', KEYS[2], id)
  local at, json = string.match(raw or '', '^(%d+) (.*)$')
  local fine, parked = pcall(cjson.decode, json or '')
  if not fine or type(parked) ~= 'table' or type(parked.fields) ~= 'table' then return false end
  with_call(parked.fields)
  call('HSET', KEYS[2], id, at .. ' ' .. cjson.encode(parked))
  if ARGV[5] ~= '' and waits_for_time then call('ZADD', KEYS[3], now() + tonumber(ARGV[5]), id) end
  return true
end

if not (while_parked() or in_lane()) then return 0 end
call('SET', KEYS[7], ARGV[4], 'KEEPTTL')
return 1
