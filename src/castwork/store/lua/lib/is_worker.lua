-- Whether a consumer is a castwork worker, by its name: HOST-PID- and eight hexadecimal digits.
-- Other programs that read the group of an adopted stream have names of their own form.
local function is_worker(name)
  return string.find(name, '%-%d+%-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]$') ~= nil
end
