-- Claim entries whose lease has run out: their worker is gone or stuck.
-- Examines at most ten times `count` entries from the cursor on, so it never blocks for long.
--
-- KEYS  1 lane
-- ARGV  1 group   2 consumer   3 lease_ms   4 cursor   5 count
-- RETURN  {next cursor, {entry, {field, value, ...}, deliveries}, ...}
local group, consumer = ARGV[1], ARGV[2]
local reply = redis.call('XAUTOCLAIM', KEYS[1], group, consumer, ARGV[3], ARGV[4],
  'COUNT', ARGV[5])
local found = {reply[1]}
for _, claimed in ipairs(reply[2]) do
  local pending = claimed and redis.call('XPENDING', KEYS[1], group, claimed[1], claimed[1], 1)
  if pending and pending[1] then
    found[#found + 1] = {claimed[1], claimed[2], pending[1][4]}
  end
end
return found
