-- Queue a dead letter again. Idempotent: the call that removes the dead letter queues the task, and
-- a repeated call finds the task queued.
--
-- KEYS  1 dead   2 letters   3 lane   4 record   5 moved
-- ARGV  1 id of the dead letter   2 task id   3 name of the lane   4 record ('': keep none)
--       5 channel   then the fields of the new entry
-- RETURN  1 queued, by this call or before; 0 there is no such dead letter (any more)
-- USES tell
if not redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1] then
  return redis.call('HEXISTS', KEYS[5], ARGV[2])
end
local entry = redis.call('XADD', KEYS[3], '*', unpack(ARGV, 6)) -- first: a refusal must lose nothing
redis.call('XDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[5], ARGV[2], ARGV[3] .. ':' .. entry)
if ARGV[4] == '' then redis.call('DEL', KEYS[4]) end
tell(KEYS[4], ARGV[4], ARGV[5])
return 1
