-- Tell which parked tasks are due, by the server's clock.
--
-- KEYS  1 due
-- ARGV  1 limit
-- RETURN  {ms until the next task is due (-1: no task waits), id of a task that is due, ...}
-- USES now
local time = now()
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time, 'LIMIT', 0, ARGV[1])
local following = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. time, '+inf', 'WITHSCORES',
  'LIMIT', 0, 1)
local wait = following[2] and following[2] - time or -1
return {wait, unpack(ids)}
