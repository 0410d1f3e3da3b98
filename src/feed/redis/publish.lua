-- Appends changes to the state and the stream, all of them or none.
--
-- KEYS: meta, state of the generation, changes
-- ARGV: source, seq after which they follow, generation, seq of the last one, about how many entries the stream keeps,
--       then for each change: its field in the state, its value there (empty when it is lifted), its message
-- Answers "OK", or "MOVED" when the broker stands elsewhere or has lost something.

local meta = redis.call('HMGET', KEYS[1], 'source', 'seq', 'generation', 'count')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] or meta[3] ~= ARGV[3]
    or tonumber(meta[4]) ~= redis.call('HLEN', KEYS[2]) or redis.call('EXISTS', KEYS[3]) == 0 then
  return 'MOVED'
end
for i = 6, #ARGV, 3 do
  -- The stream first: where it cannot take anything, the state stays as it is.
  local added = redis.pcall('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'm', ARGV[i + 2])
  if type(added) == 'table' and added.err then
    -- Somebody has used up its ids: it is begun anew, with the state.
    if i == 6 and string.find(added.err, 'exhausted') then
      redis.call('DEL', KEYS[3])
      return 'MOVED'
    end
    return added
  end
  if ARGV[i + 1] == '' then
    redis.call('HDEL', KEYS[2], ARGV[i])
  else
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
redis.call('HSET', KEYS[1], 'seq', ARGV[4], 'count', redis.call('HLEN', KEYS[2]))
return 'OK'
