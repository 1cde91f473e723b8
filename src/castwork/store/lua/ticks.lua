-- Tell which schedules are due, by the server's clock.
--
-- KEYS  1 schedules   2 ticks
-- ARGV  1 limit
-- RETURN  {ms now, ms of the next run that is not due (-1: none), then per due one: id, ms, schedule}
-- USES now
local time = now()
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', time, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
local following = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. time, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local reply = {time, following[2] and tonumber(following[2]) or -1}
for i = 1, #found, 2 do
  local kept = redis.call('HGET', KEYS[1], found[i])
  if kept then
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = found[i], tonumber(found[i + 1]), kept
  else
    redis.call('ZREM', KEYS[2], found[i])
  end
end
return reply
