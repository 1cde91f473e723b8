-- Lines: tasks of which one at a time runs, in their order. In `lines` a task is the line's name, its
-- turn (20 digits) and its id, with line breaks between; `turns` finds that by the id. Behind it
-- stands the lane and entry of a task that was not put into the line by its enqueue.

local function last_or_first(lines, line, newest)
  local from, to = '[' .. line .. '\n', '(' .. line .. '\n\255'
  if newest then return redis.call('ZRANGE', lines, to, from, 'BYLEX', 'REV', 'LIMIT', 0, 1)[1] end
  return redis.call('ZRANGE', lines, from, to, 'BYLEX', 'LIMIT', 0, 1)[1]
end

-- Go to the end of a line, unless the task is in one; returns the line in which it is then. Turns grow,
-- also where the clock goes back.
local function join_line(turns, lines, line, id, place)
  local before = redis.call('HGET', turns, id)
  if before then return string.match(before, '^[^\n]*') end
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
  local line, turn = string.match(redis.call('HGET', turns, id) or '', '^([^\n]*)\n(%d+)\n')
  if not line then return nil end
  redis.call('HDEL', turns, id)
  redis.call('ZREM', lines, line .. '\n' .. turn .. '\n' .. id)
  return line
end

-- The id of the task whose turn it is, nil in an empty line.
local function first_in_line(lines, line)
  local first = last_or_first(lines, line, false)
  return first and string.match(first, '^[^\n]*\n%d+\n(.*)$')
end
