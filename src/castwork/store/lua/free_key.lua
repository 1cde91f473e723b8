-- Free an idempotency key, if a task still has it.
-- Idempotent: a key that nobody has is free.
--
-- KEYS  1 key
-- ARGV  1 task id
-- RETURN  1 the key is free, 0 another task has it
local holder = redis.call('GET', KEYS[1])
if holder and string.match(holder, '^%S+') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
