-- Take up to `total` waiting tasks, first lanes first, without waiting.
-- A later lane is sure of its share, so that a full first lane does not starve it.
--
-- KEYS  lanes, the most urgent first
-- ARGV  1 consumer   2 total   then per lane: group, share (entries it is sure of)
-- RETURN  {server time in ms, {lane, {{entry, {field, value, ...}}, ...}}, ...}
local consumer, left = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local taken = {time[1] * 1000 + math.floor(time[2] / 1000)}

local function take(lane, count)
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[1 + 2 * lane], consumer,
    'COUNT', count, 'STREAMS', KEYS[lane], '>')
  if reply then
    left = left - #reply[1][2]
    taken[#taken + 1] = {lane, reply[1][2]}
  end
end

for lane = 2, #KEYS do
  local share = math.min(tonumber(ARGV[2 + 2 * lane]), left)
  if share > 0 then take(lane, share) end
end
for lane = 1, #KEYS do
  if left > 0 then take(lane, left) end
end
return taken
