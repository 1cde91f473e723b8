-- Forget workers that are gone, notes of entries taken from workers, and answers to producers.
-- A worker that still holds entries is kept, as its entries would become unreachable. A note in
-- `robbed` is kept while an entry as old is pending, as the worker that lost it may yet come back.
-- Consumers of other programs in an adopted stream's group are left to those programs.
--
-- KEYS  1 robbed   2 sent   then lanes
-- ARGV  1 group   2 worker that leaves ('': none)   3 ms of idleness after which others are forgotten
--       4 cursor of `sent`
-- RETURN  {workers forgotten, next cursor of `sent`}
-- USES now is_worker
local call, group = redis.call, ARGV[1]
local forgotten, oldest_ms, oldest_seq = 0, math.huge, 0

local function named(flat)
  local facts = {}
  for i = 1, #flat, 2 do facts[flat[i]] = flat[i + 1] end
  return facts
end

local function position(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

for i = 3, #KEYS do
  local workers = redis.pcall('XINFO', 'CONSUMERS', KEYS[i], group)
  for _, flat in ipairs(workers.err and {} or workers) do
    local worker = named(flat)
    local done = worker.name == ARGV[2] or (worker.idle > tonumber(ARGV[3]) and is_worker(worker.name))
    if worker.pending == 0 and done then
      call('XGROUP', 'DELCONSUMER', KEYS[i], group, worker.name)
      forgotten = forgotten + 1
    end
  end
  local summary = redis.pcall('XPENDING', KEYS[i], group)
  if not summary.err and summary[1] > 0 then
    local ms, seq = position(summary[2])
    if ms < oldest_ms or (ms == oldest_ms and seq < oldest_seq) then oldest_ms, oldest_seq = ms, seq end
  end
end

local notes = call('HGETALL', KEYS[1])
for i = 1, #notes, 2 do
  local ms, seq = position(notes[i + 1])
  if not ms or ms < oldest_ms or (ms == oldest_ms and seq < oldest_seq) then call('HDEL', KEYS[1], notes[i]) end
end

local page = call('HSCAN', KEYS[2], ARGV[4], 'COUNT', 1000)
local limit = now() - tonumber(ARGV[3])
for i = 1, #page[2], 2 do
  local time = string.match(page[2][i + 1], '^%d+ (%d+) ')
  if not time or tonumber(time) < limit then call('HDEL', KEYS[2], page[2][i]) end
end
return {forgotten, page[1]}
