-- Written by `mediagate targets`. Asks for the lines of a list in turn: a path, or a path and a token for the `fat` header.
--
-- Each thread reads the file as it goes, from a place of its own, and from the beginning after the end: a list may be
-- longer than memory. START, from 0 to 1, says where the first begins.
local list = "@LIST@"

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local file, head, fields

function init(args)
  file = assert(io.open(args[1] or list, "rb"))
  -- Parts of the golden section lie apart from each other, however many threads there are.
  local place = ((tonumber(os.getenv("START")) or 0) + number * 0.6180339887) % 1
  file:seek("set", math.floor(place * file:seek("end")))
  if place > 0 then
    file:read("*l")
  end
  local lines = {}
  for name, value in pairs(wrk.headers) do
    lines[#lines + 1] = "\r\n" .. name .. ": " .. value
  end
  head = (wrk.method or "GET") .. " "
  fields = " HTTP/1.1" .. table.concat(lines)
end

local function line()
  local found = file:read("*l")
  if not found then
    file:seek("set", 0)
    found = assert(file:read("*l"), "the list is empty")
  end
  return found
end

function request()
  local found = line()
  local space = found:find(" ", 1, true)
  if space then
    return head .. found:sub(1, space - 1) .. fields .. "\r\nfat: " .. found:sub(space + 1) .. "\r\n\r\n"
  end
  return head .. found .. fields .. "\r\n\r\n"
end

-- One line for programs, after what wrk says to people.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"micros":%d,"bytes":%d,"statuses":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,"p50":%d,"p99":%d}\n',
    summary.requests, summary.duration, summary.bytes, errors.status, errors.connect, errors.read, errors.write,
    errors.timeout, latency:percentile(50), latency:percentile(99)))
end
