-- Writes outcomes first, then lets the entries go: an entry leaves only when its outcome is in Redis.
-- KEYS: header, outcomes, members, then stream and alarms of each campaign concerned.
-- ARGV: group, parked consumer, instance, identity joined on, order, answers since the last settle and the time they
--       took in all (us), then five for each step:
--       kind, index of the campaign (from 0), entry id, two arguments.
--   accepted <body> <trace>   published by anyone: an accepted message stays accepted
--   settled  <body> <trace>   published by the entry's owner, or if the entry is gone
--   parked   <due ms> <attempts that count>   by the entry's owner only
--   event    <body> <trace>   concerns no entry
--   refund   <tokens> -       gives tokens back
--   slow     <ms> -           nothing is taken from the lane for at least so long
--   too_fast <taken us> -     WhatsApp refused a message, taken then by Redis's clock, because of the rate
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

local bodies, traces = {}, {}
local function publish(body, trace)
    table.insert(bodies, body)
    table.insert(traces, trace)
end

-- The consumer in whose name an entry is; none if it is gone, or its stream is.
local function owner(stream, id)
    local pending = redis.pcall('XPENDING', stream, group, id, id, 1)
    return not pending.err and pending[1] and pending[1][2] or nil
end

-- What is let go of, by stream: together at the end, since each command is also written to the append-only file.
local released = {}
local function release(stream, alarms, id)
    released[stream] = released[stream] or { alarms = alarms, ids = {} }
    table.insert(released[stream].ids, id)
end

local function let_go()
    for stream, of in pairs(released) do
        redis.pcall('XACK', stream, group, unpack(of.ids))
        redis.pcall('XDEL', stream, unpack(of.ids))
        redis.pcall('ZREM', of.alarms, unpack(of.ids))
    end
end

-- `passed`: messages that WhatsApp took in and answered, whatever it said, without finding them too fast.
local unpublished, passed, refused_us = {}, 0, 0
for i = 8, #ARGV, 5 do
    local kind, id, first, second = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    local stream = KEYS[4 + tonumber(ARGV[i + 1]) * 2]
    local alarms = KEYS[5 + tonumber(ARGV[i + 1]) * 2]
    if kind == 'event' then
        publish(first, second)
    elseif kind == 'accepted' then
        publish(first, second)
        release(stream, alarms, id)
        passed = passed + 1
    elseif kind == 'settled' then
        -- Of an entry that is gone with its stream nobody else will say that it may have been sent.
        local by = trusted and owner(stream, id) or nil
        if by == instance or (not by and not repeated) then
            publish(first, second)
        else
            table.insert(unpublished, (i - 8) / 5)
        end
        if by == instance then
            release(stream, alarms, id)
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
end
local ids, oldest, waiting = append_outcomes(outcomes, bodies, traces)
let_go()

if trusted and not repeated and (passed > 0 or refused_us > 0) then
    -- Whatever is wrong with the pace must not keep outcomes back.
    pcall(adapt, header, math.max(0, passed), refused_us, answers, answers_took_us)
end

return { here, trusted and 1 or 0, oldest, ids, unpublished, waiting }
