-- Let claimed tasks pass their limits, or hold them back: parked, until a limit has room.
-- Of two who want the last place the older task gets it. A task that is held back at a limit is
-- promised its places at those before. What an earlier attempt of the task had is given back first.
-- Nothing changes for a task whose lease has passed to another worker.
-- Idempotent: a task that has passed is told so again, one that is held back as well.
--
-- KEYS  1 to 13 as of `limits`   then lanes   then one record per task
-- ARGV  1 number of lanes   2 worker   3 group   4 lease_ms   then per lane 1 to delete its entries
--       then per task: id, lane, entry, deliveries, AT (20 digits), parked task (AT JSON; '': not
--       yet), record ('': store none), channel, ms of its deadline (0: none), number of its limits,
--       then per limit: key, spec (see `model/limits.py`; of a line, which comes first: its name, 'line')
-- RETURN  {ms until the next look (-1: none), then per task: 1 passed, 0 held back, -1 lease lost,
--         2 to be held back: ask again, with the parked task}
-- USES owns leave tell unparked lines limits waking places
local call, KEYS, ARGV = redis.call, KEYS, ARGV
local lanes, worker, group, lease = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local idle = call('ZRANGEBYSCORE', KEYS[1], '-inf', now_us, 'LIMIT', 0, 20) -- as good as absent
if idle[1] then call('ZREM', KEYS[1], unpack(idle)) end

local function hold_back(at, closed, record)
  local id, key, lane = ARGV[at], ARGV[closed], tonumber(ARGV[at + 1])
  local member = key .. '\n' .. ARGV[at + 4] .. '\n' .. id
  call('HSET', KEYS[9], id, ARGV[at + 5]) -- first: a refusal must lose nothing
  call('HSET', KEYS[6], id, member)
  call('ZADD', KEYS[5], 0, member)
  for before = at + 10, closed - 2, 2 do
    if ARGV[before + 1] ~= 'line' then call('ZADD', KEYS[4], 0, ARGV[before] .. '\n' .. id) end
  end
  if ARGV[at + 8] ~= '0' then call('ZADD', KEYS[8], ARGV[at + 8], '\n' .. id) end
  leave(KEYS[13 + lane], group, ARGV[at + 2], ARGV[4 + lane], KEYS[10], id)
  tell(record, ARGV[at + 6], ARGV[at + 7])
  if ARGV[closed + 1] == 'line' then
    wake_line(key)
  else
    call('HSET', KEYS[7], key, ARGV[closed + 1])
    wake(key)
  end
  return 0
end

local function pass(at, record)
  local id, lane, last = ARGV[at], tonumber(ARGV[at + 1]), at + 8 + 2 * tonumber(ARGV[at + 9])
  local mine = table.concat({lane, ARGV[at + 2], ARGV[at + 3], lease, worker}, ' ')
  local holding = call('HGET', KEYS[2], id)
  if holding and string.match(holding, '^[^\n]*') == mine then return 1 end
  if not owns(KEYS[13 + lane], group, ARGV[at + 2], worker, ARGV[at + 3]) then
    return call('HEXISTS', KEYS[6], id) == 1 and 0 or -1
  end
  for _, key in ipairs(holding and give_back(id, holding) or {}) do wake(key) end
  if ARGV[at + 11] == 'line' then
    ARGV[at + 10] = join_line(KEYS[12], KEYS[13], ARGV[at + 10], id, lane .. ' ' .. ARGV[at + 2])
  end
  local known = {}
  for i = at + 10, last, 2 do
    known[i] = is_open(ARGV[i], ARGV[i + 1], id, ARGV[at + 4])
    if not known[i] then
      return ARGV[at + 5] == '' and 2 or hold_back(at, i, record)
    end
  end
  for i = at + 10, last, 2 do mine = mine .. take_place(ARGV[i], ARGV[i + 1], id, known[i]) end
  call('HSET', KEYS[2], id, mine)
  return 1
end

local at, replies = 5 + lanes, {0}
while at <= #ARGV do
  replies[#replies + 1] = pass(at, KEYS[13 + lanes + #replies])
  at = at + 10 + 2 * tonumber(ARGV[at + 9])
end
replies[1] = until_waking()
return replies
