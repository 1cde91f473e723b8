-- Delete the record, the output and what was saved of a task that has ended.
-- Idempotent: a repeated call finds no record.
--
-- KEYS  1 record   2 output   3 saved
-- ARGV  none
-- RETURN  1 deleted, or there is no record; 0 the task has not ended
local raw = redis.call('GET', KEYS[1])
if not raw then return 1 end
local status = string.match(raw, '^{"status":"(%a+)"') or cjson.decode(raw).status
if status == 'scheduled' or status == 'queued' or status == 'running' then return 0 end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return 1
