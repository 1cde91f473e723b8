-- Append an event to a channel's history and tell the subscribers, each event naming its
-- predecessor so that a gap shows. Old events go, but none that a group has yet to handle.
-- Idempotent when `again` is set: an event of that uid among the last 1,000 is not repeated.
--
-- KEYS  1 history
-- ARGV  1 Redis channel   2 uid   3 event (JSON)   4 length to keep   5 hard bound
--       6 flags: letters (a: the publisher asks who has applied it), or '-'   7 1: again
-- RETURN  id of the event | 'full' when groups hold up more than the hard bound
local history, keep, flags = KEYS[1], tonumber(ARGV[4]), ARGV[6]
if ARGV[7] == '1' then
  for _, entry in ipairs(redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1000)) do
    if entry[2][2] == ARGV[2] then return entry[1] end
  end
end

-- A group that lags holds the floor down, and trimming costs more than the event itself. So trimming
-- is tried once in a number of events, of which each try can take away twice as many.
local length, bound = redis.call('XLEN', history), tonumber(ARGV[5])
local step = length > 2 * keep and 100 or math.max(1, math.min(100, math.floor(keep / 16)))
if length > bound or (length > keep + keep / 8 and length % step == 0) then
  local excess = redis.call('XRANGE', history, '-', '+', 'COUNT', math.min(length - keep, 200) + 1)
  local floor = excess[#excess][1]
  local function lower(id)
    local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
    local floor_ms, floor_seq = string.match(floor, '^(%d+)%-(%d+)$')
    ms, seq, floor_ms, floor_seq = tonumber(ms), tonumber(seq), tonumber(floor_ms), tonumber(floor_seq)
    if ms < floor_ms or (ms == floor_ms and seq < floor_seq) then floor = id end
  end
  for _, flat in ipairs(redis.call('XINFO', 'GROUPS', history)) do
    local group = {}
    for i = 1, #flat, 2 do group[flat[i]] = flat[i + 1] end
    lower(group['last-delivered-id'])
    if group.pending > 0 then lower(redis.call('XPENDING', history, group.name)[2]) end
  end
  redis.call('XTRIM', history, 'MINID', floor)
  if redis.call('XLEN', history) > bound then return 'full' end
end

local last = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
local previous = last and last[1] or '0-0'
local fields = {'uid', ARGV[2], 'event', ARGV[3], 'previous', previous}
if flags ~= '-' then
  fields[7], fields[8] = 'flags', flags
end
local id = redis.call('XADD', history, '*', unpack(fields))
redis.call('PUBLISH', ARGV[1], id .. ' ' .. previous .. ' ' .. flags .. ' ' .. ARGV[3])
return id
