-- Queue tasks of one function in one lane.
-- Idempotent: a task id that is known is left alone, so a repeated call adds nothing. A task is
-- known by its place in `entries` while it waits or runs, and by its record once it has one.
--
-- KEYS  1 lane   2 entries   3..n+2 records   [idempotency key]   [the queue's lanes, when bounded]
-- ARGV  1 n (1000 at most)   2 max_depth (0: none)   3 key_ttl_ms (0: no key)   4 task
--       5 name of the lane   6 meta ('': none)   then per task: id, args
-- RETURN  {'full', depth} | {'key', id of the task that has the key} | {'ok', tasks added}
local call, KEYS, ARGV = redis.call, KEYS, ARGV
local n, max_depth, key_ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local lane, task, place, meta = KEYS[1], ARGV[4], ARGV[5] .. ':', ARGV[6]
local first, next_key = ARGV[7], n + 3

if key_ttl > 0 then
  local holder = call('GET', KEYS[next_key])
  if holder and holder ~= first then return {'key', holder} end
end

local ids, known, places = {}, {}, {}
for i = 1, n do ids[i] = ARGV[5 + 2 * i] end
for i, held in ipairs(call('HMGET', KEYS[2], unpack(ids))) do
  if held then known[ids[i]] = true end
end
if call('EXISTS', unpack(KEYS, 3, n + 2)) > 0 then
  for i = 1, n do
    if call('EXISTS', KEYS[i + 2]) == 1 then known[ids[i]] = true end
  end
end

if max_depth > 0 and not known[first] then
  local depth = 0
  for i = next_key + (key_ttl > 0 and 1 or 0), #KEYS do depth = depth + call('XLEN', KEYS[i]) end
  if depth + n > max_depth then return {'full', depth} end
end

for i = 1, n do
  local id, args = ids[i], ARGV[6 + 2 * i]
  if not known[id] then
    known[id] = true
    local entry
    if meta == '' then
      entry = call('XADD', lane, '*', 'task', task, 'id', id, 'args', args)
    else
      entry = call('XADD', lane, '*', 'task', task, 'id', id, 'args', args, 'meta', meta)
    end
    places[#places + 1] = id
    places[#places + 1] = place .. entry
  end
end
if places[1] then call('HSET', KEYS[2], unpack(places)) end
if key_ttl > 0 then call('SET', KEYS[next_key], first, 'PX', key_ttl) end
return {'ok', #places / 2}
