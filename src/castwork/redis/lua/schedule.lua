-- Park a new task until it is due, by the server's clock.
-- Idempotent: a task id that has a record is left alone.
--
-- KEYS  1 record   2 scheduled   3 parked   [4 idempotency key]
-- ARGV  1 id   2 delay_ms   3 parked entry (JSON)   4 record   5 key_ttl_ms (0: no key)
-- RETURN  {'key', id of the task that has the key} | {'ok', tasks added}
local id, delay, key_ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5])

if key_ttl > 0 then
  local holder = redis.call('GET', KEYS[4])
  if holder and holder ~= id then return {'key', holder} end
end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'ok', 0} end

local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + delay
redis.call('ZADD', KEYS[2], due, id)
redis.call('HSET', KEYS[3], id, ARGV[3])
redis.call('SET', KEYS[1], ARGV[4])
if key_ttl > 0 then redis.call('SET', KEYS[4], id, 'PX', key_ttl) end
return {'ok', 1}
