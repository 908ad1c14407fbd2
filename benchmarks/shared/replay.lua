-- A wrk script: each thread, with one connection, sends its share of prepared requests once and notes each answer.
-- Share i is read from ARGUMENT.i as repeated "<length>\n<bytes>"; answers go to ARGUMENT.i.answers as lines of
-- "<microseconds> <status> <1 if it says block>", in order; status 0 where the connection ended without an answer. The
-- file gets its name when it is complete.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } moment;
  int clock_gettime(int clock, moment *now);
]]
local MONOTONIC = 1
local moment = ffi.new("moment")

local function now_us()
  ffi.C.clock_gettime(MONOTONIC, moment)
  return tonumber(moment.seconds) * 1e6 + tonumber(moment.nanoseconds) / 1e3
end

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  path = args[1] .. "." .. number
  messages = {}
  local file = assert(io.open(path, "rb"))
  for length in function() return file:read("*l") end do
    messages[#messages + 1] = file:read(tonumber(length))
  end
  file:close()
  answers = {}
  at = 0
  tried = number ~= 0 -- wrk makes the first thread build one request before it starts
end

local function note(took, status, blocked)
  answers[#answers + 1] = string.format("%.1f %d %d\n", took, status, blocked)
  began = nil
  if #answers == #messages then
    local file = assert(io.open(path .. ".partial", "w"))
    file:write(table.concat(answers))
    file:close()
    assert(os.rename(path .. ".partial", path .. ".answers"))
    wrk.thread:stop()
  end
end

function request()
  if not tried then
    tried = true
    return messages[1]
  end
  if began then note(now_us() - began, 0, 0) end
  if at == #messages then return "" end
  at = at + 1
  began = now_us()
  return messages[at]
end

function response(status, headers, body)
  local took = now_us() - began
  note(took, status, string.find(body, '"action":"block"', 1, true) and 1 or 0)
end
