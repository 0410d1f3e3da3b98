-- Puts the state of a new generation in the place of the current one.
--
-- KEYS: meta, changes, the buckets of the new state, the buckets of the old one
-- ARGV: source, seq and generation as they were when the refill began (each empty where there was none),
--       source, seq and generation of the new state, how many entries and how many buckets it has,
--       about how many entries the stream keeps, message
-- Answers "OK", "MOVED" when somebody else has written since, "LOST" when the new state is not all there.

local meta = redis.call('HMGET', KEYS[1], 'source', 'seq', 'generation')
if (meta[1] or '') ~= ARGV[1] or (meta[2] or '') ~= ARGV[2] or (meta[3] or '') ~= ARGV[3] then
  return 'MOVED'
end
local last = 2 + tonumber(ARGV[8])
for i = 3, last do
  -- It had an expiry.
  if redis.call('PERSIST', KEYS[i]) == 0 then
    for j = 3, last do
      redis.call('UNLINK', KEYS[j])
    end
    return 'LOST'
  end
end
-- What is no stream is not ours: an error, before anything is written over.
redis.call('XLEN', KEYS[2])
-- A stream that takes no more, because somebody has written an entry with the last possible id, begins anew.
local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[9], '*', 'm', ARGV[10])
if type(added) == 'table' and added.err then
  redis.call('DEL', KEYS[2])
  redis.call('XADD', KEYS[2], '*', 'm', ARGV[10])
end
redis.call('HSET', KEYS[1], 'source', ARGV[4], 'seq', ARGV[5], 'generation', ARGV[6], 'count', ARGV[7],
  'buckets', ARGV[8])
for i = last + 1, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
return 'OK'
