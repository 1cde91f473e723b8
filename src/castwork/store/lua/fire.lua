-- Queue the task of a schedule whose time has come, and note its next time.
-- Of all workers that see a run due, one fires it: whoever comes later finds another next time.
-- Idempotent: a repeated call finds that, too.
--
-- KEYS  1 ticks   2 moved   3 lane   4 record of the task
-- ARGV  1 id   2 ms of this run   3 ms of the next run ('': none)   4 1: queue the task, 0: skip it
--       5 task id   6 name of the lane   7 call   8 meta ('': none)
-- RETURN  1 done by this call, 0 another has done it
local call = redis.call
local due = call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) ~= tonumber(ARGV[2]) then return 0 end
if ARGV[4] == '1' and call('HEXISTS', KEYS[2], ARGV[5]) == 0 and call('EXISTS', KEYS[4]) == 0 then
  local fields = {'call', ARGV[7], 'id', ARGV[5]}
  if ARGV[8] ~= '' then fields[5], fields[6] = 'meta', ARGV[8] end
  call('HSET', KEYS[2], ARGV[5], ARGV[6] .. ':' .. call('XADD', KEYS[3], '*', unpack(fields)))
end
if ARGV[3] == '' then call('ZREM', KEYS[1], ARGV[1]) else call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
return 1
