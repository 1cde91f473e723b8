-- Store outcomes and take their tasks off the queue: many in one call.
-- A task leaves its stream only here (or in retry, bury, release), with its outcome stored.
-- Nothing changes for a task whose lease has passed to another worker.
-- Idempotent: a repeated call finds its own record and answers as the first one did.
--
-- KEYS  lanes, entries, then one record per task, then outputs
-- ARGV  1 number of lanes   2 consumer   3 entries that the consumer holds   4 number of tasks
--       5 number of runs (tasks in a row that are alike)   6 length of a record's key before the id
--       then per lane: group, 1 to delete the entry
--       then per run: lane, deliveries, ttl_ms, number of its tasks
--       then all entries   then all records ('': store none)
--       then per output: number of its task, ttl_ms
-- RETURN  per task 1 stored, 0 lease lost
-- USES owns
local call, sub, KEYS, ARGV = redis.call, string.sub, KEYS, ARGV
local lanes, consumer, held = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local tasks, runs, id_at = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]) + 1
local keys, first_run = lanes + 1, 6 + 2 * lanes
local entries = first_run + 4 * runs
local records = entries + tasks
local listings, stored, task = {}, {}, 0

-- One listing of what the consumer holds is cheaper than a look per task, unless it holds much
-- more than it finishes.
local function listing(lane, stream, group)
  local found = listings[lane]
  if found then return found end
  found = {}
  listings[lane] = found
  if tasks * 3 >= held then
    local pending = redis.pcall('XPENDING', stream, group, '-', '+', held, consumer)
    if not pending.err then
      found.all = #pending < held
      for i = 1, #pending do found[pending[i][1]] = pending[i][4] end
    end
  end
  return found
end

for run = 1, runs do
  local at = first_run + 4 * (run - 1)
  local lane, deliveries, ttl = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3]
  local stream, group, delete = KEYS[lane], ARGV[5 + 2 * lane], ARGV[6 + 2 * lane] == '1'
  local found = listing(lane, stream, group)
  local mine, done, ids = {}, {}, {}
  for _ = 1, tonumber(ARGV[at + 4]) do
    task = task + 1
    local entry = ARGV[entries + task]
    local count = found[entry]
    if count == deliveries
      or (not count and not found.all and owns(stream, group, entry, consumer, ARGV[at + 2])) then
      local n = #mine + 1
      mine[n], done[n], ids[n] = task, entry, sub(KEYS[keys + task], id_at)
      stored[task] = 1
    else
      local record = ARGV[records + task]
      stored[task] = record ~= '' and call('GET', KEYS[keys + task]) == record and 1 or 0
    end
  end
  if mine[1] then
    call('XACK', stream, group, unpack(done))
    if delete then call('XDEL', stream, unpack(done)) end
    call('HDEL', KEYS[keys], unpack(ids))
    for n = 1, #mine do
      local key, record = KEYS[keys + mine[n]], ARGV[records + mine[n]]
      if record ~= '' then
        call('SET', key, record, 'PX', ttl)
        call('PUBLISH', key, record)
      end
    end
  end
end
for output = 1, #KEYS - keys - tasks do
  local owner, ttl = tonumber(ARGV[records + tasks + 2 * output - 1]), ARGV[records + tasks + 2 * output]
  if stored[owner] == 1 then call('PEXPIRE', KEYS[keys + tasks + output], ttl) end
end
return stored
