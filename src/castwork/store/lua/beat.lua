-- Note that a process is alive, by the server's clock; forget processes that are long silent.
--
-- KEYS  1 members (zset: last sign of life)   2 info (hash)
-- ARGV  1 member   2 info (JSON)   3 ms of silence after which a member is forgotten
--       4 channel on which the info is published ('': none)
-- RETURN  server time in ms
-- USES now
local time = now()
redis.call('ZADD', KEYS[1], time, ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local silent = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', time - ARGV[3], 'LIMIT', 0, 20)
if silent[1] then
  redis.call('ZREM', KEYS[1], unpack(silent))
  redis.call('HDEL', KEYS[2], unpack(silent))
end
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[2]) end
return time
