-- Take a lock, or renew it: a lease by the server's clock. A lock whose lease has run out is free.
-- Idempotent: who has the lock gets it again.
--
-- KEYS  1 lock
-- ARGV  1 token   2 lease_ms   3 1: renew only
-- RETURN  {1 taken or renewed, fence}, or {0, ms until the holder's lease ends (0: nobody has it)}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A field that is a whole number of so many digits at most; nil where another program wrote it.
local function number(name, digits)
  local text = redis.call('HGET', KEYS[1], name)
  return text and #text <= digits and string.find(text, '^%d+$') and tonumber(text) or nil
end

local holder, ends, before = redis.call('HGET', KEYS[1], 'holder'), number('until', 14), number('fence', 16)
local left = holder and ends and ends - now or 0
if holder == ARGV[1] and before then -- also one whose lease has run out, as nobody has taken it
  redis.call('HSET', KEYS[1], 'until', now + tonumber(ARGV[2]))
  return {1, string.format('%.0f', before)}
end
if left > 0 and holder ~= ARGV[1] then return {0, left} end
if ARGV[3] == '1' then return {0, 0} end
-- The fence grows with each holder, also where nothing is left of the last one.
local fence = time[1] .. string.format('%06d', time[2])
if before and tonumber(fence) <= before then fence = string.format('%.0f', before + 1) end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', now + tonumber(ARGV[2]), 'fence', fence)
return {1, fence}
