-- Store outcomes and take their tasks off the queue: many in one call.
-- A task leaves its stream only here (or in park, bury, release), with its outcome stored.
-- Nothing changes for a task whose lease has passed to another worker. `robbed` notes the workers
-- that entries were taken from. A worker without a note owns what is pending: XACK tells how much.
-- Idempotent: a repeated call changes nothing. It finds its own records and answers as the first
-- call did; where no records are kept it reports lost leases.
--
-- KEYS  1 robbed   2 moved   then lanes   then one record per task if kept   then outputs and saved
-- ARGV  1 number of lanes   2 worker   3 group   4 number of tasks   5 number of rows
--       6 1: records are kept   7 1: the server has MSETEX   8 number of moved tasks
--       then per lane 1: fenced by note, as only castwork's workers read it
--       then per lane 1: entries are deleted
--       then rows of tasks alike: lane, deliveries, number of its tasks, ttl_ms, channel, message
--       then all entries   then all records where they are kept
--       then per moved task: its number, id   then per output, saved: task's number, ttl_ms (0: delete)
-- RETURN  'all' stored, or per task 1 stored, 0 lease lost
-- USES owns holds store
local call, KEYS, ARGV = redis.call, KEYS, ARGV
local lanes, worker, group = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local tasks, rows, kept, msetex = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6] == '1', ARGV[7] == '1'
local keys, at = 2 + lanes, 8 + 2 * lanes
local entries = at + 6 * rows
local records = entries + tasks
local robbed = call('HEXISTS', KEYS[1], worker) == 1
local stored, done, all = {}, 0, true

-- Acknowledge the row's tasks that are ours, and return which are; nil when all are.
local function acknowledge(stream, by_note, deliveries, n)
  local first, last = entries + done + 1, entries + done + n
  local acked = 0
  if by_note and not robbed then
    acked = call('XACK', stream, group, unpack(ARGV, first, last))
    if acked == n then return nil end
  end
  local ids, counts, mine = {unpack(ARGV, first, last)}, {}, {}
  if acked > 0 then -- the rest were not pending: an entry leaves its stream only as its task ends
    for i, entry in ipairs(ids) do mine[i] = call('XRANGE', stream, entry, entry)[1] ~= nil end
  elseif robbed or not by_note then
    for i = 1, n do counts[i] = deliveries end
    mine = holds(stream, group, worker, ids, counts)
    for i, entry in ipairs(ids) do if mine[i] then call('XACK', stream, group, entry) end end
  end
  return mine
end

for _ = 1, rows do
  local lane, n, ttl, channel = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5]
  local stream, deletes = KEYS[2 + lane], ARGV[8 + lanes + lane] == '1'
  local mine = acknowledge(stream, ARGV[8 + lane] == '1', ARGV[at + 2], n)
  if not mine then
    if deletes then call('XDEL', stream, unpack(ARGV, entries + done + 1, entries + done + n)) end
    if kept then store(keys + done, records + done, n, ttl, channel, msetex, ARGV[at + 6]) end
  else
    all = false
    for i = done + 1, done + n do
      stored[i] = 0
      if mine[i - done] then
        if deletes then call('XDEL', stream, ARGV[entries + i]) end
        if kept then store(keys + i - 1, records + i - 1, 1, ttl, channel, msetex) end
        stored[i] = 1
      elseif kept and call('GET', KEYS[keys + i]) == ARGV[records + i] then
        stored[i] = 1
      end
    end
  end
  done, at = done + n, at + 6
end

at = records + (kept and tasks or 0)
for _ = 1, tonumber(ARGV[8]) do
  if stored[tonumber(ARGV[at + 1])] ~= 0 then call('HDEL', KEYS[2], ARGV[at + 2]) end
  at = at + 2
end
for output = keys + (kept and tasks or 0) + 1, #KEYS do
  if stored[tonumber(ARGV[at + 1])] ~= 0 then call('PEXPIRE', KEYS[output], ARGV[at + 2]) end
  at = at + 2
end
if all then return 'all' end
for i = 1, tasks do stored[i] = stored[i] or 1 end
return stored
