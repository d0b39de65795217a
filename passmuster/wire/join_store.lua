-- The atomic steps of joining a run. `join_store.py` calls `operations[ARGV[1]]` with the other arguments.
--
-- KEYS: lease, holder, round, members, seen, journal, spec, and for a certain round its outcome.
-- The leader is the member whose token is in `lease`. An expired lease that no other member has taken still
-- belongs to `holder`, because the journal is unchanged since. All times are the broker's, so the clocks of
-- the machines need not agree.

local lease, holder, round, members = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local seen, journal, spec, outcome = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local operations = {}

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function set_holder(token)
  redis.call('SET', holder, token, 'EX', 7 * JOIN_TTL_S)
end

local function set_lease(token)
  redis.call('SET', lease, token, 'PX', LEADER_LEASE_MS)
end

local function renew_lease(token)
  if redis.call('GET', holder) ~= token then return false end
  set_lease(token)
  return true
end

local function extend_lifetimes()
  for i = 3, 7 do redis.call('EXPIRE', KEYS[i], JOIN_TTL_S) end
end

-- A run that the broker does not know starts with the round `number`.
function operations.enter(identity, attempt, number)
  if redis.call('EXISTS', round) == 0 then
    redis.call('HSET', round, 'number', number, 'state', 'run', 'attempt', attempt)
  end
  local found = redis.call('HMGET', round, 'number', 'state', 'attempt')
  local field = found[1] .. ':' .. identity
  local was_seen = redis.call('HGET', seen, field)
  redis.call('HSET', seen, field, attempt)
  extend_lifetimes()
  return {found[1], found[2], found[3], was_seen and 1 or 0}
end

function operations.start_round(number, attempt, identity, entry)
  local found = redis.call('HMGET', round, 'number', 'state')
  if found[1] ~= number or found[2] ~= 'done' then return 0 end
  local new = string.format('%d', tonumber(number) + 1)
  redis.call('HSET', round, 'number', new, 'state', 'run', 'attempt', attempt)
  redis.call('HDEL', round, 'leader')
  redis.call('DEL', lease, holder)
  redis.call('HSET', seen, new .. ':' .. identity, attempt)
  redis.call('XADD', journal, '*', 'kind', 'round', 'body', entry)
  extend_lifetimes()
  return 1
end

function operations.claim(token, name, number)
  local found = redis.call('HMGET', round, 'number', 'state')
  if found[1] ~= number or found[2] ~= 'run' or redis.call('EXISTS', lease) == 1 then return 0 end
  set_lease(token)
  set_holder(token)
  redis.call('HSET', round, 'leader', name)
  return 1
end

-- If the broker lost its data, the leader, which knows the whole state, restores the run.
function operations.renew(token, name, number, attempt, signed_spec)
  if redis.call('EXISTS', round) == 0 and redis.call('EXISTS', lease) == 0 then
    redis.call('HSET', round, 'number', number, 'state', 'run', 'attempt', attempt, 'leader', name)
    redis.call('SET', spec, signed_spec)
    set_holder(token)
    extend_lifetimes()
  end
  return renew_lease(token) and 1 or 0
end

function operations.give_up(token)
  if not renew_lease(token) then return 0 end
  redis.call('DEL', lease, holder)
  return 1
end

-- Reads its entries from ARGV, because `unpack` is limited to a few thousand values.
function operations.append(token)
  if not renew_lease(token) then return 0 end
  for i = 3, #ARGV do redis.call('XADD', journal, '*', 'kind', 'result', 'body', ARGV[i]) end
  extend_lifetimes()
  return 1
end

-- A round that passed is the last one, so the journal is not read again.
function operations.finish_round(token, signed_outcome, is_green)
  if not renew_lease(token) then return 0 end
  redis.call('SET', outcome, signed_outcome, 'EX', JOIN_TTL_S)
  redis.call('HSET', round, 'state', 'done')
  redis.call('DEL', lease, holder)
  if is_green == '1' then redis.call('DEL', journal) end
  extend_lifetimes()
  return 1
end

-- Returns the number of other members.
function operations.heartbeat(name)
  redis.call('HSET', members, name, string.format('%.0f', now_ms()))
  local others = 0
  local all = redis.call('HGETALL', members)
  for i = 1, #all, 2 do
    if now_ms() - (tonumber(all[i + 1]) or 0) > LEADER_LEASE_MS then
      redis.call('HDEL', members, all[i])
    elseif all[i] ~= name then
      others = others + 1
    end
  end
  extend_lifetimes()
  return others
end

function operations.status()
  local found = redis.call('HMGET', round, 'number', 'leader')
  return {found[1] or '0', redis.call('EXISTS', lease), found[2] or '', redis.call('EXISTS', outcome)}
end

return operations[ARGV[1]](unpack(ARGV, 2, 6))
