-- Give a lock back, and tell those who wait for it.
-- Idempotent: a lock that somebody else has is left alone.
--
-- KEYS  1 lock
-- ARGV  1 token   2 channel
-- RETURN  1 given back, 0 it was not held
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', ARGV[2], 'free')
return 1
