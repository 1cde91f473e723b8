-- Wake tasks that were held back, where a look was planned for now: a rate has room, an amount may
-- have changed, a task in a line was cancelled, or a task's deadline has passed, which a worker must notice.
-- Idempotent: a repeated call wakes those whose time has come since.
--
-- KEYS  1 to 13 as of `limits`
-- ARGV  1 limits and tasks at most
-- RETURN  ms until the next look (-1: none)
-- USES unparked lines limits waking
local call = redis.call
for _, name in ipairs(call('ZRANGEBYSCORE', KEYS[8], '-inf', now_ms, 'LIMIT', 0, ARGV[1])) do
  if string.sub(name, 1, 1) == '\n' then
    requeue(string.sub(name, 2), nil)
  else
    local before = last_or_first(KEYS[5], name, false)
    wake(name)
    wake_line(name)
    local spec = call('HGET', KEYS[7], name)
    if spec and string.sub(spec, -1) == '1' and last_or_first(KEYS[5], name, false) == before then
      requeue(string.match(before, '([^\n]*)$'), nil) -- its worker asks what the limit is by now
    end
  end
end
return until_waking()
