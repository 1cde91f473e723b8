-- Take a lock, or renew it: a lease by the server's clock. A lock whose lease has run out is free.
-- Idempotent: who has the lock gets it again.
--
-- KEYS  1 lock
-- ARGV  1 token   2 lease_ms   3 1: renew only
-- RETURN  {1 taken or renewed, fence}, or {0, ms until the holder's lease ends (0: nobody has it)}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = {}
for i, name in ipairs({'holder', 'until', 'fence'}) do held[i] = redis.call('HGET', KEYS[1], name) end
local left = held[1] and tonumber(held[2]) - now or 0
if held[1] == ARGV[1] then -- also one whose lease has run out, as nobody has taken it
  redis.call('HSET', KEYS[1], 'until', now + tonumber(ARGV[2]))
  return {1, held[3]}
end
if left > 0 then return {0, left} end
if ARGV[3] == '1' then return {0, 0} end
-- The fence grows with each holder, also where nothing is left of the last one.
local fence = time[1] .. string.format('%06d', time[2])
if held[3] and tonumber(fence) <= tonumber(held[3]) then fence = string.format('%.0f', held[3] + 1) end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', now + tonumber(ARGV[2]), 'fence', fence)
return {1, fence}
