-- End the leases of a worker whose process is known to be gone, so that others need not wait.
-- Idempotent. Delivery counts stay: only a takeover raises them.
--
-- KEYS  1 lane
-- ARGV  1 group   2 worker   3 lease_ms
-- RETURN  number of entries that the worker held
local held, ids = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 5000, ARGV[2]), {}
for number, one in ipairs(held) do ids[number] = one[1] end
if #ids > 0 then
  local args = {KEYS[1], ARGV[1], ARGV[2], 0, unpack(ids)}
  for _, more in ipairs({'IDLE', ARGV[3], 'JUSTID'}) do args[#args + 1] = more end
  redis.call('XCLAIM', unpack(args))
end
return #ids
