-- Limits: who has a place, who is promised one, who waits, and when there is room.
-- KEYS begin with: 1 rates   2 holding   3 holders   4 promised   5 waiters   6 held   7 specs
--                  8 waking   9 parked   10 moved   11 high   12 turns   13 lines
-- In a sorted set what belongs to a limit is its key, a line break, and more: in the order of bytes.
-- `waking` has keys by the time of the next look, and line breaks with ids by the tasks' deadlines.
-- A woken task goes to the urgent lane, as it has had its turn in its own, and its place is promised
-- to it until it is back. Needs `lines`.
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

-- Milliseconds until the next look that is planned, -1 without one.
local function until_waking()
  local following = redis.call('ZRANGE', KEYS[8], 0, 0, 'WITHSCORES')[2]
  return following and math.max(0, tonumber(following) - now_ms) or -1
end
