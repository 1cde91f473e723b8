-- Does this consumer still hold this delivery of the entry?
-- The consumer's name and the delivery count are the fencing token: every claim raises the count.
local function owns(stream, group, entry, consumer, deliveries)
  local pending = redis.pcall('XPENDING', stream, group, entry, entry, 1)
  if pending.err or not pending[1] then return false end
  return pending[1][2] == consumer and tostring(pending[1][4]) == deliveries
end
