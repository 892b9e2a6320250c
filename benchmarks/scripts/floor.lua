-- wrk posts each line of the file BODIES once.
local file, count, at = {}, 0, 0
local head = "POST /sms.aspx HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: "

function init()
  for line in io.lines(os.getenv("BODIES")) do
    count = count + 1
    file[count] = head .. #line .. "\r\n\r\n" .. line
  end
end

function request()
  at = at + 1
  if at == 1 then return file[1] end -- wrk asks once beforehand, to see what it gets, and does not send that
  if at > count + 1 then
    if at > count + 40 then wrk.thread:stop() end -- the answers under way still come
    return "GET /_nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
  end
  return file[at - 1]
end
