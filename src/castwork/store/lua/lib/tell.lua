-- Store a record and publish it. An empty record is neither stored nor published.
-- A refused PUBLISH is no error, so that the rest of the step is done: waiters also read the record.
local function tell(key, record, channel)
  if record == '' then return end
  redis.call('SET', key, record)
  redis.pcall('PUBLISH', channel, key .. '\n' .. record)
end
