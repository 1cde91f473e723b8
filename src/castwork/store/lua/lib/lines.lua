-- Lines: tasks of which one at a time runs, in their order. In `lines` a task is the line's name, its
-- turn (20 digits) and its id, with line breaks between; `turns` finds that by the id. Behind it
-- stands the lane and entry of a task that was not put into the line by its enqueue.

local function is_turn(member)
  return string.find(member, '^[^\n]*\n%d+\n[^\n]+$') ~= nil
end

-- The newest or the first of a line; in the set of those who wait at limits, of a limit. What another
-- program has written among them goes.
local function last_or_first(lines, line, newest)
  local from, to = '[' .. line .. '\n', '(' .. line .. '\n\255'
  for _ = 1, 100 do
    local found
    if newest then
      found = redis.call('ZRANGE', lines, to, from, 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
    else
      found = redis.call('ZRANGE', lines, from, to, 'BYLEX', 'LIMIT', 0, 1)[1]
    end
    if not found or is_turn(found) then return found end
    redis.call('ZREM', lines, found)
  end
end

-- Go to the end of a line, unless the task is in one; returns the line in which it is then. Turns grow,
-- also where the clock goes back.
local function join_line(turns, lines, line, id, place)
  local before = string.match(redis.call('HGET', turns, id) or '', '^[^\n]*\n%d+\n[^\n]+')
  if before and redis.call('ZSCORE', lines, before) then return string.match(before, '^[^\n]*') end
  local time = redis.call('TIME')
  local turn, last = time[1] * 1000000 + time[2], last_or_first(lines, line, true)
  if last then turn = math.max(turn, string.match(last, '\n(%d+)\n') + 1) end
  local member = line .. '\n' .. string.format('%020.0f', turn) .. '\n' .. id
  redis.call('ZADD', lines, 0, member)
  redis.call('HSET', turns, id, place and member .. '\n' .. place or member)
  return line
end

-- Leave the line for good; returns its name, nil where the task was in none.
local function leave_line(turns, lines, id)
  local before = redis.call('HGET', turns, id)
  local line, turn = string.match(before or '', '^([^\n]*)\n(%d+)\n')
  if before then redis.call('HDEL', turns, id) end
  if line then redis.call('ZREM', lines, line .. '\n' .. turn .. '\n' .. id) end
  return line
end

-- The id of the task whose turn it is, nil in an empty line. Who is in `lines` without a turn in
-- `turns` goes: nothing would ever take it off.
local function first_in_line(turns, lines, line)
  for _ = 1, 100 do
    local first = last_or_first(lines, line, false)
    if not first then return nil end
    local id = string.match(first, '^[^\n]*\n%d+\n(.*)$')
    if string.sub(redis.call('HGET', turns, id) or '', 1, #first) == first then return id end
    redis.call('ZREM', lines, first)
  end
end
