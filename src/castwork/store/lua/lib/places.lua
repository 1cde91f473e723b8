-- Places: what a task has of its limits, and how the task takes it. Needs `waking`.
local function give_back(id, holding)
  local freed = {}
  for key in string.gmatch(holding, '\n([^\n]+)') do
    redis.call('ZREM', KEYS[3], key .. '\n' .. id)
    freed[#freed + 1] = key
  end
  redis.call('HDEL', KEYS[2], id)
  return freed
end

-- Whether a task may take a place, and what of that taking it needs to know: whether the place was
-- promised, and whether others wait at the limit. Who waits is told by `specs`: without a spec nobody.
local function is_open(key, spec, id, at)
  if spec == 'line' then return first_in_line(KEYS[12], KEYS[13], key) == id end
  local known = {promised = redis.call('ZSCORE', KEYS[4], key .. '\n' .. id)}
  known.awaited = redis.call('HEXISTS', KEYS[7], key) == 1
  if known.promised then return known end
  if known.awaited then
    local older = '(' .. key .. '\n' .. at .. '\n' .. id
    if redis.call('ZLEXCOUNT', KEYS[5], '[' .. key .. '\n', older) > 0 then return false end
  end
  return has_room(key, spec) and known
end

local function take_place(key, spec, id, known)
  if spec == 'line' then return '' end
  if known.promised then redis.call('ZREM', KEYS[4], key .. '\n' .. id) end
  local is_place = string.sub(spec, 1, 1) == 'a'
  if is_place then
    redis.call('ZADD', KEYS[3], 0, key .. '\n' .. id)
  else
    local begun = math.max(tonumber(redis.call('ZSCORE', KEYS[1], key) or 0), now_us)
    redis.call('ZADD', KEYS[1], string.format('%.0f', begun + string.match(spec, '%d+')), key)
  end
  if known.awaited then
    redis.call('HSET', KEYS[7], key, spec)
    wake(key)
  end
  return is_place and '\n' .. key or ''
end
