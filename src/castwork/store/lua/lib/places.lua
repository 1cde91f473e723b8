-- Places: what a task has of its limits, and how the task takes it. Needs `limits`.
local function give_back(id, holding)
  local freed = {}
  for key in string.gmatch(holding, '\n([^\n]+)') do
    redis.call('ZREM', KEYS[3], key .. '\n' .. id)
    freed[#freed + 1] = key
  end
  redis.call('HDEL', KEYS[2], id)
  return freed
end

local function is_open(key, spec, id, at)
  if spec == 'line' then return first_in_line(KEYS[13], key) == id end
  if redis.call('ZSCORE', KEYS[4], key .. '\n' .. id) then return true end
  local older = redis.call('ZLEXCOUNT', KEYS[5], '[' .. key .. '\n', '(' .. key .. '\n' .. at .. '\n' .. id)
  return older == 0 and has_room(key, spec)
end

local function take_place(key, spec, id)
  if spec == 'line' then return '' end
  redis.call('ZREM', KEYS[4], key .. '\n' .. id)
  local is_place = string.sub(spec, 1, 1) == 'a'
  if is_place then
    redis.call('ZADD', KEYS[3], 0, key .. '\n' .. id)
  else
    local begun = math.max(tonumber(redis.call('ZSCORE', KEYS[1], key) or 0), now_us)
    redis.call('ZADD', KEYS[1], string.format('%.0f', begun + string.match(spec, '%d+')), key)
  end
  if redis.call('HEXISTS', KEYS[7], key) == 1 then
    redis.call('HSET', KEYS[7], key, spec)
    wake(key)
  end
  return is_place and '\n' .. key or ''
end
