-- Queue tasks of one queue whose ids name their place: any functions, in the order of the rows.
-- Idempotent: a repeated call gets the answer of the first call, and adds nothing.
--
-- KEYS  1 sent   2 high   3 normal   4 low; without a bound, those needed are enough
--       then, with a bound, waiters
-- ARGV  1 sender and slot   2 number of the call   3 max_depth (0: none)   4 1: each row whole or not
--       then rows: which of the lanes, fields per task (1 or 2), n, n times: call, meta where there are 2
-- RETURN  a word per row: FIRST/n, or all entries with commas between where their ids are not
--         consecutive; behind the word '!depth' when the queue was full for the rest of the row
-- USES sent
local call, match, KEYS, ARGV = redis.call, string.match, KEYS, ARGV
local max_depth, whole, depth = tonumber(ARGV[3]), ARGV[4] == '1', 0

local before = heard(KEYS[1], ARGV[1], ARGV[2])
if before then return before end
if max_depth > 0 then
  for lane = 2, 4 do depth = depth + call('XLEN', KEYS[lane]) end
  if KEYS[5] then depth = depth + call('ZCARD', KEYS[5]) end
end

local function room(n)
  if max_depth == 0 or depth + n <= max_depth then return n end
  return whole and 0 or math.max(0, max_depth - depth)
end

local function add(lane, fields, first, n)
  local entries = {}
  for i = 1, n do
    local arg = first + fields * (i - 1)
    if fields == 1 then
      entries[i] = call('XADD', lane, '*', 'call', ARGV[arg])
    else
      entries[i] = call('XADD', lane, '*', 'call', ARGV[arg], 'meta', ARGV[arg + 1])
    end
  end
  return entries
end

local function as_word(entries)
  local n = #entries
  local ms, count = match(entries[1], '^(%d+)%-(%d+)$')
  if entries[n] == ms .. '-' .. string.format('%.0f', count + n - 1) then
    return entries[1] .. '/' .. n
  end
  return table.concat(entries, ',')
end

local words, time, at = {}, nil, 5
while at <= #ARGV do
  local lane, fields, n = KEYS[1 + ARGV[at]], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local taken, word = room(n), ''
  if taken > 0 then
    local entries = add(lane, fields, at + 3, taken)
    word, time = as_word(entries), time or match(entries[1], '^%d+')
  end
  depth = depth + taken
  words[#words + 1] = taken < n and word .. '!' .. depth or word
  at = at + 3 + fields * n
end
local reply = table.concat(words, ' ')
if time then note(KEYS[1], ARGV[1], ARGV[2], time, reply) end
return reply
