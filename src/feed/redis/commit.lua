-- Puts the state of a new generation in the place of the current one.
--
-- KEYS: meta, changes, state of the new generation, state of the old one (the new one again where there is none)
-- ARGV: source, seq and generation as they were when the refill began (each empty where there was none),
--       source, seq and generation of the new state, how many fields it has,
--       about how many entries the stream keeps, message
-- Answers "OK", "MOVED" when somebody else has written since, "LOST" when the new state is not all there.

local meta = redis.call('HMGET', KEYS[1], 'source', 'seq', 'generation')
if (meta[1] or '') ~= ARGV[1] or (meta[2] or '') ~= ARGV[2] or (meta[3] or '') ~= ARGV[3] then
  return 'MOVED'
end
if redis.call('HLEN', KEYS[3]) ~= tonumber(ARGV[7]) then
  return 'LOST'
end
-- What is no stream is not ours: an error, before anything is written.
redis.call('XLEN', KEYS[2])
-- A stream that takes no more, because somebody has written an entry with the last possible id, begins anew.
local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[8], '*', 'm', ARGV[9])
if type(added) == 'table' and added.err then
  redis.call('DEL', KEYS[2])
  redis.call('XADD', KEYS[2], '*', 'm', ARGV[9])
end
redis.call('PERSIST', KEYS[3])
redis.call('HSET', KEYS[1], 'source', ARGV[4], 'seq', ARGV[5], 'generation', ARGV[6], 'count', ARGV[7])
if KEYS[4] ~= KEYS[3] then
  redis.call('UNLINK', KEYS[4])
end
return 'OK'
