-- Queue a dead letter again. Idempotent: whoever removes the dead letter queues the task.
--
-- KEYS  1 dead   2 lane   3 record   4 entries
-- ARGV  1 id of the dead letter   2 task id   3 name of the lane   4 record ('': keep none)
--       then the fields of the new entry
-- RETURN  1 queued, 0 there is no such dead letter (any more)
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
local entry = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 5))
redis.call('HSET', KEYS[4], ARGV[2], ARGV[3] .. ':' .. entry)
if ARGV[4] == '' then
  redis.call('DEL', KEYS[3])
else
  redis.call('SET', KEYS[3], ARGV[4])
  redis.call('PUBLISH', KEYS[3], ARGV[4])
end
return 1
