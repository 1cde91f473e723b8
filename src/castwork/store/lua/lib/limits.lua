-- Limits: who has a place, who is promised one, who waits, and who is woken when there is room.
-- KEYS begin with: 1 rates   2 holding   3 holders   4 promised   5 waiters   6 held   7 specs
--                  8 waking   9 parked   10 moved   11 high   12 turns   13 lines
-- In a sorted set what belongs to a limit is its key, a line break, and more: in the order of bytes.
-- `waking` has keys by the time of the next look, and line breaks with ids by the tasks' deadlines.
-- A woken task goes to the urgent lane, as it has had its turn in its own, and its place is promised
-- to it until it is back. Needs `unparked` and `lines`.
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now_ms = math.floor(now_us / 1000)

local function members(set, key)
  return redis.call('ZLEXCOUNT', set, '[' .. key .. '\n', '(' .. key .. '\n\255')
end

-- Whether a limit has room, and where it has none the ms until then; nil where a task must end first.
-- A rate is GCRA: its score is the time at which all that was begun would have begun evenly spaced.
local function has_room(key, spec)
  local kind, amount, burst = string.match(spec, '^(%a) (%d+) (%d+)')
  local promised = members(KEYS[4], key)
  if kind == 'a' then return members(KEYS[3], key) + promised < tonumber(amount), nil end
  local ahead = math.max(tonumber(redis.call('ZSCORE', KEYS[1], key) or 0), now_us) - now_us
  local wait = ahead - (tonumber(burst) - 1 - promised) * tonumber(amount)
  return wait <= 0, promised < tonumber(burst) and math.ceil(wait / 1000) or nil
end

-- Queue a task that was held back; a promise, if any, keeps its place meanwhile.
local function requeue(member, promise)
  local id = string.match(member, '^[^\n]*\n%d+\n(.*)$')
  local raw = redis.call('HGET', KEYS[6], id) == member and redis.call('HGET', KEYS[9], id)
  local parked = raw and unparked(raw)
  if parked then -- first what may be refused
    local entry = redis.call('XADD', KEYS[11], '*', unpack(parked.fields))
    redis.call('HSET', KEYS[10], id, 'high:' .. entry)
    redis.call('HDEL', KEYS[9], id)
    if promise then redis.call('ZADD', KEYS[4], 0, promise .. '\n' .. id) end
  end
  redis.call('ZREM', KEYS[5], member)
  if raw then
    redis.call('HDEL', KEYS[6], id)
    redis.call('ZREM', KEYS[8], '\n' .. id)
  end
end

-- Wake those who wait at a limit, the oldest first, as many as there is room for; else plan when to
-- look again. Limits whose amount is a function are looked at anew each ten seconds.
local function wake(key)
  local spec = redis.call('HGET', KEYS[7], key)
  for _ = 1, 100 do
    local first = spec and last_or_first(KEYS[5], key, false)
    if not first then
      redis.call('HDEL', KEYS[7], key)
      redis.call('ZREM', KEYS[8], key)
      return
    end
    local open, wait = has_room(key, spec)
    if not open then
      if string.sub(spec, -1) == '1' then wait = math.min(wait or 10000, 10000) end
      if wait then redis.call('ZADD', KEYS[8], now_ms + wait, key) else redis.call('ZREM', KEYS[8], key) end
      return
    end
    requeue(first, key)
  end
  redis.call('ZADD', KEYS[8], now_ms, key)
end

-- Wake the task whose turn it is in a line, if it waits for that.
local function wake_line(line)
  local first = first_in_line(KEYS[13], line)
  local member = first and redis.call('HGET', KEYS[6], first)
  if member and string.match(member, '^[^\n]*') == line then requeue(member, nil) end
end

-- Milliseconds until the next look that is planned, -1 without one.
local function until_waking()
  local following = redis.call('ZRANGE', KEYS[8], 0, 0, 'WITHSCORES')[2]
  return following and math.max(0, tonumber(following) - now_ms) or -1
end
