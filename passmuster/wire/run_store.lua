-- The atomic steps of a run. `run_store.py` calls `operations[ARGV[1]]` with the other arguments.
--
-- KEYS: meta, state, lease, results, runs, and the two lists of the run's queue.
-- All times are the broker's, so the clocks of workers need not agree. Every key expires: each step that may
-- have created a key sets its lifetime again, so a killed program leaves no key forever.

local meta, state, lease, results, runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local operations = {}

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Lua itself writes large numbers in exponential notation.
local function integer(number)
  return string.format('%.0f', number)
end

-- None of the parts can contain a NUL.
local function lease_member(path, delivery, worker)
  return delivery .. '\0' .. worker .. '\0' .. path
end

local function grant_lease(path, delivery, worker)
  redis.call('HSET', state, path, 'R:' .. delivery .. ':' .. worker)
  redis.call('ZADD', lease, integer(now_ms() + LEASE_S * 1000), lease_member(path, delivery, worker))
  redis.call('EXPIRE', lease, RUN_TTL_S)
end

local function add_entry(kind, path, delivery, worker, body)
  redis.call('XADD', results, '*', 'kind', kind, 'path', path, 'delivery', delivery,
    'worker', worker, 'body', body)
  redis.call('EXPIRE', results, RUN_TTL_S)
end

local function is_same_attempt(file_state, delivery)
  local own = tonumber(string.match(file_state, '^%a:(%d+)'))
  return math.floor(own / DELIVERIES_PER_ATTEMPT) == math.floor(tonumber(delivery) / DELIVERIES_PER_ATTEMPT)
end

-- The worker's operations.

function operations.claim(path, delivery, worker)
  if redis.call('HGET', meta, 'state') ~= 'run' then return 'gone' end
  if redis.call('HGET', state, path) ~= 'Q:' .. delivery then return 'gone' end
  grant_lease(path, delivery, worker)
  add_entry('started', path, delivery, worker, '')
  return 'ok'
end

function operations.renew(path, delivery, worker)
  local run_state = redis.call('HGET', meta, 'state')
  if not run_state then return 'unknown' end
  if run_state ~= 'run' then return 'cancelled' end
  local file_state = redis.call('HGET', state, path)
  if not file_state then return 'lost' end
  local is_queued = string.sub(file_state, 1, 2) == 'Q:' and is_same_attempt(file_state, delivery)
  if file_state ~= 'R:' .. delivery .. ':' .. worker and not is_queued then return 'lost' end
  grant_lease(path, delivery, worker)
  return 'held'
end

-- The first result of an attempt counts, whichever worker sent it. The other worker's next renewal fails.
function operations.finish(path, delivery, worker, body)
  redis.call('ZREM', lease, lease_member(path, delivery, worker))
  if redis.call('EXISTS', meta) == 0 then return 0 end
  local file_state = redis.call('HGET', state, path)
  if not file_state or string.sub(file_state, 1, 2) == 'D:' or not is_same_attempt(file_state, delivery) then
    return 0
  end
  local other_delivery, other_worker = string.match(file_state, '^R:(%d+):(.*)$')
  if other_delivery then redis.call('ZREM', lease, lease_member(path, other_delivery, other_worker)) end
  redis.call('HSET', state, path, 'D:' .. delivery .. ':' .. worker)
  add_entry('finished', path, delivery, worker, body)
  return 1
end

function operations.release(path, delivery, worker)
  redis.call('ZREM', lease, lease_member(path, delivery, worker))
  if redis.call('HGET', state, path) ~= 'R:' .. delivery .. ':' .. worker then return 0 end
  redis.call('HSET', state, path, 'Q:' .. delivery)
  add_entry('released', path, delivery, worker, '')
  return 1
end

function operations.is_queued(path, delivery)
  if redis.call('HGET', meta, 'state') ~= 'run' then return 0 end
  return redis.call('HGET', state, path) == 'Q:' .. delivery and 1 or 0
end

-- `first`: the first slot number that this worker had before, or -1.
function operations.assign_slots(worker, count, first)
  if redis.call('EXISTS', meta) == 0 then return false end
  count, first = tonumber(count), tonumber(first)
  local total, is_free = 0, true
  local fields = redis.call('HGETALL', meta)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 6) == 'slots:' then
      local from, size = string.match(fields[i + 1], '^(%d+):(%d+)$')
      local to = tonumber(from) + tonumber(size)
      total = math.max(total, to)
      if first < to and tonumber(from) < first + count then is_free = false end
    end
  end
  local own = redis.call('HGET', meta, 'slots:' .. worker)
  if own and tonumber(string.match(own, ':(%d+)$')) == count then
    return {tonumber(string.match(own, '^(%d+)')), total}
  end
  if first < 0 or not is_free then first = total end
  redis.call('HSET', meta, 'slots:' .. worker, integer(first) .. ':' .. integer(count))
  return {first, math.max(total, first + count)}
