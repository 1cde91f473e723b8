-- Tell which parked tasks are due, by the server's clock. When very many are due, each call looks
-- at another part of the earliest, so that several workers do not queue the same tasks.
--
-- KEYS  1 due
-- ARGV  1 limit   2 a random number below 1000
-- RETURN  {ms until the next task is due (-1: no task waits), id of a task that is due, ...}
-- USES now
local time, limit = now(), tonumber(ARGV[1])
local parts = math.min(16, math.floor(redis.call('ZCOUNT', KEYS[1], '-inf', time) / limit))
local skip = math.floor(parts * ARGV[2] / 1000) * limit
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time, 'LIMIT', skip, limit)
local following = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. time, '+inf', 'WITHSCORES',
  'LIMIT', 0, 1)
local wait = following[2] and following[2] - time or -1
return {wait, unpack(ids)}
