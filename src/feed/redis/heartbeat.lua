-- Says that everything up to a position has been published. Looks at some of the buckets each time, so that a state
-- that has lost something is found out although nobody changes it.
--
-- KEYS: meta, changes, some buckets of the state
-- ARGV: source, seq, generation, about how many entries the stream keeps, message,
--       how many entries are too many for the number of buckets
-- Answers "OK", "MOVED" when the broker stands elsewhere, or "UNFIT" when the state is to be written anew: it has lost
-- something, or has grown too large for its buckets.

local meta = redis.call('HMGET', KEYS[1], 'source', 'seq', 'generation', 'count')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] or meta[3] ~= ARGV[3] or redis.call('EXISTS', KEYS[2]) == 0 then
  return 'MOVED'
end
local count = tonumber(meta[4])
if not count or count > tonumber(ARGV[6]) then
  return 'UNFIT'
end
for i = 3, #KEYS do
  local count = redis.call('HGET', KEYS[i], '')
  if not count or tonumber(count) ~= redis.call('HLEN', KEYS[i]) - 1 then
    return 'UNFIT'
  end
end
local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'm', ARGV[5])
if type(added) == 'table' and added.err then
  -- Somebody has used up its ids: it is begun anew, with the state.
  if string.find(added.err, 'exhausted') then
    redis.call('DEL', KEYS[2])
    return 'MOVED'
  end
  return added
end
return 'OK'
