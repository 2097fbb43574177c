-- wrk's part of the bench: tokens in rotation out of a file, an optional body, and the result as one line of JSON.
-- Arguments: the file with one token a line, or a token, a blank and a path; the line to begin at, counted from 0; the
-- file of the body or nothing.
local function lines(path)
  local all = {}
  for line in io.lines(path) do all[#all + 1] = line end
  return all
end

function init(args)
  wrk.headers["Accept"] = "application/json"
  if args[3] then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = io.open(args[3]):read("*a")
  end
  local requests = {}
  for index, line in ipairs(lines(args[1])) do
    local token, path = line:match("^(%S+) ?(%S*)$")
    wrk.headers["Authorization"] = "Bearer " .. token
    requests[index] = wrk.format(nil, path ~= "" and path or nil)
  end
  local count, one = #requests, requests[1]
  local at = tonumber(args[2]) % count
  if count == 1 then
    function request() return one end
  else
    function request()
      at = at + 1
      if at > count then at = 1 end
      return requests[at]
    end
  end
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('{"requests":%d,"failed":%d,"seconds":%.6f,"p50":%.4f,"p99":%.4f}\n',
    summary.requests, failed, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
