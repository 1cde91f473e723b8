-- Tell what is known of an adopted stream's entry: its record, else where the entry is. A record that
-- says `running` while the group has done with the entry is of an attempt that another program
-- ended by acknowledging the entry: a second call, with that record and the final one, ends it.
-- Idempotent: a repeated call finds the final record.
--
-- KEYS  1 stream   2 record   3 moved   4 output   5 unwanted
-- ARGV  1 group   2 entry   3 id   then, to end a task: 4 the record as it was   5 final record
--       6 ttl_ms   7 channel
-- RETURN  {'record', record}, {'moved', place}, {'waiting'}, {'cancelled'}, {'held', consumer, deliveries},
--         {'gone', record that says running}, or {'unknown'}
-- USES is_ahead
local call, group, entry = redis.call, ARGV[1], ARGV[2]
local raw = call('GET', KEYS[2])
if raw and not string.find(raw, '^{"status":"running"') then return {'record', raw} end
local place = call('HGET', KEYS[3], ARGV[3])
if place then return raw and {'record', raw} or {'moved', place} end

local pending = redis.pcall('XPENDING', KEYS[1], group, entry, entry, 1)
local held = not pending.err and pending[1]
if held then return raw and {'record', raw} or {'held', held[2], held[4]} end
if pending.err or is_ahead(KEYS[1], group, entry) then
  if raw then return {'record', raw} end
  if call('HEXISTS', KEYS[5], ARGV[3]) == 1 then return {'cancelled'} end
  return {call('XRANGE', KEYS[1], entry, entry)[1] and 'waiting' or 'unknown'}
end
if not raw then return {'unknown'} end
if raw ~= ARGV[4] then return {'gone', raw} end
call('SET', KEYS[2], ARGV[5], 'PX', ARGV[6])
call('PEXPIRE', KEYS[4], ARGV[6])
redis.pcall('PUBLISH', ARGV[7], KEYS[2] .. '\n' .. ARGV[5])
return {'record', ARGV[5]}
