-- Queue tasks of one function in one lane.
-- Idempotent: a task id that has a record is left alone, so a repeated call adds nothing.
--
-- KEYS  1 lane   2..n+1 records   [idempotency key]   [the queue's lanes, when bounded]
-- ARGV  1 n   2 max_depth (0: none)   3 key_ttl_ms (0: no key)   4 task   5 record   6 meta
--       then per task: id, args
-- RETURN  {'full', depth} | {'key', id of the task that has the key} | {'ok', tasks added}
local n, max_depth, key_ttl = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local task, record, meta = ARGV[4], ARGV[5], ARGV[6]
local next_key = n + 2

if key_ttl > 0 then
  local holder = redis.call('GET', KEYS[next_key])
  if holder and holder ~= ARGV[7] then return {'key', holder} end
end
if max_depth > 0 and redis.call('EXISTS', KEYS[2]) == 0 then
  local depth = 0
  for i = next_key + (key_ttl > 0 and 1 or 0), #KEYS do
    depth = depth + redis.call('XLEN', KEYS[i])
  end
  if depth + n > max_depth then return {'full', depth} end
end

local added = 0
for i = 1, n do
  local id, args = ARGV[5 + 2 * i], ARGV[6 + 2 * i]
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then
    local entry
    if meta == '' then
      entry = redis.call('XADD', KEYS[1], '*', 'task', task, 'id', id, 'args', args)
    else
      entry = redis.call('XADD', KEYS[1], '*', 'task', task, 'id', id, 'args', args, 'meta', meta)
    end
    redis.call('SET', KEYS[i + 1], (string.gsub(record, ':%*"', ':' .. entry .. '"', 1)))
    added = added + 1
  end
end
if key_ttl > 0 then redis.call('SET', KEYS[next_key], ARGV[7], 'PX', key_ttl) end
return {'ok', added}
