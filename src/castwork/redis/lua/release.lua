-- Hand a claimed task back to its queue at once, for any worker to take.
-- Idempotent: a repeated call no longer owns the entry and changes nothing.
--
-- KEYS  1 lane it was claimed from   2 lane it goes back to   3 record   4 entries
-- ARGV  1 group   2 consumer   3 entry   4 deliveries   5 1 to delete the entry
--       6 task id   7 name of the lane it goes back to   8 record ('': store none)
--       then the fields of the new entry
-- RETURN  1 handed back, 0 lease lost
-- USES owns
local group, consumer, entry, record = ARGV[1], ARGV[2], ARGV[3], ARGV[8]
if not owns(KEYS[1], group, entry, consumer, ARGV[4]) then return 0 end
redis.call('XACK', KEYS[1], group, entry)
if ARGV[5] == '1' then redis.call('XDEL', KEYS[1], entry) end
local new = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 9))
redis.call('HSET', KEYS[4], ARGV[6], ARGV[7] .. ':' .. new)
if record ~= '' then
  redis.call('SET', KEYS[3], record)
  redis.call('PUBLISH', KEYS[3], record)
end
return 1
