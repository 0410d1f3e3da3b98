-- Says that everything up to a position has been published.
--
-- KEYS: meta, state of the generation, changes
-- ARGV: source, seq, generation, about how many entries the stream keeps, message
-- Answers "OK", or "MOVED" when the broker stands elsewhere or has lost something.

local meta = redis.call('HMGET', KEYS[1], 'source', 'seq', 'generation', 'count')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] or meta[3] ~= ARGV[3]
    or tonumber(meta[4]) ~= redis.call('HLEN', KEYS[2]) or redis.call('EXISTS', KEYS[3]) == 0 then
  return 'MOVED'
end
local added = redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'm', ARGV[5])
if type(added) == 'table' and added.err then
  -- Somebody has used up its ids: it is begun anew, with the state.
  if string.find(added.err, 'exhausted') then
    redis.call('DEL', KEYS[3])
    return 'MOVED'
  end
  return added
end
return 'OK'
