-- Claim entries whose lease has run out: their worker is gone or stuck. Notes that worker in
-- `robbed`, so that `finish` and `announce` check each entry which the worker still names.
-- Examines at most ten times `count` entries from the cursor on, so a call never takes long.
-- Entries that two workers or more were lost with are suspects: one of them is taken when the call
-- asks for a suspect, else they are left, but for those that nobody asked for in twelve leases.
-- Consumers of other programs renew nothing while they work, and so have a lease of their own.
--
-- KEYS  1 lane   2 robbed
-- ARGV  1 group   2 worker   3 lease_ms   4 cursor   5 count
--       6 1 to take one suspect and nothing else   7 lease_ms of consumers that are no castwork workers
-- RETURN  {server time in ms, next cursor, suspects left, {entry, {field, value, ...}, deliveries}, ...}
-- USES now is_worker
local lane, robbed, group, worker = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local own_lease, foreign_lease, count = tonumber(ARGV[3]), tonumber(ARGV[7]), tonumber(ARGV[5])
local wants_suspect = ARGV[6] == '1'

local function newer(a, b)
  local ms, seq = string.match(a, '^(%d+)%-(%d+)$')
  local other_ms, other_seq = string.match(b, '^(%d+)%-(%d+)$')
  if not other_ms then return true end
  ms, seq, other_ms, other_seq = tonumber(ms), tonumber(seq), tonumber(other_ms), tonumber(other_seq)
  return ms > other_ms or (ms == other_ms and seq > other_seq)
end

local found = {now(), '-', 0}
local pending = redis.call('XPENDING', lane, group, ARGV[4], '+', count * 10)
if #pending == count * 10 then found[2] = '(' .. pending[#pending][1] end
for _, one in ipairs(pending) do
  local entry, owner, idle, deliveries = one[1], one[2], one[3], one[4]
  local lease = is_worker(owner) and own_lease or foreign_lease
  local suspect = deliveries > 1 and (wants_suspect or idle < 12 * lease)
  if #found - 3 == count then
    found[2] = entry
    break
  elseif idle >= lease and suspect ~= wants_suspect then
    if suspect then found[3] = found[3] + 1 end
  elseif idle >= lease then
    local claimed = redis.call('XCLAIM', lane, group, worker, 0, entry)
    if claimed[1] then
      -- The note is the newest entry taken: `retire` drops it when no entry as old is pending.
      local note = redis.call('HGET', robbed, owner)
      if not note or newer(entry, note) then redis.call('HSET', robbed, owner, entry) end
      found[#found + 1] = {entry, claimed[1][2], deliveries + 1}
    else -- the entry was deleted while it was pending
      redis.call('XACK', lane, group, entry)
    end
  end
end
return found
