-- Keep tasks wanted that somebody watches, for one lease from now on. Idempotent. Leases that passed
-- long ago are removed: they are of tasks that have ended.
--
-- KEYS  1 watched
-- ARGV  1 lease_ms   2... ids
-- RETURN  1
-- USES now
local time, lease = now(), tonumber(ARGV[1])
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], time + lease, ARGV[i]) end
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time - 100 * lease, 'LIMIT', 0, 100)
for i = 1, #old do redis.call('ZREM', KEYS[1], old[i]) end
redis.call('PEXPIRE', KEYS[1], 200 * lease)
return 1
