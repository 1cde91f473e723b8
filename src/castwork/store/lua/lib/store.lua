-- Store n final records, and publish them in one message: the records' keys, then the records, a
-- line each. KEYS holds the keys behind index `keys`, ARGV the records behind index `records`.
-- A caller may pass the finished message; joining it here costs more. Without one, n must be 1.
-- MSETEX costs half as much as PSETEX. A server that takes over may lack MSETEX: then PSETEX it is.
local function store(keys, records, n, ttl, channel, msetex, message)
  local call = redis.call
  if msetex then
    local values = {}
    for i = 1, n do values[2 * i - 1], values[2 * i] = KEYS[keys + i], ARGV[records + i] end
    values[2 * n + 1], values[2 * n + 2] = 'PX', ttl
    local reply = redis.pcall('MSETEX', n, unpack(values))
    msetex = type(reply) ~= 'table' or not reply.err
  end
  if not msetex then
    for i = 1, n do call('PSETEX', KEYS[keys + i], ttl, ARGV[records + i]) end
  end
  redis.pcall('PUBLISH', channel, message or KEYS[keys + 1] .. '\n' .. ARGV[records + 1])
end
