-- Name the entries of an adopted stream that were cancelled while they waited and could not be
-- deleted, as others read the stream. Forget those that the group has done with.
-- Idempotent: a repeated call finds the same that wait.
--
-- KEYS  1 unwanted   2 stream
-- ARGV  1 group
-- RETURN  {id, ...}
-- USES is_ahead
local left, all = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local id, entry = all[i], all[i + 1]
  local pending = redis.pcall('XPENDING', KEYS[2], ARGV[1], entry, entry, 1)
  if (not pending.err and pending[1]) or is_ahead(KEYS[2], ARGV[1], entry) then
    left[#left + 1] = id
  else
    redis.call('HDEL', KEYS[1], id)
  end
end
return left
