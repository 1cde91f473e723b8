-- Store the outcome of one task, and queue the task that its end calls for, in one step.
-- A dead task becomes a dead letter.
-- Idempotent: a repeated call finds its own record.
--
-- KEYS  1 lane   2 record   3 output   4 moved   5 dead   6 letters   7 lane of the following task   8 saved
-- ARGV  1 group   2 worker   3 entry   4 deliveries   5 1 to delete the entry   6 task id
--       7 record   8 ttl_ms of the record ('': none)   9 channel   10 call of the following task
--       then the fields of the dead letter, if it is one
-- RETURN  1 stored, 0 lease lost
-- USES owns leave
local call, id, record, ttl = redis.call, ARGV[6], ARGV[7], ARGV[8]
if not owns(KEYS[1], ARGV[1], ARGV[3], ARGV[2], ARGV[4]) then
  return call('GET', KEYS[2]) == record and 1 or 0
end
if ARGV[11] then -- what may be refused comes first: a refusal must lose nothing
  call('HSET', KEYS[6], id, call('XADD', KEYS[5], '*', unpack(ARGV, 11)))
end
call('XADD', KEYS[7], '*', 'call', ARGV[10])
leave(KEYS[1], ARGV[1], ARGV[3], ARGV[5], KEYS[4], id)
call('SET', KEYS[2], record)
if ttl ~= '' then
  call('PEXPIRE', KEYS[2], ttl)
  call('PEXPIRE', KEYS[3], ttl)
  call('DEL', KEYS[8])
end
redis.pcall('PUBLISH', ARGV[9], KEYS[2] .. '\n' .. record)
return 1
