-- Give back the places of tasks whose attempts have ended, and wake those who wait for them.
-- Nothing changes for a task that has a later attempt.
-- Idempotent: a repeated call finds nothing to give back.
--
-- KEYS  1 to 13 as of `limits`
-- ARGV  per task: id, what it holds places as (lane, entry, deliveries, lease_ms, worker), 1 if the
--       task has ended and so leaves its line, number of its places, then per place: key, spec
-- RETURN  ms until the next look (-1: none)
-- USES unparked lines limits waking
local call, at = redis.call, 1
while at <= #ARGV do
  local id, last = ARGV[at], at + 3 + 2 * tonumber(ARGV[at + 3])
  local holding = call('HGET', KEYS[2], id)
  if holding and string.match(holding, '^[^\n]*') == ARGV[at + 1] then
    call('HDEL', KEYS[2], id)
    for i = at + 4, last, 2 do
      call('ZREM', KEYS[3], ARGV[i] .. '\n' .. id)
      if call('HEXISTS', KEYS[7], ARGV[i]) == 1 then
        call('HSET', KEYS[7], ARGV[i], ARGV[i + 1])
        wake(ARGV[i])
      end
    end
  end
  local line = ARGV[at + 2] == '1' and leave_line(KEYS[12], KEYS[13], id)
  if line then wake_line(line) end
  at = last + 1
end
return until_waking()
