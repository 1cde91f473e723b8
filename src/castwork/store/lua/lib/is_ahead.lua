-- Whether an adopted stream's entry is there and its group has not been given it yet.
local function is_ahead(stream, group, entry)
  local last = '0-0' -- where there is no group: a worker makes it from the beginning
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, flat in ipairs(groups.err and {} or groups) do
    local facts = {}
    for i = 1, #flat, 2 do facts[flat[i]] = flat[i + 1] end
    if facts.name == group then last = facts['last-delivered-id'] end
  end
  local newest = redis.call('XREVRANGE', stream, entry, '(' .. last, 'COUNT', 1)[1]
  return newest ~= nil and newest[1] == entry
end
