-- Writes outcomes first, then lets the entries go: an entry leaves only when its outcome is in Redis.
-- KEYS: header, outcomes, members, then stream and alarms of each campaign concerned.
-- ARGV: group, parked consumer, instance, identity joined on, order, answers since the last settle and the time they
--       took in all (us), then five for each step: kind, index of the campaign (from 0), and
--   accepted <n> <bodies> <traces>   and n ids behind it. Published by anyone: an accepted message stays accepted
--   settled  <id> <body> <trace>     published by the entry's owner, or if the entry is gone
--   parked   <id> <due ms> <attempts that count>   by the entry's owner only
--   event    - <body> <trace>        concerns no entry
--   refund   - <tokens> -            gives tokens back
--   slow     - <ms> -                nothing is taken from the lane for at least so long
--   too_fast - <taken us> -          WhatsApp refused a message, taken then by Redis's clock, because of the rate
-- Accepted messages are by far the most: up to 64 of a campaign, as an entry of outcomes holds, make one step, with a
-- line of bodies for each, and of traces where there are any.
-- A campaign whose keys are broken must not keep the outcomes of the others back, hence pcall on them.
local header, outcomes, members = KEYS[1], KEYS[2], KEYS[3]
local group, parked, instance, joined, order = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local answers, answers_took_us = tonumber(ARGV[6]), tonumber(ARGV[7])

-- On another Redis than the one the entry was taken from, or to one who is no longer a member, the stream
-- says nothing of who owns an entry. There every outcome is published; the ledger knows its round.
local here = identity()
local trusted = here == joined and redis.call('HGET', header, 'identity') == here
    and redis.call('HGET', members, instance) == here

-- The same order again, because its answer was lost. What it parked may have been taken again meanwhile, and be
-- on its way to the wire; what it refunded was refunded.
local repeated = false
if trusted then
    repeated = tonumber(redis.call('HGET', header, 'settled:' .. instance) or '0') >= order
    if not repeated then redis.call('HSET', header, 'settled:' .. instance, whole(order)) end
end

local told = {}
local function publish(count, body, trace)
    table.insert(told, { count, body, trace })
end

-- The consumer in whose name an entry is; none if it is gone, or its stream is.
local function owner(stream, id)
    local pending = redis.pcall('XPENDING', stream, group, id, id, 1)
    return not pending.err and pending[1] and pending[1][2] or nil
end

-- What is let go of at the end, by where the ids stand among the arguments. Hardly any has an alarm.
local released = {}
local function release(stream, alarms, from, to)
    table.insert(released, { stream, alarms, from, to })
end

local function let_go()
    for _, some in ipairs(released) do
        local stream, alarms, from, to = unpack(some)
        redis.pcall('XACK', stream, group, unpack(ARGV, from, to))
        redis.pcall('XDEL', stream, unpack(ARGV, from, to))
        if redis.call('EXISTS', alarms) == 1 then redis.pcall('ZREM', alarms, unpack(ARGV, from, to)) end
    end
end

-- `passed`: messages that WhatsApp took in and answered, whatever it said, without finding them too fast.
local unpublished, passed, refused_us = {}, 0, 0
local i, step = 8, 0
while i <= #ARGV do
    local kind, id, first, second = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    local stream = KEYS[4 + tonumber(ARGV[i + 1]) * 2]
    local alarms = KEYS[5 + tonumber(ARGV[i + 1]) * 2]
    local next_step = i + 5
    if kind == 'event' then
        publish(1, first, second)
    elseif kind == 'accepted' then
        local count = tonumber(id)
        publish(count, first, second)
        next_step = i + 5 + count
        release(stream, alarms, i + 5, next_step - 1)
        passed = passed + count
    elseif kind == 'settled' then
        -- Of an entry that is gone with its stream nobody else will say that it may have been sent.
        local by = trusted and owner(stream, id) or nil
        if by == instance or (not by and not repeated) then
            publish(1, first, second)
        else
            table.insert(unpublished, step)
        end
        if by == instance then
            release(stream, alarms, i + 2, i + 2)
            passed = passed + 1
        end
    elseif kind == 'parked' then
        if trusted and not repeated and owner(stream, id) == instance then
            redis.pcall('XCLAIM', stream, group, parked, 0, id, 'RETRYCOUNT', second, 'JUSTID')
            redis.pcall('ZADD', alarms, first, id)
            passed = passed + 1
        end
    elseif kind == 'refund' then
        if trusted and not repeated then
            redis.call('HINCRBYFLOAT', header, 'tokens', first)
            passed = passed - tonumber(first)
        end
    elseif kind == 'slow' then
        if trusted then
            local earlier = tonumber(redis.call('HGET', header, 'not_before_us') or '0')
            redis.call('HSET', header, 'not_before_us', whole(math.max(earlier, now_us() + tonumber(first) * 1000)))
        end
    elseif kind == 'too_fast' then
        refused_us = math.max(refused_us, tonumber(first))
        passed = passed - 1
    end
    i, step = next_step, step + 1
end
local ids, counts, oldest, waiting = append_outcomes(outcomes, told)
let_go()

if trusted and not repeated and (passed > 0 or refused_us > 0) then
    -- Whatever is wrong with the pace must not keep outcomes back.
    pcall(adapt, header, math.max(0, passed), refused_us, answers, answers_took_us)
end

return { here, trusted and 1 or 0, oldest, ids, counts, unpublished, waiting }
