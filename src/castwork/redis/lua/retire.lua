-- Forget consumers that are done: the one named, and those idle for long.
-- A consumer that still holds entries is kept, its entries would become unreachable.
--
-- KEYS  1 lane
-- ARGV  1 group   2 consumer   3 ms of idleness after which others are forgotten
-- RETURN  number of consumers forgotten
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end
local forgotten = 0
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  local done = consumer.name == ARGV[2] or consumer.idle > tonumber(ARGV[3])
  if consumer.pending == 0 and done then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    forgotten = forgotten + 1
  end
end
return forgotten
