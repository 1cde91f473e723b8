-- Queue scheduled tasks that are due.
-- Idempotent: whoever removes the id from `scheduled` queues it, nobody else does.
--
-- KEYS  1 scheduled   2 parked   3 entries   4 high   5 normal   6 low   then one record per id
-- ARGV  ids
-- RETURN  number of tasks queued
local lanes = {high = KEYS[4], normal = KEYS[5], low = KEYS[6]}
local queued = 0
for i, id in ipairs(ARGV) do
  local raw = redis.call('HGET', KEYS[2], id)
  if redis.call('ZREM', KEYS[1], id) == 1 and raw then
    redis.call('HDEL', KEYS[2], id)
    local parked = cjson.decode(raw)
    local lane = lanes[parked.lane] and parked.lane or 'normal'
    local entry = redis.call('XADD', lanes[lane], '*', unpack(parked.fields))
    redis.call('HSET', KEYS[3], id, lane .. ':' .. entry)
    if parked.record ~= '' then
      redis.call('SET', KEYS[6 + i], parked.record)
      redis.call('PUBLISH', KEYS[6 + i], parked.record)
    end
    queued = queued + 1
  end
end
return queued
