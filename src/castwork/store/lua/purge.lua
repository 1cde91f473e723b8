-- Delete a dead letter with its record, its output and what it saved.
-- Idempotent: a repeated call finds neither letter nor record, and returns 1 as well.
--
-- KEYS  1 dead   2 letters   3 record   4 output   5 saved
-- ARGV  1 id of the dead letter   2 task id
-- RETURN  1 deleted, 0 it was replayed meanwhile
if redis.call('XDEL', KEYS[1], ARGV[1]) == 1 then
  redis.call('HDEL', KEYS[2], ARGV[2])
  redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
  return 1
end
local gone = redis.call('HEXISTS', KEYS[2], ARGV[2]) == 0 and redis.call('EXISTS', KEYS[3]) == 0
return gone and 1 or 0
