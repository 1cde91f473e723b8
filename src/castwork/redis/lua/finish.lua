-- Store outcomes and take their tasks off the queue: many in one call.
-- A task leaves its stream only here (or in retry, bury, release), with its outcome stored.
-- Nothing changes for a task whose lease has passed to another worker.
-- Idempotent: a repeated call finds its own record and answers as the first one did.
--
-- KEYS  lanes, then per task: record, output
-- ARGV  1 number of lanes   2 consumer   then per lane: group, 1 to delete the entry
--       then per task: lane, entry, deliveries, record ('': store none), ttl_ms
-- RETURN  per task 1 stored, 0 lease lost
-- USES owns
local lanes, consumer = tonumber(ARGV[1]), ARGV[2]
local tasks = (#KEYS - lanes) / 2
local base = 2 + 2 * lanes
local stored, done = {}, {}

for i = 1, tasks do
  local at = base + 5 * (i - 1)
  local lane, entry = tonumber(ARGV[at + 1]), ARGV[at + 2]
  if owns(KEYS[lane], ARGV[1 + 2 * lane], entry, consumer, ARGV[at + 3]) then
    local ids = done[lane]
    if not ids then
      ids = {}
      done[lane] = ids
    end
    ids[#ids + 1] = entry
    stored[i] = 1
  else
    local record = ARGV[at + 4]
    local mine = record ~= '' and redis.call('GET', KEYS[lanes + 2 * i - 1]) == record
    stored[i] = mine and 2 or 0
  end
end

for lane, ids in pairs(done) do
  redis.call('XACK', KEYS[lane], ARGV[1 + 2 * lane], unpack(ids))
  if ARGV[2 + 2 * lane] == '1' then redis.call('XDEL', KEYS[lane], unpack(ids)) end
end

for i = 1, tasks do
  if stored[i] == 1 then
    local at = base + 5 * (i - 1)
    local record, ttl = ARGV[at + 4], ARGV[at + 5]
    if record ~= '' then
      local key, output = KEYS[lanes + 2 * i - 1], KEYS[lanes + 2 * i]
      redis.call('SET', key, record, 'PX', ttl)
      if output ~= key then redis.call('PEXPIRE', output, ttl) end
      redis.call('PUBLISH', key, record)
    end
  elseif stored[i] == 2 then
    stored[i] = 1
  end
end
return stored
