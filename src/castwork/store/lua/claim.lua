-- Take up to `total` waiting tasks, first lanes first, without waiting.
-- A later lane is sure of its share, so that a full first lane does not starve the later ones.
--
-- KEYS  lanes, the most urgent first
-- ARGV  1 worker   2 group   3 total   then per lane its share (entries that the lane is sure of)
-- RETURN  {server time in ms, {lane, {{entry, {field, value, ...}}, ...}}, ...}
-- USES now
local left, taken = tonumber(ARGV[3]), {now()}

local function take(lane, count)
  local reply = redis.call('XREADGROUP', 'GROUP', ARGV[2], ARGV[1],
    'COUNT', count, 'STREAMS', KEYS[lane], '>')
  if reply then
    left = left - #reply[1][2]
    taken[#taken + 1] = {lane, reply[1][2]}
  end
end

for lane = 2, #KEYS do
  local share = math.min(tonumber(ARGV[3 + lane]), left)
  if share > 0 then take(lane, share) end
end
for lane = 1, #KEYS do
  if left > 0 then take(lane, left) end
end
return taken
