-- Give back the places of attempts that are gone: their worker was lost, and their lease has ended or
-- passed on; and promises to tasks that are gone, as they were cancelled, and their turns in lines.
-- Wakes whom another program's writing would let wait for good. Looks at a page of each.
-- Idempotent: a repeated call finds nothing to give back.
--
-- KEYS  1 to 13 as of `limits`   then lanes
-- ARGV  1 group   2 cursor of `holding`   3 the last promise that was looked at ('': none)
--       4 cursor of `turns`   5 the last place in `holders`   6 the last in `lines`   7 the last in `waiters`
-- RETURN  {next cursor, last promise ('': the end), next cursor of `turns`, the last of each of the three
--         ('': the end), ms until the next look (-1: none)}
-- USES unparked lines limits waking places
local call, freed, lines = redis.call, {}, {}

local function is_gone(text)
  local lane, entry, deliveries, lease, worker = string.match(text, '^(%d+) (%S+) (%d+) (%d+) (%S+)')
  local pending = lane and redis.pcall('XPENDING', KEYS[13 + lane], ARGV[1], entry, entry, 1)
  local held = pending and not pending.err and pending[1]
  if not held or held[2] ~= worker or held[4] ~= tonumber(deliveries) then return true end
  return held[3] >= tonumber(lease)
end

local page = call('HSCAN', KEYS[2], ARGV[2], 'COUNT', 100)
for i = 1, #page[2], 2 do
  local id, text = page[2][i], page[2][i + 1]
  if is_gone(text) then
    for _, key in ipairs(give_back(id, text)) do freed[key] = true end
  end
end

-- An order of bytes needs equal scores: one member of another score would hide the rest.
for _, set in ipairs({KEYS[3], KEYS[4], KEYS[5], KEYS[13]}) do
  for _, range in ipairs({{'-inf', '(0'}, {'(0', '+inf'}}) do call('ZREMRANGEBYSCORE', set, unpack(range)) end
end

-- A page of a set behind what was looked at last, and the last of the page, '' at the end.
local function page_of(set, last)
  local found = call('ZRANGE', set, last == '' and '-' or '(' .. last, '+', 'BYLEX', 'LIMIT', 0, 100)
  return found, #found == 100 and found[100] or ''
end

-- Remove from a page of a set what tasks have that are gone.
local function forget(set, last, is_there)
  local found, following = page_of(set, last)
  for _, member in ipairs(found) do
    local key, id = string.match(member, '^([^\n]*)\n(.*)$')
    if not id or not is_there(id) then
      call('ZREM', set, member)
      freed[key or member] = true
    end
  end
  return following
end

local last_promise = forget(KEYS[4], ARGV[3], function(id)
  return call('HEXISTS', KEYS[10], id) == 1 or call('HEXISTS', KEYS[6], id) == 1
end)
local last_place = forget(KEYS[3], ARGV[5], function(id) return call('HEXISTS', KEYS[2], id) == 1 end)

-- A task that waits is in `moved` or `parked`, but for one whose id or place is another program's.
local function has_left(id, turn)
  if call('HEXISTS', KEYS[10], id) == 1 or call('HEXISTS', KEYS[9], id) == 1 then return false end
  local lane, entry = string.match(turn, '\n(%d+) (%d+%-%d+)$')
  local pending = lane and redis.pcall('XPENDING', KEYS[13 + lane], ARGV[1], entry, entry, 1)
  return not (pending and not pending.err and pending[1])
end

local turns = call('HSCAN', KEYS[12], ARGV[4], 'COUNT', 100)
for i = 1, #turns[2], 2 do
  if has_left(turns[2][i], turns[2][i + 1]) then
    lines[leave_line(KEYS[12], KEYS[13], turns[2][i]) or ''] = true
  end
end

local in_lines, last_in_line = page_of(KEYS[13], ARGV[6])
local waiters, last_waiter = page_of(KEYS[5], ARGV[7])
for _, member in ipairs(in_lines) do lines[string.match(member, '^[^\n]*')] = true end
for _, member in ipairs(waiters) do freed[string.match(member, '^[^\n]*')] = true end
for line in pairs(lines) do wake_line(line) end
for key in pairs(freed) do wake(key) end
return {page[1], last_promise, turns[1], last_place, last_in_line, last_waiter, until_waking()}
