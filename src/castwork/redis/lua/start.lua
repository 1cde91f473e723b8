-- Announce attempts as running.
-- Changes nothing for an attempt whose lease has passed to another worker.
--
-- KEYS  lanes, then one record per attempt
-- ARGV  1 number of lanes   2 consumer   then per lane: group
--       then per attempt: lane, entry, deliveries, record
-- RETURN  number of attempts announced
-- USES owns
local lanes, consumer = tonumber(ARGV[1]), ARGV[2]
local announced = 0
for i = 1, #KEYS - lanes do
  local at = 2 + lanes + 4 * (i - 1)
  local lane = tonumber(ARGV[at + 1])
  if owns(KEYS[lane], ARGV[2 + lane], ARGV[at + 2], consumer, ARGV[at + 3]) then
    redis.call('SET', KEYS[lanes + i], ARGV[at + 4])
    redis.call('PUBLISH', KEYS[lanes + i], ARGV[at + 4])
    announced = announced + 1
  end
end
return announced
