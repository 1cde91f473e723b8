-- Park a task that a worker holds until a time, by the server's clock.
-- The task is never in two places: its entry leaves in the same step.
-- Idempotent: a repeated call finds the parked task, or reports a lost lease if that was queued or
-- given other arguments.
--
-- KEYS  1 lane   2 record   3 parked   4 moved   5 due
-- ARGV  1 group   2 worker   3 entry   4 deliveries   5 1 to delete the entry   6 task id
--       7 parked task (AT JSON)   8 record ('': store none)   9 channel   10 delay_ms
-- RETURN  1 parked, 0 lease lost
-- USES owns leave tell now
local id, parked = ARGV[6], ARGV[7]
if not owns(KEYS[1], ARGV[1], ARGV[3], ARGV[2], ARGV[4]) then
  return redis.call('HGET', KEYS[3], id) == parked and 1 or 0
end
redis.call('HSET', KEYS[3], id, parked) -- first: a refusal must lose nothing
redis.call('ZADD', KEYS[5], now() + tonumber(ARGV[10]), id)
leave(KEYS[1], ARGV[1], ARGV[3], ARGV[5], KEYS[4], id)
tell(KEYS[2], ARGV[8], ARGV[9])
return 1
