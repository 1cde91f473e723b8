-- Renew leases: the idle time of each entry starts again.
-- A lease that has passed to another worker is reported and left alone.
--
-- KEYS  lanes
-- ARGV  1 consumer   then per lane: group   then per attempt: lane, entry, deliveries
-- RETURN  positions (from 1) of the attempts whose lease is lost
-- USES owns
local consumer, lost = ARGV[1], {}
for i = 1, (#ARGV - 1 - #KEYS) / 3 do
  local at = 1 + #KEYS + 3 * (i - 1)
  local lane, entry = tonumber(ARGV[at + 1]), ARGV[at + 2]
  local stream, group = KEYS[lane], ARGV[1 + lane]
  if owns(stream, group, entry, consumer, ARGV[at + 3]) then
    redis.call('XCLAIM', stream, group, consumer, 0, entry, 'JUSTID')
  else
    lost[#lost + 1] = i
  end
end
return lost
