-- Give back the places of attempts that are gone: their worker was lost, and their lease has ended or
-- passed on; and promises to tasks that are gone, as they were cancelled, and their turns in lines.
-- Looks at a page of each.
-- Idempotent: a repeated call finds nothing to give back.
--
-- KEYS  1 to 13 as of `limits`   then lanes
-- ARGV  1 group   2 cursor of `holding`   3 the last promise that was looked at ('': none)
--       4 cursor of `turns`
-- RETURN  {next cursor, last promise ('': the end), next cursor of `turns`, ms until the next look (-1:
--         none)}
-- USES unparked lines limits places
local call, freed = redis.call, {}

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

local promises = call('ZRANGE', KEYS[4], ARGV[3] == '' and '-' or '(' .. ARGV[3], '+', 'BYLEX', 'LIMIT', 0, 100)
for _, promise in ipairs(promises) do
  local key, id = string.match(promise, '^([^\n]*)\n(.*)$')
  if call('HEXISTS', KEYS[10], id) == 0 and call('HEXISTS', KEYS[6], id) == 0 then
    call('ZREM', KEYS[4], promise)
    freed[key] = true
  end
end

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
    local line = leave_line(KEYS[12], KEYS[13], turns[2][i])
    if line then wake_line(line) end
  end
end

for key in pairs(freed) do wake(key) end
return {page[1], #promises == 100 and promises[100] or '', turns[1], until_waking()}
