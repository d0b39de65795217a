"""The atomic steps of joining a run, as Lua scripts that the broker executes. `join_store` calls them.

Each script gets the keys claim, holder, round, members, seen, journal, terms. The leader is the member whose
token is in `claim`. An expired lease that no other member has taken still belongs to its last holder, because
the journal is unchanged since. All times are the broker's, so the clocks of the machines need not agree.
"""

from __future__ import annotations

from passmuster.wire.broker_keys import JOIN_TTL_S, LEADER_LEASE_MS

_HEAD = f"""
local claim, holder, round, members, seen, journal = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
local function hold(token) redis.call('SET', holder, token, 'EX', {7 * JOIN_TTL_S}) end
local function take(token) redis.call('SET', claim, token, 'PX', {LEADER_LEASE_MS}) end
local function mine(token)
  if redis.call('GET', holder) ~= token then return false end
  take(token)
  return true
end
local function keep()
  for i = 3, 7 do redis.call('EXPIRE', KEYS[i], {JOIN_TTL_S}) end
end
"""

ENTER = (
    _HEAD
    + """
local identity, attempt, number = ARGV[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', round) == 0 then
  redis.call('HSET', round, 'number', number, 'state', 'run', 'attempt', attempt)
end
local found = redis.call('HMGET', round, 'number', 'state', 'attempt')
local field = found[1] .. ':' .. identity
local was_seen = redis.call('HGET', seen, field)
redis.call('HSET', seen, field, attempt)
keep()
return {found[1], found[2], found[3], was_seen and 1 or 0}
"""
)
"""A run that the broker does not know starts with the round that the caller names."""

BEGIN = (
    _HEAD
    + """
local number, attempt, identity, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local found = redis.call('HMGET', round, 'number', 'state')
if found[1] ~= number or found[2] ~= 'done' then return 0 end
local new = string.format('%d', tonumber(number) + 1)
redis.call('HSET', round, 'number', new, 'state', 'run', 'attempt', attempt)
redis.call('HDEL', round, 'leader')
redis.call('DEL', claim, holder)
redis.call('HSET', seen, new .. ':' .. identity, attempt)
redis.call('XADD', journal, '*', 'kind', 'round', 'body', entry)
keep()
return 1
"""
)

CLAIM = (
    _HEAD
    + """
local token, name, number = ARGV[1], ARGV[2], ARGV[3]
local found = redis.call('HMGET', round, 'number', 'state')
if found[1] ~= number or found[2] ~= 'run' or redis.call('EXISTS', claim) == 1 then return 0 end
take(token)
hold(token)
redis.call('HSET', round, 'leader', name)
return 1
"""
)

RENEW = (
    _HEAD
    + """
local token, name, number, attempt, terms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if redis.call('EXISTS', round) == 0 and redis.call('EXISTS', claim) == 0 then
  redis.call('HSET', round, 'number', number, 'state', 'run', 'attempt', attempt, 'leader', name)
  redis.call('SET', KEYS[7], terms)
  hold(token)
  keep()
end
return mine(token) and 1 or 0
"""
)
"""If the broker lost its data, the leader, which knows the whole state, restores the run."""

GIVE_UP = (
    _HEAD
    + """
if not mine(ARGV[1]) then return 0 end
redis.call('DEL', claim, holder)
return 1
"""
)

APPEND = (
    _HEAD
    + """
if not mine(ARGV[1]) then return 0 end
for i = 2, #ARGV do redis.call('XADD', journal, '*', 'kind', 'result', 'body', ARGV[i]) end
keep()
return 1
"""
)

DONE = (
    _HEAD
    + f"""
if not mine(ARGV[1]) then return 0 end
redis.call('SET', KEYS[8], ARGV[2], 'EX', {JOIN_TTL_S})
redis.call('HSET', round, 'state', 'done')
redis.call('DEL', claim, holder)
if ARGV[3] == 'green' then redis.call('DEL', journal) end
keep()
return 1
"""
)
"""A round that passed is the last one, so the journal is not read again."""

PULSE = (
    _HEAD
    + f"""
local name = ARGV[1]
redis.call('HSET', members, name, string.format('%.0f', now()))
local others = 0
local all = redis.call('HGETALL', members)
for i = 1, #all, 2 do
  if now() - (tonumber(all[i + 1]) or 0) > {LEADER_LEASE_MS} then
    redis.call('HDEL', members, all[i])
  elseif all[i] ~= name then
    others = others + 1
  end
end
keep()
return others
"""
)
"""Returns how many other machines are there."""

LOOK = """
local found = redis.call('HMGET', KEYS[3], 'number', 'leader')
return {found[1] or '0', redis.call('EXISTS', KEYS[1]), found[2] or '', redis.call('EXISTS', KEYS[8])}
"""
