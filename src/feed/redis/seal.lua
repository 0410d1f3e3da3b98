-- Makes buckets of a state that is being written, or says in each how many entries it has by now. They expire unless
-- the state is put in its place.
--
-- KEYS: buckets
-- ARGV: after how many seconds they expire
-- Answers how many entries they have.

local entries = 0
for _, key in ipairs(KEYS) do
  redis.call('HSETNX', key, '', 0)
  local count = redis.call('HLEN', key) - 1
  redis.call('HSET', key, '', count)
  redis.call('EXPIRE', key, ARGV[1])
  entries = entries + count
end
return entries
