-- A parked task (AT JSON) as it is queued again: decoded, with `at` among its fields; nil where it
-- does not decode.
local function unparked(raw)
  local at, json = string.match(raw, '^(%d+) (.*)$')
  local fine, parked = pcall(cjson.decode, json or '')
  local fields = fine and type(parked) == 'table' and parked.fields
  if type(fields) ~= 'table' or #fields % 2 == 1 or #fields == 0 or #fields > 1000 then return nil end
  for _, field in ipairs(fields) do if type(field) ~= 'string' then return nil end end
  fields[#fields + 1] = 'at'
  fields[#fields + 1] = at
  return parked
end
