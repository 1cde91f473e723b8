-- Note that one of the tasks has ended for which a step waits.
-- Idempotent: a task is noted once, and only while the step waits.
--
-- KEYS  1 arrived   2 due   3 record of the step
-- ARGV  1 id of the step   2 number of the task
-- RETURN  how many have ended; 0 the step does not wait any more, -1 it has ended
local status = string.match(redis.call('GETRANGE', KEYS[3], 0, 30), '^{"status":"(%a+)"')
if status ~= 'scheduled' and status ~= 'queued' and status ~= 'running' then return -1 end
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], 0, ARGV[2])
return redis.call('ZCARD', KEYS[1])
