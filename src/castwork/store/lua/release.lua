-- Hand a claimed task back to its queue at once, for any worker to take.
-- Idempotent: a repeated call changes nothing, and reports a lost lease.
--
-- KEYS  1 lane that the task was claimed from   2 lane that it goes back to   3 record   4 moved
-- ARGV  1 group   2 worker   3 entry   4 deliveries   5 1 to delete the entry
--       6 task id   7 name of the lane it goes back to   8 record ('': store none)   9 channel
--       then the fields of the new entry
-- RETURN  1 handed back, 0 lease lost
-- USES owns leave tell
local id = ARGV[6]
if not owns(KEYS[1], ARGV[1], ARGV[3], ARGV[2], ARGV[4]) then return 0 end
local entry = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 10)) -- first: a refusal must lose nothing
leave(KEYS[1], ARGV[1], ARGV[3], ARGV[5], KEYS[4], id)
redis.call('HSET', KEYS[4], id, ARGV[7] .. ':' .. entry)
tell(KEYS[3], ARGV[8], ARGV[9])
return 1