end

-- Only if the run exists: a stream without a run would stay forever.
function operations.refuse(worker, body)
  if redis.call('EXISTS', meta) == 0 then return 0 end
  add_entry('refused', '', '0', worker, body)
  return 1
end

-- The dispatcher's operations.

-- For a file that a worker is known to run although the broker has lost its state.
function operations.lease(path, delivery, worker)
  grant_lease(path, delivery, worker)
  return 1
end

function operations.expired()
  return redis.call('ZRANGEBYSCORE', lease, '-inf', integer(now_ms()))
end

function operations.expire(path, delivery, worker)
  local member = lease_member(path, delivery, worker)
  local deadline_ms = redis.call('ZSCORE', lease, member)
  if not deadline_ms or tonumber(deadline_ms) > now_ms() then return 0 end
  redis.call('ZREM', lease, member)
  if redis.call('HGET', state, path) ~= 'R:' .. delivery .. ':' .. worker then return 0 end
  redis.call('HDEL', state, path)
  return 1
end

-- Gets pairs of a path and a delivery. Reads them from ARGV, because `unpack` is limited to a few thousand.
function operations.add()
  for i = 2, #ARGV, 2 do
    local file_state = redis.call('HGET', state, ARGV[i])
    if not file_state or string.sub(file_state, 1, 2) ~= 'R:' then
      redis.call('HSET', state, ARGV[i], 'Q:' .. ARGV[i + 1])
    end
  end
  redis.call('EXPIRE', state, RUN_TTL_S)
end

function operations.withdraw(path, delivery)
  if redis.call('HGET', state, path) ~= 'Q:' .. delivery then return 0 end
  redis.call('HDEL', state, path)
  return 1
end

-- Only if the run exists: if the broker lost its data, half a run would look like a whole one.
function operations.heartbeat(backlog)
  if redis.call('EXISTS', meta) == 0 then return 0 end
  local now = integer(now_ms())
  redis.call('HSET', meta, 'heartbeat', now, 'backlog', backlog)
  redis.call('HSETNX', meta, 'started', now)
  for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], RUN_TTL_S) end
  return 1
end

function operations.cancel(run_id)
  if redis.call('EXISTS', meta) == 1 then redis.call('HSET', meta, 'state', 'cancelled') end
  redis.call('DEL', KEYS[6], KEYS[7])
  redis.call('SREM', runs, run_id)
  return 1
end

-- Observers' operations, which get fewer keys.

-- KEYS: runs. Returns the active runs, and the damaged ones, which must not hide the others. A run without a
-- heartbeat has expired; its queue is removed, because messages may have arrived after the last heartbeat.
-- The arguments are the text before and after a run's ID in the keys `meta` and of the queue's second list.
function operations.active(meta_before, meta_after, queue_before, queue_after)
  local now_s = tonumber(redis.call('TIME')[1])
  local active, damaged = {}, {}
  for _, run_id in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local beat_ms = redis.pcall('HGET', meta_before .. run_id .. meta_after, 'heartbeat')
    if beat_ms and (type(beat_ms) == 'table' or not tonumber(beat_ms)) then
      table.insert(damaged, run_id)
    elseif not beat_ms then
      redis.call('SREM', KEYS[1], run_id)
      redis.call('DEL', queue_before .. run_id, queue_before .. run_id .. queue_after)
    elseif now_s - tonumber(beat_ms) / 1000 < DISPATCHER_TIMEOUT_S then
      table.insert(active, run_id)
    end
  end
  return {active, damaged}
end

-- KEYS: meta, state. Counts here, because there may be many files.
function operations.status()
  local found = redis.call('HMGET', meta, 'state', 'started', 'heartbeat', 'backlog')
  if not found[1] then return false end
  local counts = {Q = 0, R = 0, D = 0}
  for _, file_state in ipairs(redis.call('HVALS', state)) do
    local stage = string.sub(file_state, 1, 1)
    counts[stage] = (counts[stage] or 0) + 1
  end
  return {found[2] or '', found[3] or '', found[4] or '', integer(now_ms()), counts.Q, counts.R, counts.D}
end

return operations[ARGV[1]](unpack(ARGV, 2, 6))
