-- Take an entry off its stream: acknowledge it, delete it where told to, and forget it in `moved`.
local function leave(stream, group, entry, delete, moved, id)
  redis.call('XACK', stream, group, entry)
  if delete == '1' then redis.call('XDEL', stream, entry) end
  redis.call('HDEL', moved, id)
end
