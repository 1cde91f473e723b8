-- Queue a dead letter again. Idempotent: whoever removes the dead letter queues the task.
--
-- KEYS  1 dead   2 lane   3 record
-- ARGV  1 id of the dead letter   2 record ('': keep none)   then the fields of the new entry
-- RETURN  1 queued, 0 there is no such dead letter (any more)
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
local entry = redis.call('XADD', KEYS[2], '*', unpack(ARGV, 3))
if ARGV[2] == '' then
  redis.call('DEL', KEYS[3])
  return 1
end
local record = string.gsub(ARGV[2], ':%*"', ':' .. entry .. '"', 1)
redis.call('SET', KEYS[3], record)
redis.call('PUBLISH', KEYS[3], record)
return 1
