-- Renew leases of one lane: the idle time of each entry starts again.
-- A lease that has passed to another worker is reported and left alone.
--
-- KEYS  1 lane
-- ARGV  1 group   2 consumer   then per attempt (1000 at most, oldest first): entry, deliveries
-- RETURN  positions (from 1) of the attempts whose lease is lost
-- USES owns
local group, consumer = ARGV[1], ARGV[2]
local count, held, mine, lost = (#ARGV - 2) / 2, {}, {}, {}

-- One listing from the first to the last is cheaper than a look per attempt; what it misses
-- (an attempt out of order, a consumer that holds much else between them) is looked at alone.
local pending = redis.pcall('XPENDING', KEYS[1], group, ARGV[3], ARGV[1 + 2 * count], count, consumer)
if not pending.err then
  for _, one in ipairs(pending) do held[one[1]] = tostring(one[4]) end
end
for i = 1, count do
  local entry, deliveries = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  if held[entry] == deliveries or owns(KEYS[1], group, entry, consumer, deliveries) then
    mine[#mine + 1] = entry
  else
    lost[#lost + 1] = i
  end
end
if mine[1] then
  mine[#mine + 1] = 'JUSTID'
  redis.call('XCLAIM', KEYS[1], group, consumer, 0, unpack(mine))
end
return lost
