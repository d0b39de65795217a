"""The atomic steps of a run, as Lua scripts that the broker executes. `run_store` calls them.

Each script gets the keys meta, state, lease, results, runs, and the run's two queues, and as arguments a
path, a delivery number and a worker. The member of a lease is delivery, worker and path, joined by NUL, which
none of them can contain. All times are the broker's, so the clocks of workers need not agree.

Every key has a lifetime, which each step that may have created the key sets again, so a killed program leaves
no key forever.
"""

from __future__ import annotations

from passmuster.wire.broker_keys import DELIVERIES_PER_ATTEMPT, DISPATCHER_TIMEOUT_S, LEASE_S, RUN_TTL_S

_HEAD = f"""
local meta, state, lease, results = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local path, take, worker = ARGV[1], ARGV[2], ARGV[3]
local function member(t, w) return t .. '\\0' .. w .. '\\0' .. path end
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local function hold()
  redis.call('HSET', state, path, 'R:' .. take .. ':' .. worker)
  redis.call('ZADD', lease, string.format('%.0f', now() + {LEASE_S * 1000}), member(take, worker))
  redis.call('EXPIRE', lease, {RUN_TTL_S})
end
local function tell(kind, body)
  redis.call('XADD', results, '*', 'kind', kind, 'path', path, 'attempt', take,
    'worker', worker, 'body', body)
  redis.call('EXPIRE', results, {RUN_TTL_S})
end
local function same_attempt(s)
  local per_attempt = {DELIVERIES_PER_ATTEMPT}
  return math.floor(tonumber(string.match(s, '^%a:(%d+)')) / per_attempt)
    == math.floor(tonumber(take) / per_attempt)
end
"""

CLAIM = (
    _HEAD
    + """
if redis.call('HGET', meta, 'state') ~= 'run' then return 'gone' end
if redis.call('HGET', state, path) ~= 'Q:' .. take then return 'gone' end
hold()
tell('started', '')
return 'ok'
"""
)

RENEW = (
    _HEAD
    + """
local run = redis.call('HGET', meta, 'state')
if not run then return 'unknown' end
if run ~= 'run' then return 'cancelled' end
local s = redis.call('HGET', state, path)
if not s then return 'lost' end
if s == 'R:' .. take .. ':' .. worker or (string.sub(s, 1, 2) == 'Q:' and same_attempt(s)) then
  hold()
  return 'held'
end
return 'lost'
"""
)

FINISH = (
    _HEAD
    + """
redis.call('ZREM', lease, member(take, worker))
if redis.call('EXISTS', meta) == 0 then return 0 end
local s = redis.call('HGET', state, path)
if not s or string.sub(s, 1, 2) == 'D:' or not same_attempt(s) then return 0 end
local t, w = string.match(s, '^R:(%d+):(.*)$')
if t then redis.call('ZREM', lease, member(t, w)) end
redis.call('HSET', state, path, 'D:' .. take .. ':' .. worker)
tell('finished', ARGV[4])
return 1
"""
)
"""The first result of an attempt counts, whichever worker sent it; the other worker's next renewal fails."""

RELEASE = (
    _HEAD
    + """
redis.call('ZREM', lease, member(take, worker))
if redis.call('HGET', state, path) ~= 'R:' .. take .. ':' .. worker then return 0 end
redis.call('HSET', state, path, 'Q:' .. take)
tell('released', '')
return 1
"""
)

EXPIRED = (
    _HEAD
    + """
return redis.call('ZRANGEBYSCORE', lease, '-inf', string.format('%.0f', now()))
"""
)

EXPIRE = (
    _HEAD
    + """
local deadline = redis.call('ZSCORE', lease, member(take, worker))
if not deadline or tonumber(deadline) > now() then return 0 end
redis.call('ZREM', lease, member(take, worker))
if redis.call('HGET', state, path) ~= 'R:' .. take .. ':' .. worker then return 0 end
redis.call('HDEL', state, path)
return 1
"""
)

