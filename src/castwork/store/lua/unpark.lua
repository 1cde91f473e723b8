-- Queue parked tasks whose time has come.
-- Idempotent: only the call that takes the id off `due` queues the task.
-- A task that does not decode is taken off `due` and stays in `parked`, for people to look at.
--
-- KEYS  1 due   2 parked   3 moved   4 high   5 normal   6 low   then one record per id
-- ARGV  per task: id, channel
-- RETURN  {number of tasks queued, id of a task that does not decode, ...}, or the error of a task
--         that the server refused: that task stays parked
-- USES tell unparked
local call = redis.call
local lanes = {high = KEYS[4], normal = KEYS[5], low = KEYS[6]}
local found, refusal = {0}, nil

local function queue(id, parked, record, channel)
  local lane = lanes[parked.lane] and parked.lane or 'normal'
  local entry = redis.pcall('XADD', lanes[lane], '*', unpack(parked.fields))
  if type(entry) == 'table' then -- before anything is taken away: a refusal must lose nothing
    refusal = entry
    return
  end
  call('ZREM', KEYS[1], id)
  call('HDEL', KEYS[2], id)
  call('HSET', KEYS[3], id, lane .. ':' .. entry)
  tell(record, type(parked.record) == 'string' and parked.record or '', channel)
  found[1] = found[1] + 1
end

for i = 1, #ARGV / 2 do
  local id = ARGV[2 * i - 1]
  if call('ZSCORE', KEYS[1], id) then
    local raw = call('HGET', KEYS[2], id)
    local parked = raw and unparked(raw)
    if parked then
      queue(id, parked, KEYS[6 + i], ARGV[2 * i])
    else
      call('ZREM', KEYS[1], id)
      if raw then found[#found + 1] = id end
    end
  end
end
return refusal or found
