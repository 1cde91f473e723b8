-- Queue scheduled tasks that are due.
-- Idempotent: whoever removes the id from `scheduled` queues it, nobody else does.
--
-- KEYS  1 scheduled   2 parked   3 high   4 normal   5 low   then one record per id
-- ARGV  ids
-- RETURN  number of tasks queued
local lanes = {high = KEYS[3], normal = KEYS[4], low = KEYS[5]}
local queued = 0
for i, id in ipairs(ARGV) do
  local raw = redis.call('HGET', KEYS[2], id)
  if redis.call('ZREM', KEYS[1], id) == 1 and raw then
    redis.call('HDEL', KEYS[2], id)
    local parked = cjson.decode(raw)
    local entry = redis.call('XADD', lanes[parked.lane] or KEYS[4], '*', unpack(parked.fields))
    if parked.record ~= '' then
      local record = string.gsub(parked.record, ':%*"', ':' .. entry .. '"', 1)
      redis.call('SET', KEYS[5 + i], record)
      redis.call('PUBLISH', KEYS[5 + i], record)
    end
    queued = queued + 1
  end
end
return queued
