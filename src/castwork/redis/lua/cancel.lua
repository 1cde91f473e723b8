-- Cancel a task: at once while it waits, by a message to its worker while it runs.
-- Idempotent: a task that has ended keeps its outcome.
--
-- KEYS  1 record   2 scheduled   3 parked   4 entries   5 high   6 normal   7 low   8 output
-- ARGV  1 id   2 record of the cancelled task   3 ttl_ms   4 control channel   5 group
-- RETURN  state: 'cancelled', another final state, 'running' (its worker was told), 'unknown'
local id = ARGV[1]
local raw, place = redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[4], id)
if not raw and not place then
  redis.call('PUBLISH', ARGV[4], id)
  return 'unknown'
end
local state = raw and cjson.decode(raw).state or 'queued'
if state ~= 'scheduled' and state ~= 'queued' and state ~= 'running' then return state end

local removed = 0
if state == 'scheduled' then
  removed = redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[3], id)
elseif place then
  local lanes = {high = KEYS[5], normal = KEYS[6], low = KEYS[7]}
  local lane, entry = string.match(place, '^(%a+):(%d+%-%d+)$')
  local stream = lanes[lane]
  if stream and redis.call('EXISTS', stream) == 1 then
    local pending = redis.pcall('XPENDING', stream, ARGV[5], entry, entry, 1)
    if pending.err or not pending[1] then removed = redis.call('XDEL', stream, entry) end
  end
end
if removed == 0 then
  redis.call('PUBLISH', ARGV[4], id)
  return 'running'
end
redis.call('HDEL', KEYS[4], id)
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[8], ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 'cancelled'
