-- Keep what an attempt saves for the attempts after it. Idempotent: a repeated call saves the same.
--
-- KEYS  1 lane   2 saved
-- ARGV  1 group   2 worker   3 entry   4 deliveries   5 what is saved   6 ttl_ms
-- RETURN  1 saved, 0 lease lost
-- USES owns
if not owns(KEYS[1], ARGV[1], ARGV[3], ARGV[2], ARGV[4]) then return 0 end
redis.call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6])
return 1
