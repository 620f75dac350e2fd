-- Hands out up to `wanted` messages: by the bucket, by fair shares, each with one token.
-- KEYS: header, members, running, optouts, then stream, alarms, snapshot of each campaign of the roster.
-- ARGV: group, parked consumer, instance, wanted, roster version, campaign ids of the roster.
local header, members, running, optouts = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, parked, instance = ARGV[1], ARGV[2], ARGV[3]
local wanted, roster = tonumber(ARGV[4]), ARGV[5]

local fields = redis.call('HMGET', header, 'identity', 'roster', 'rate', 'tokens', 'refilled_us', 'vtime',
    'not_before_us', 'pace', 'slowed_us')
local here = identity()
if fields[1] ~= here then return { 'unverified', here } end
if redis.call('HGET', members, instance) ~= here then return { 'stranger', here } end
if (fields[2] or '0') ~= roster then
    return { 'roster', fields[2] or '0', redis.call('ZRANGE', running, 0, -1) }
end

local now = now_us()
local rate = pace_of(tonumber(fields[3]), tonumber(fields[8] or ''), tonumber(fields[9] or '0'), now)
redis.call('HSET', header, 'seen:' .. instance, whole(now / 1000))
local not_before = tonumber(fields[7] or '0')
if now < not_before then return { 'ok', whole(not_before - now), {}, {}, whole(now) } end

-- One token, and 10 ms of the pace: a taker that is up to 10 ms late wastes nothing.
local capacity = 1 + rate * 0.01
local elapsed = math.max(0, now - tonumber(fields[5] or '0'))
local tokens = math.min(capacity, tonumber(fields[4] or '0') + elapsed * rate / 1000000)
local system = tonumber(fields[6] or '0')

-- A campaign in trouble must not stop the lane's others: it is reported and left out. A script that fails
-- is not undone, so an error let through would also leave entries in the hands of a caller who never hears.
local candidates, taken, troubled, next_alarm_us, weights = {}, {}, {}, nil, 0
for i = 6, #ARGV do
    local at = 4 + (i - 6) * 3
    local snapshot = redis.pcall('HMGET', KEYS[at + 3], 'held', 'expires_ms', 'weight')
    if snapshot.err then
        table.insert(troubled, { i - 6, snapshot.err })
    else
        local expires_ms = tonumber(snapshot[2] or '0')
        if snapshot[1] == '0' and (expires_ms == 0 or now < expires_ms * 1000) then
            local weight = math.max(1, tonumber(snapshot[3] or '1'))
            weights = weights + weight
            table.insert(candidates, {
                index = i - 6, id = ARGV[i], stream = KEYS[at + 1], alarms = KEYS[at + 2],
                weight = weight,
                tag = tonumber(redis.call('ZSCORE', running, ARGV[i]) or system),
            })
        end
    end
end

-- Entries of one campaign and one attempt are handed on as Redis gave them: taking each of them apart would be half
-- the script's time.
local any_optouts = redis.call('ZCARD', optouts) > 0
local handed_out = 0
local function hand_out(campaign, attempt, entries)
    local refused = any_optouts and opted_out(optouts, entries) or {}
    tokens = tokens + #refused
    handed_out = handed_out + #entries
    table.insert(taken, { campaign.index, attempt, entries, refused })
end

local function take_due(campaign, count)
    local got = 0
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', campaign.alarms, '-inf', whole(now / 1000), 'LIMIT', 0, count)) do
        redis.call('ZREM', campaign.alarms, id)
        local pending = redis.call('XPENDING', campaign.stream, group, id, id, 1)[1]
        if pending and pending[2] == parked then
            local entry = redis.call('XCLAIM', campaign.stream, group, instance, 0, id)[1]
            if entry then
                hand_out(campaign, pending[4] + 1, { entry })
                got = got + 1
            end
        end
    end
    return got
end

local function take_fresh(campaign, count)
    local reply = redis.call('XREADGROUP', 'GROUP', group, instance, 'COUNT', count, 'STREAMS', campaign.stream, '>')
    if reply then hand_out(campaign, 1, reply[1][2]) end
end

-- How many were handed out, and whether there may be more.
local function take_from(campaign, count)
    local before = handed_out
    local fine, problem = pcall(function()
        local due = take_due(campaign, count)
        if due < count then take_fresh(campaign, count - due) end
    end)
    if not fine then
        local text = type(problem) == 'table' and (problem.err or 'unknown') or tostring(problem)
        table.insert(troubled, { campaign.index, text })
    end
    return handed_out - before, fine and handed_out - before == count
end

-- Each takes its share of the whole at a time, so that shares hold within a large take as over many. A small one is
-- not cut up more finely than this, times the weight: virtual time sees to it that the next goes to the others.
local UNCUT = 16
local whole_budget = math.min(wanted, math.floor(tokens))
local budget = whole_budget
while budget > 0 and #candidates > 0 do
    local chosen, start = 1, nil
    for i, campaign in ipairs(candidates) do
        local from = math.max(campaign.tag, system)
        if not start or from < start then chosen, start = i, from end
    end
    local campaign = candidates[chosen]
    local got, more = take_from(campaign,
        math.min(budget, math.max(UNCUT * campaign.weight, math.ceil(whole_budget * campaign.weight / weights))))
    if got > 0 then
        system, campaign.tag = start, start + got / campaign.weight
        redis.call('ZADD', running, string.format('%.9f', campaign.tag), campaign.id)
        tokens, budget = tokens - got, budget - got
    end
    if not more then
        local alarm = redis.pcall('ZRANGE', campaign.alarms, 0, 0, 'WITHSCORES')[2]
        if alarm then next_alarm_us = math.min(next_alarm_us or math.huge, tonumber(alarm) * 1000) end
        weights = weights - campaign.weight
        table.remove(candidates, chosen)
    end
end

redis.call('HSET', header, 'tokens', decimal(tokens), 'refilled_us', whole(now),
    'vtime', string.format('%.9f', system))

-- How long to wait before asking again, in microseconds: 0 now, -1 until woken.
local wait = -1
if tokens < 1 and (#candidates > 0 or #taken > 0) then
    wait = (1 - tokens) / rate * 1000000
elseif #candidates > 0 then
    wait = 0
elseif next_alarm_us then
    wait = math.max(0, next_alarm_us - now)
end
return { 'ok', whole(wait), taken, troubled, whole(now) }
