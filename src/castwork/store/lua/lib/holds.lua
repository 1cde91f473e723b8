-- Which of many deliveries does this consumer still hold? Returns true or false per entry.
-- One listing from the first entry to the last is cheaper than a look per entry. Entries that the
-- listing misses (they are out of order, or the consumer holds many others between) are looked at
-- one by one. Needs `owns`.
local function holds(stream, group, consumer, entries, deliveries)
  local held, mine = {}, {}
  local pending = redis.pcall('XPENDING', stream, group, entries[1], entries[#entries], #entries, consumer)
  if not pending.err then
    for _, one in ipairs(pending) do held[one[1]] = tostring(one[4]) end
  end
  for i, entry in ipairs(entries) do
    mine[i] = held[entry] == deliveries[i] or owns(stream, group, entry, consumer, deliveries[i])
  end
  return mine
end
