-- Move a task that ran out of attempts, or can never run, to the dead letters.
-- The entry's fields are kept byte for byte.
-- Idempotent: a repeated call finds its own record, or the letter where no records are kept.
--
-- KEYS  1 lane   2 record   3 dead   4 letters   5 moved
-- ARGV  1 group   2 worker   3 entry   4 deliveries   5 1 to delete the entry
--       6 task id   7 record ('': store none)   8 channel   then the fields of the dead letter
-- RETURN  1 buried, 0 lease lost
-- USES owns leave tell
local id, record = ARGV[6], ARGV[7]
if not owns(KEYS[1], ARGV[1], ARGV[3], ARGV[2], ARGV[4]) then
  if record == '' then return redis.call('HEXISTS', KEYS[4], id) end
  return redis.call('GET', KEYS[2]) == record and 1 or 0
end
local letter = redis.call('XADD', KEYS[3], '*', unpack(ARGV, 9)) -- first: a refusal must lose nothing
redis.call('HSET', KEYS[4], id, letter)
leave(KEYS[1], ARGV[1], ARGV[3], ARGV[5], KEYS[5], id)
tell(KEYS[2], record, ARGV[8])
return 1
