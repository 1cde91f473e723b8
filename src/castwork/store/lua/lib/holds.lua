-- Which of many deliveries does this consumer still hold? Answers per entry true or false.
-- One listing from the first to the last is cheaper than a look per entry; what the listing misses
-- (an entry out of order, a consumer that holds much else between them) is looked at alone.
-- Needs `owns`.
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
