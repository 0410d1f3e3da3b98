-- Appends changes to the state and the stream, all of them or none.
--
-- KEYS: meta, changes, then for each change the bucket that its field belongs to
-- ARGV: source, seq after which they follow, generation, seq of the last one, about how many entries the stream keeps,
--       then for each change: its field in the state, its value there (empty when it is lifted), its message
-- Answers "OK", "MOVED" when the broker stands elsewhere, or "UNFIT" when the state has lost something.

local meta = redis.call('HMGET', KEYS[1], 'source', 'seq', 'generation')
if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[2] or meta[3] ~= ARGV[3] or redis.call('EXISTS', KEYS[2]) == 0 then
  return 'MOVED'
end
for i = 3, #KEYS do
  local count = redis.call('HGET', KEYS[i], '')
  if not count or tonumber(count) ~= redis.call('HLEN', KEYS[i]) - 1 then
    return 'UNFIT'
  end
end
local grown = 0
for i = 3, #KEYS do
  local field, value, message = ARGV[3 * i - 3], ARGV[3 * i - 2], ARGV[3 * i - 1]
  -- The stream first: where it cannot take anything, the state stays as it is.
  local added = redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[5], '*', 'm', message)
  if type(added) == 'table' and added.err then
    -- Somebody has used up its ids: it is begun anew, with the state.
    if i == 3 and string.find(added.err, 'exhausted') then
      redis.call('DEL', KEYS[2])
      return 'MOVED'
    end
    return added
  end
  local more
  if value == '' then
    more = -redis.call('HDEL', KEYS[i], field)
  else
    more = redis.call('HSET', KEYS[i], field, value)
  end
  if more ~= 0 then
    redis.call('HINCRBY', KEYS[i], '', more)
    grown = grown + more
  end
end
redis.call('HSET', KEYS[1], 'seq', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'count', grown)
return 'OK'
