-- Store a record and tell those who wait for it. An empty record is not kept.
-- A server that does not let us tell must not keep the rest from being done: those who wait look.
local function tell(key, record, channel)
  if record == '' then return end
  redis.call('SET', key, record)
  redis.pcall('PUBLISH', channel, key .. '\n' .. record)
end
