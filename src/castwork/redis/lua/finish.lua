-- Store outcomes and take their tasks off the queue: many in one call.
-- A task leaves its stream only here (or in retry, bury, release), with its outcome stored.
-- Nothing changes for a task whose lease has passed to another worker.
-- Idempotent: a repeated call finds its own record and answers as the first one did.
--
-- KEYS  lanes, entries, then one record per task, then outputs
-- ARGV  1 number of lanes   2 consumer   3 number of tasks   4 entries that the consumer holds
--       then per lane: group, 1 to delete the entry
--       then per task: lane, entry, deliveries, id, record ('': store none), ttl_ms
--       then per output: number of its task
-- RETURN  per task 1 stored, 0 lease lost
-- USES owns
local call, KEYS, ARGV = redis.call, KEYS, ARGV
local lanes, consumer, tasks, held = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local base, records = 4 + 2 * lanes, lanes + 1
local listings, stored, done, ids = {}, {}, {}, {}

-- One listing of what the consumer holds is cheaper than a look per task, unless it holds much
-- more than it finishes.
local function listing(stream, group)
  local found = {all = false}
  if tasks * 3 >= held then
    local pending = redis.pcall('XPENDING', stream, group, '-', '+', held, consumer)
    if not pending.err then
      found.all = #pending < held
      for i = 1, #pending do found[pending[i][1]] = pending[i][4] end
    end
  end
  return found
end

for i = 1, tasks do
  local at = base + 6 * (i - 1)
  local lane, entry = tonumber(ARGV[at + 1]), ARGV[at + 2]
  local stream, group = KEYS[lane], ARGV[3 + 2 * lane]
  local found = listings[lane]
  if not found then
    found = listing(stream, group)
    listings[lane], done[lane] = found, {}
  end
  local count = found[entry]
  local mine = count and count == tonumber(ARGV[at + 3])
  if not count and not found.all then
    mine = owns(stream, group, entry, consumer, ARGV[at + 3])
  end
  if mine then
    local entries = done[lane]
    entries[#entries + 1], ids[#ids + 1] = entry, ARGV[at + 4]
    stored[i] = 1
  else
    local record = ARGV[at + 5]
    stored[i] = record ~= '' and call('GET', KEYS[records + i]) == record and 2 or 0
  end
end

for lane, entries in pairs(done) do
  if entries[1] then
    call('XACK', KEYS[lane], ARGV[3 + 2 * lane], unpack(entries))
    if ARGV[4 + 2 * lane] == '1' then call('XDEL', KEYS[lane], unpack(entries)) end
  end
end
if ids[1] then call('HDEL', KEYS[records], unpack(ids)) end

for i = 1, tasks do
  if stored[i] == 1 then
    local at, key = base + 6 * (i - 1), KEYS[records + i]
    local record = ARGV[at + 5]
    if record ~= '' then
      call('SET', key, record, 'PX', ARGV[at + 6])
      call('PUBLISH', key, record)
    end
  elseif stored[i] == 2 then
    stored[i] = 1
  end
end
for i = 1, #KEYS - records - tasks do
  local task = tonumber(ARGV[base + 6 * tasks + i])
  if stored[task] == 1 then call('PEXPIRE', KEYS[records + tasks + i], ARGV[base + 6 * task]) end
end
return stored
