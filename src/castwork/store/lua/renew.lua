-- Renew leases of one lane: the idle time of each entry starts again.
-- A lease that has passed to another worker is reported and left alone.
--
-- KEYS  1 lane
-- ARGV  1 group   2 worker   then per attempt (1000 at most, oldest first): entry, deliveries
-- RETURN  positions (from 1) of the attempts whose lease is lost
-- USES owns holds
local entries, counts, claim, lost = {}, {}, {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}, {}
for i = 3, #ARGV, 2 do
  entries[#entries + 1], counts[#counts + 1] = ARGV[i], ARGV[i + 1]
end
for i, mine in ipairs(holds(KEYS[1], ARGV[1], ARGV[2], entries, counts)) do
  if mine then claim[#claim + 1] = entries[i] else lost[#lost + 1] = i end
end
if #claim > 5 then
  claim[#claim + 1] = 'JUSTID'
  redis.call(unpack(claim))
end
return lost
