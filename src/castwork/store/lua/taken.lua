-- Let go of tasks whose results a step has taken, or that no step takes any more. One that has not
-- ended is left alone, and so is a dead letter, which people may want to look at.
-- Idempotent: a repeated call begins the time to live anew.
--
-- KEYS  per task: record, output
-- ARGV  1 ttl_ms
-- RETURN  number of tasks that have a time to live now
local call, count = redis.call, 0
local lasting = {scheduled = true, queued = true, running = true, dead = true}
for i = 1, #KEYS, 2 do
  local status = string.match(call('GETRANGE', KEYS[i], 0, 30), '^{"status":"(%a+)"')
  if status and not lasting[status] then
    call('PEXPIRE', KEYS[i], ARGV[1])
    call('PEXPIRE', KEYS[i + 1], ARGV[1])
    count = count + 1
  end
end
return count
