-- Waking: who was held back is queued again. Needs `unparked`, `lines` and `limits`.
-- Queue a task that was held back; a promise, if any, keeps its place meanwhile. Returns whether it
-- waits in its queue now: one that does not decode stays in `parked`, for people to look at.
local function requeue(id, promise)
  local member, raw = redis.call('HGET', KEYS[6], id), redis.call('HGET', KEYS[9], id)
  local parked = member and raw and unparked(raw)
  if parked then -- first what may be refused
    local entry = redis.call('XADD', KEYS[11], '*', unpack(parked.fields))
    redis.call('HSET', KEYS[10], id, 'high:' .. entry)
    redis.call('HDEL', KEYS[9], id)
    if promise then redis.call('ZADD', KEYS[4], 0, promise .. '\n' .. id) end
  end
  if member then
    redis.call('ZREM', KEYS[5], member)
    redis.call('HDEL', KEYS[6], id)
  end
  redis.call('ZREM', KEYS[8], '\n' .. id)
  return parked and true or false
end

-- Whether `held` says that a task waits as this; so it does where what stands there is no such note.
local function waits_as(id, found)
  local member = redis.call('HGET', KEYS[6], id)
  return member and (string.sub(member, 1, #found) == found or not is_turn(member))
end

-- Wake those who wait at a limit, the oldest first, as many as there is room for; else plan when to
-- look again. Limits whose amount is a function are looked at anew each ten seconds. Where another
-- program has written the spec, the worker of the first is asked what the limit is.
local function wake(key)
  local spec = redis.call('HGET', KEYS[7], key)
  for _ = 1, 100 do
    local first = spec and last_or_first(KEYS[5], key, false)
    if not first then
      redis.call('HDEL', KEYS[7], key)
      redis.call('ZREM', KEYS[8], key)
      return
    end
    local id = string.match(first, '^[^\n]*\n%d+\n(.*)$')
    if not string.find(spec, '^%a %d+ %d+ %d$') then
      requeue(id, nil)
      redis.call('ZREM', KEYS[5], first)
      redis.call('ZADD', KEYS[8], now_ms + 1000, key)
      return
    end
    local open, wait = has_room(key, spec)
    if not open then
      if string.sub(spec, -1) == '1' then wait = math.min(wait or 10000, 10000) end
      if wait then redis.call('ZADD', KEYS[8], now_ms + wait, key) else redis.call('ZREM', KEYS[8], key) end
      return
    end
    if waits_as(id, first) then requeue(id, key) end
    redis.call('ZREM', KEYS[5], first)
  end
  redis.call('ZADD', KEYS[8], now_ms, key)
end

-- Wake the task whose turn it is in a line, if it waits for that.
local function wake_line(line)
  for _ = 1, 100 do
    local first = first_in_line(KEYS[12], KEYS[13], line)
    if not first or not waits_as(first, line .. '\n') or requeue(first, nil) then return end
    leave_line(KEYS[12], KEYS[13], first)
  end
end