ADD = (
    _HEAD
    + f"""
local s = redis.call('HGET', state, path)
if s and string.sub(s, 1, 2) == 'R:' then return 0 end
redis.call('HSET', state, path, 'Q:' .. take)
redis.call('EXPIRE', state, {RUN_TTL_S})
return 1
"""
)

WITHDRAW = (
    _HEAD
    + """
if redis.call('HGET', state, path) ~= 'Q:' .. take then return 0 end
redis.call('HDEL', state, path)
return 1
"""
)

WAITS = (
    _HEAD
    + """
if redis.call('HGET', meta, 'state') ~= 'run' then return 0 end
return redis.call('HGET', state, path) == 'Q:' .. take and 1 or 0
"""
)

SLOTS = (
    _HEAD
    + """
if redis.call('EXISTS', meta) == 0 then return false end
local count, first, total, is_free = tonumber(ARGV[4]), tonumber(ARGV[5]), 0, true
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
redis.call('HSET', meta, 'slots:' .. worker, string.format('%.0f:%.0f', first, count))
return {first, math.max(total, first + count)}
"""
)
"""Gets the number of slots, and the first number that the worker was given before, or -1."""

REFUSE = (
    _HEAD
    + """
if redis.call('EXISTS', meta) == 0 then return 0 end
tell('refused', ARGV[4])
return 1
"""
)
"""Only if the run exists: a stream without a run would stay forever."""

BEAT = (
    _HEAD
    + f"""
if redis.call('EXISTS', meta) == 0 then return 0 end
local ms = string.format('%.0f', now())
redis.call('HSET', meta, 'dispatcher_beat', ms, 'kept', ARGV[4])
redis.call('HSETNX', meta, 'begun', ms)
for i = 1, #KEYS do redis.call('EXPIRE', KEYS[i], {RUN_TTL_S}) end
return 1
"""
)
"""Only where there is a run: after the broker came back empty, half a run would look like a whole one."""

ACTIVE = f"""
local now_s = tonumber(redis.call('TIME')[1])
local found, damaged = {{}}, {{}}
for _, run in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local beat_ms = redis.pcall('HGET', ARGV[1] .. run .. ARGV[2], 'dispatcher_beat')
  if beat_ms and (type(beat_ms) == 'table' or not tonumber(beat_ms)) then
    table.insert(damaged, run)
  elseif not beat_ms then
    redis.call('SREM', KEYS[1], run)
    redis.call('DEL', ARGV[3] .. run, ARGV[3] .. run .. ARGV[4])
  elseif now_s - tonumber(beat_ms) / 1000 < {DISPATCHER_TIMEOUT_S} then
    table.insert(found, run)
  end
end
return {{found, damaged}}
"""
"""Of all runs: those under way, and those that are damaged, which must not hide the others. Gets the key of
their set, and what stands before and behind a run's id in its meta key, and in the key of its second queue. A
run without a beat has expired. Its queue goes with it: it may have got messages after the last beat."""

CANCEL = (
    _HEAD
    + """
if redis.call('EXISTS', meta) == 1 then redis.call('HSET', meta, 'state', 'cancelled') end
redis.call('DEL', KEYS[6], KEYS[7])
redis.call('SREM', KEYS[5], ARGV[4])
return 1
"""
)

LOOK = """
local meta = redis.call('HMGET', KEYS[1], 'state', 'begun', 'dispatcher_beat', 'kept')
if not meta[1] then return false end
local counts = {Q = 0, R = 0, D = 0}
for _, s in ipairs(redis.call('HVALS', KEYS[2])) do
  local kind = string.sub(s, 1, 1)
  counts[kind] = (counts[kind] or 0) + 1
end
local t = redis.call('TIME')
local now = string.format('%.0f', tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000))
return {meta[2] or '', meta[3] or '', meta[4] or '', now, counts.Q, counts.R, counts.D}
"""
"""Of one run. Gets the keys meta and state alone, and changes nothing. The broker counts: the files may be
many."""
