-- Count the entries that a group has not been given yet, up to a bound; changes nothing.
-- Servers before 7.0 do not tell, nor do later ones where an entry was deleted before it was given.
--
-- KEYS  1 stream
-- ARGV  1 the last entry that the group was given   2 most
-- RETURN  number of entries
local count, last, most = 0, ARGV[1], tonumber(ARGV[2])
repeat
  local page = redis.call('XRANGE', KEYS[1], '(' .. last, '+', 'COUNT', math.min(100, most - count))
  count = count + #page
  if page[1] then last = page[#page][1] end
until #page < 100 or count >= most
return count
