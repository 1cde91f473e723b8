-- Park a failed task until its next attempt is due, by the server's clock.
-- The task is never in two places: its entry is acknowledged in the same step.
-- Idempotent: a repeated call finds what it parked.
--
-- KEYS  1 lane   2 record   3 scheduled   4 parked   5 entries
-- ARGV  1 group   2 consumer   3 entry   4 deliveries   5 1 to delete the entry
--       6 task id   7 delay_ms   8 parked entry (JSON)   9 record ('': store none)
-- RETURN  1 parked, 0 lease lost
-- USES owns
local group, consumer, entry, id, parked = ARGV[1], ARGV[2], ARGV[3], ARGV[6], ARGV[8]
if not owns(KEYS[1], group, entry, consumer, ARGV[4]) then
  return redis.call('HGET', KEYS[4], id) == parked and 1 or 0
end
redis.call('XACK', KEYS[1], group, entry)
if ARGV[5] == '1' then redis.call('XDEL', KEYS[1], entry) end
redis.call('HDEL', KEYS[5], id)
local time = redis.call('TIME')
local due = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[7])
redis.call('ZADD', KEYS[3], due, id)
redis.call('HSET', KEYS[4], id, parked)
if ARGV[9] ~= '' then
  redis.call('SET', KEYS[2], ARGV[9])
  redis.call('PUBLISH', KEYS[2], ARGV[9])
end
return 1
