-- Move a task that ran out of attempts, or can never run, to the dead letters.
-- Its entry goes along byte for byte. Idempotent: a repeated call finds its own record.
--
-- KEYS  1 lane   2 record   3 dead   4 entries
-- ARGV  1 group   2 consumer   3 entry   4 deliveries   5 1 to delete the entry
--       6 task id   7 record   then the fields of the dead letter
-- RETURN  1 buried, 0 lease lost
-- USES owns
local group, consumer, entry, record = ARGV[1], ARGV[2], ARGV[3], ARGV[7]
if not owns(KEYS[1], group, entry, consumer, ARGV[4]) then
  return redis.call('GET', KEYS[2]) == record and 1 or 0
end
redis.call('XACK', KEYS[1], group, entry)
if ARGV[5] == '1' then redis.call('XDEL', KEYS[1], entry) end
redis.call('HDEL', KEYS[4], ARGV[6])
redis.call('XADD', KEYS[3], '*', unpack(ARGV, 8))
redis.call('SET', KEYS[2], record)
redis.call('PUBLISH', KEYS[2], record)
return 1
