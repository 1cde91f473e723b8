-- Queue tasks of one function in one lane.
-- Idempotent: a task id that is known is left alone, so a repeated call adds nothing. A task is
-- known by its place in `entries` while it waits or runs, and by its record once it has one.
--
-- KEYS  1 lane   2 entries   3..n+2 records   [idempotency key]   [the queue's lanes, when bounded]
-- ARGV  1 n   2 max_depth (0: none)   3 key_ttl_ms (0: no key)   4 task   5 name of the lane
--       6 meta ('': none)   then per task: id, args
-- RETURN  {'full', depth} | {'key', id of the task that has the key} | {'ok', tasks added}
local call = redis.call
local n, max_depth, key_ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local task, lane, meta = ARGV[4], ARGV[5] .. ':', ARGV[6]
local next_key = n + 3

local function known(i, id)
  return call('HEXISTS', KEYS[2], id) == 1 or call('EXISTS', KEYS[i + 2]) == 1
end

if key_ttl > 0 then
  local holder = call('GET', KEYS[next_key])
  if holder and holder ~= ARGV[7] then return {'key', holder} end
end
if max_depth > 0 and not known(1, ARGV[7]) then
  local depth = 0
  for i = next_key + (key_ttl > 0 and 1 or 0), #KEYS do
    depth = depth + call('XLEN', KEYS[i])
  end
  if depth + n > max_depth then return {'full', depth} end
end

local added = 0
for i = 1, n do
  local id, args = ARGV[5 + 2 * i], ARGV[6 + 2 * i]
  if not known(i, id) then
    local entry
    if meta == '' then
      entry = call('XADD', KEYS[1], '*', 'task', task, 'id', id, 'args', args)
    else
      entry = call('XADD', KEYS[1], '*', 'task', task, 'id', id, 'args', args, 'meta', meta)
    end
    call('HSET', KEYS[2], id, lane .. entry)
    added = added + 1
  end
end
if key_ttl > 0 then call('SET', KEYS[next_key], ARGV[7], 'PX', key_ttl) end
return {'ok', added}
