-- Tell which parked tasks are due, by the server's clock. When very many are due, each call looks
-- at another part of the earliest, so that several workers do not queue the same tasks.
--
-- KEYS  1 due
-- ARGV  1 limit   2 a random number below 1000
-- RETURN  {ms until the next task is due (-1: no task waits), id of a task that is due, ...}
-- USES now
local time, limit = now(), tonumber(ARGV[1])

local function look(skip)
  return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time, 'LIMIT', skip, limit)
end

local ids = look(0)
if #ids == limit then
  local others = look(math.floor(16 * ARGV[2] / 1000) * limit)
  if #others == limit then ids = others end -- fewer than the limit would say that no more are due
end
local following = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. time, '+inf', 'WITHSCORES',
  'LIMIT', 0, 1)
local wait = following[2] and following[2] - time or -1
return {wait, unpack(ids)}
