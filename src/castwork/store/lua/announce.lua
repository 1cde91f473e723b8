-- Announce attempts as running, and renew their leases on the way.
-- Changes nothing for an attempt whose lease has passed to another worker, nor for an attempt that
-- has ended: the entries of a worker without a note in `robbed` are pending for it or not at all,
-- and XCLAIM renews pending entries only.
--
-- KEYS  1 robbed   then lanes   then one record per attempt
-- ARGV  1 number of lanes   2 worker   3 group   4 number of attempts
--       then per lane 1: fenced by note, as only castwork's workers read it
--       then rows of attempts alike: lane, deliveries, number of its attempts, ttl_ms of its
--       records (0: none), channel, message
--       then all entries, then all records
-- RETURN  number of attempts announced
-- USES owns holds
local call, KEYS, ARGV = redis.call, KEYS, ARGV
local lanes, worker, group, attempts = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local keys, entries = 1 + lanes, #ARGV - 2 * attempts
local records = entries + attempts
local robbed = call('HEXISTS', KEYS[1], worker) == 1
local done, announced, at = 0, 0, 4 + lanes

-- Which of the row's attempts are still ours; nil when all are.
local function ours(lane, deliveries, n)
  local stream, mine, counts = KEYS[1 + lane], {}, {}
  if not robbed and ARGV[4 + lane] == '1' then
    local claim = {'XCLAIM', stream, group, worker, 0, unpack(ARGV, entries + done + 1, entries + done + n)}
    claim[#claim + 1] = 'JUSTID'
    local held = call(unpack(claim))
    if #held == n then return nil end
    local found = {}
    for _, entry in ipairs(held) do found[entry] = true end
    for i = 1, n do mine[i] = found[ARGV[entries + done + i]] end
    return mine
  end
  for i = 1, n do counts[i] = deliveries end
  return holds(stream, group, worker, {unpack(ARGV, entries + done + 1, entries + done + n)}, counts)
end

while at < entries do
  local n, channel, message = tonumber(ARGV[at + 3]), ARGV[at + 5], ARGV[at + 6]
  local mine, values = ours(ARGV[at + 1], ARGV[at + 2], n), {}
  for i = 1, n do
    if not mine or mine[i] then
      values[#values + 1] = KEYS[keys + done + i]
      values[#values + 1] = ARGV[records + done + i]
    end
  end
  if values[1] then call('MSET', unpack(values)) end
  if ARGV[at + 4] ~= '0' then
    for i = 1, #values, 2 do call('PEXPIRE', values[i], ARGV[at + 4]) end
  end
  if not mine then
    redis.pcall('PUBLISH', channel, message)
  else
    for i = 1, #values, 2 do redis.pcall('PUBLISH', channel, values[i] .. '\n' .. values[i + 1]) end
  end
  announced, done, at = announced + #values / 2, done + n, at + 6
end
return announced
