-- Give back the places of tasks whose attempts have ended, and wake those who wait for them.
-- Nothing changes for a task that has a later attempt.
-- Idempotent: a repeated call finds nothing to give back.
--
-- KEYS  1 to 11 as of `limits`
-- ARGV  per task: id, what it holds places as (lane, entry, deliveries, lease_ms, worker), number of
--       its places, then per place: key, spec
-- RETURN  ms until the next look (-1: none)
-- USES unparked limits
local call, at = redis.call, 1
while at <= #ARGV do
  local id, last = ARGV[at], at + 1 + 2 * tonumber(ARGV[at + 2])
  local holding = call('HGET', KEYS[2], id)
  if holding and string.match(holding, '^[^\n]*') == ARGV[at + 1] then
    call('HDEL', KEYS[2], id)
    for i = at + 3, last + 1, 2 do
      call('ZREM', KEYS[3], ARGV[i] .. '\n' .. id)
      if call('HEXISTS', KEYS[7], ARGV[i]) == 1 then
        call('HSET', KEYS[7], ARGV[i], ARGV[i + 1])
        wake(ARGV[i])
      end
    end
  end
  at = last + 2
end
return until_waking()
