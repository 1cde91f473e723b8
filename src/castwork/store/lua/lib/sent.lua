-- The answer that a producer's call got when it was heard before; nil when the call is new. A
-- producer counts its calls and uses a slot again only when the slot's last call was answered or
-- given up, so a late copy of an old call has a lower number than the slot.
local function heard(sent, slot, number)
  local before = redis.call('HGET', sent, slot)
  if not before then return nil end
  local last, words = string.match(before, '^(%d+) %d+ (.*)$')
  -- What another program wrote there is no answer.
  return last and tonumber(last) >= tonumber(number) and words or nil
end

-- Note a call and its answer; by `time`, `retire` forgets calls that are not repeated any more.
local function note(sent, slot, number, time, words)
  redis.call('HSET', sent, slot, number .. ' ' .. time .. ' ' .. words)
end
