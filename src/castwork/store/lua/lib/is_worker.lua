-- Whether a consumer is a castwork worker, by its name: HOST-PID- and eight hexadecimal digits, and
-- behind a point the worker's number, where a process has several.
-- Other programs that read the group of an adopted stream have names of their own form.
local function is_worker(name)
  local process = string.gsub(name, '%.%d+$', '')
  return string.find(process, '%-%d+%-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]$') ~= nil
end
