-- Tell which of some running tasks nobody watches any more. A task that nobody has watched yet, or
-- whose lease is not there any more, gets a lease. Idempotent.
--
-- KEYS  1 watched
-- ARGV  1 lease_ms   2... ids
-- RETURN  ids of those whose lease has passed
-- USES now
local time, lease, passed = now(), tonumber(ARGV[1]), {}
for i = 2, #ARGV do
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if not ends then
    redis.call('ZADD', KEYS[1], time + lease, ARGV[i])
  elseif tonumber(ends) < time then
    passed[#passed + 1] = ARGV[i]
  end
end
redis.call('PEXPIRE', KEYS[1], 200 * lease)
return passed
