-- Tell which scheduled tasks are due, by the server's clock.
--
-- KEYS  1 scheduled
-- ARGV  1 limit
-- RETURN  {ms until the next one that is not due (-1: none), id, ...}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
local following = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf', 'WITHSCORES',
  'LIMIT', 0, 1)
local wait = following[2] and following[2] - now or -1
return {wait, unpack(ids)}
