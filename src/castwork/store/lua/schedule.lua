-- Keep a schedule. One that is there already keeps its next time, unless its times have changed,
-- and stays paused, if it is.
-- Idempotent: a repeated call writes the same again.
--
-- KEYS  1 schedules   2 ticks
-- ARGV  1 id   2 times   3 schedule (TIMES, a line break, JSON)   4 ms of its next run
-- RETURN  1 new, 0 there already
local before = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if not before then
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
  return 1
end
local changed = string.match(before, '^[^\n]*') ~= ARGV[2]
if changed and redis.call('ZSCORE', KEYS[2], ARGV[1]) then redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1]) end
return 0
