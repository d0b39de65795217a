-- Records how many files one dispatcher wants to run, and makes the list as long as the sum over all of them.
--
-- KEYS: the list, and a hash from a dispatcher to its deadline in ms and its number of files.
-- ARGV: the dispatcher, and its number of files.
--
-- Only the length of the list is read; its elements mean nothing. Every report sets the length anew, so neither
-- a killed dispatcher nor a damaged key has an effect that lasts.

local list, reports = KEYS[1], KEYS[2]
local dispatcher, files = ARGV[1], tonumber(ARGV[2])

local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- Deletes a key of another type, and returns `empty` for it.
local function read(command, key, empty)
  local found = redis.pcall(command, key)
  if type(found) ~= 'table' or not found.err then return found end
  redis.call('DEL', key)
  return empty
end

local wanted = files
local fields = read('HGETALL', reports, {})
for i = 1, #fields, 2 do
  local deadline_ms, count = string.match(fields[i + 1], '^(%d+):(%d+)$')
  if not deadline_ms or tonumber(deadline_ms) <= now_ms then
    redis.call('HDEL', reports, fields[i])
  elseif fields[i] ~= dispatcher then
    wanted = wanted + tonumber(count)
  end
end
if files > 0 then
  redis.call('HSET', reports, dispatcher, string.format('%.0f:%.0f', now_ms + DEMAND_TTL_S * 1000, files))
else
  redis.call('HDEL', reports, dispatcher)
end

local length = read('LLEN', list, 0)
if length > wanted then redis.call('RPOP', list, length - wanted) end
while length < wanted do
  -- `unpack` is limited to a few thousand elements.
  local elements = {}
  for i = 1, math.min(wanted - length, 1000) do elements[i] = '1' end
  length = redis.call('RPUSH', list, unpack(elements))
end
redis.call('EXPIRE', list, DEMAND_TTL_S)
redis.call('EXPIRE', reports, DEMAND_TTL_S)
