-- Adapts the lane's pace to what WhatsApp takes. In front of `settle`.
--
-- Header fields: `pace` (what it was slowed to), `slowed_us` (when), `quick` (decreases in quick succession), `before`
-- (the pace before the first of them), `since` (messages that passed since the last), `regain` (the pace to which it
-- climbs quickly, 0 if none), `passes` (messages of the last second that passed, see below), `answer_us` (smoothed
-- time of an answer), `usual_us` (what is usual), `answered_us` (when that was updated).

local SLOT_US = 100000
local SLOTS = 10
-- Below a limit nothing is refused until the pace has climbed back to it, which takes seconds, and many messages.
-- Refusals that go on after so many decreases, each so few messages after the last, do not depend on the pace.
local QUICK_MESSAGES = 40
local QUICK_MOST = 8
-- Then the lane slows down once in so long only, in which it climbs by as much as a decrease takes.
local PATIENCE_US = 10000000
local PATIENCE_OVER_US = 12000000
-- Each message that passes adds so much to a pace that is being regained: it doubles within a fifth of a second.
local REGAINED_BY_EACH = 4

-- Counts what passed in slots of a tenth of a second: the number of the newest slot, then its count and those before
-- it. Returns the text to keep, and how many there were in the second that ends now; of the oldest slot the part that
-- lies in it.
local function count_passed(kept, now, more)
    local old, newest = {}, nil
    for word in string.gmatch(kept or '', '%d+') do
        if newest then table.insert(old, tonumber(word)) else newest = tonumber(word) end
    end
    local slot = math.floor(now / SLOT_US)
    local shift = math.max(0, slot - (newest or slot))
    local words, lately = { whole(slot) }, 0
    for age = 0, SLOTS do
        local count = (old[age - shift + 1] or 0) + (age == 0 and more or 0)
        local part = age == SLOTS and 1 - (now % SLOT_US) / SLOT_US or 1
        lately = lately + count * part
        table.insert(words, tostring(count))
    end
    return table.concat(words, ' '), lately
end

-- The smoothed time of an answer, and what is usual: it follows a fall at once, and a rise within a minute.
local function smooth(answer_us, usual_us, idle_us, answers, took_us)
    local mean = took_us / answers
    if not answer_us then return mean, mean end
    answer_us = answer_us + (mean - answer_us) * math.min(1, answers / 50)
    return answer_us, usual_us + (answer_us - usual_us) * (answer_us < usual_us and 1 or math.min(1, idle_us / 60000000))
end

-- How many decreases in quick succession this one makes; none if it is not to be made. Those of an outage are not
-- counted.
local function quick_after(quick, since_us, messages, is_outage)
    if quick >= QUICK_MOST and not is_outage then
        if since_us < PATIENCE_US then return nil end
        return since_us < PATIENCE_OVER_US and quick or 0
    end
    if messages >= QUICK_MESSAGES then return 0 end
    return is_outage and math.max(1, quick) or quick + 1
end

-- Where a refusal brings the pace, and for how long nothing is taken. `lately` is what passed within the last second.
local function slow_down(rate, pace, lately, since_us)
    -- A single refusal, of a lane that got through what it handed out, takes 3%. Otherwise what passed is what WhatsApp
    -- takes in a second: the pace goes a little below it, by at most half.
    local alone = lately >= pace * 0.9 and since_us > 1000000
    local taken = alone and pace or math.max(pace / 2, lately * 0.98)
    local slower = math.max(rate / 100, math.min(pace * 0.97, taken))
    -- WhatsApp counts over a second, which is still full of what went at the old pace. A second burst soon after
    -- the first says that it still is; nothing that passed for a second, that nothing is taken at all.
    local pause_us = 1000000 * (1 - slower / pace)
    if since_us < 1000000 then pause_us = math.max(pause_us, 100000) end
    if lately < 1 then pause_us = math.max(pause_us, 500000) end
    return slower, pause_us
end

local function adapt(header, passed, refused_us, answers, answers_took_us)
    local fields = redis.call('HMGET', header, 'rate', 'pace', 'slowed_us', 'passes', 'answer_us', 'usual_us',
        'answered_us', 'not_before_us', 'quick', 'before', 'since', 'regain')
    local now, rate, slowed_us = now_us(), tonumber(fields[1]), tonumber(fields[3] or '0')
    local base, since_us = tonumber(fields[2] or ''), now - slowed_us
    local pace = pace_of(rate, base, slowed_us, now)
    local passes, lately = count_passed(fields[4], now, passed)
    local since, regain = tonumber(fields[11] or '0') + passed, tonumber(fields[12] or '0')
    local changes = {}
    local function change(field, value)
        table.insert(changes, field)
        table.insert(changes, value)
    end
    local function go_on_at(slower)
        change('pace', decimal(slower))
        change('slowed_us', whole(now))
    end
    change('passes', passes)
    local answer_us, usual_us = tonumber(fields[5] or ''), tonumber(fields[6] or '')
    if answers > 0 then
        answer_us, usual_us = smooth(answer_us, usual_us, now - tonumber(fields[7] or '0'), answers, answers_took_us)
        change('answer_us', whole(answer_us))
        change('usual_us', whole(usual_us))
        change('answered_us', whole(now))
    end

    local is_outage = lately < 1
    local counted = tonumber(fields[9] or '0')
    local quick = quick_after(counted, since_us, since, is_outage)
    -- What counts was taken after the lane last slowed down, so is not of the burst that was answered then: all of one
    -- burst are one decrease, whoever reports them.
    if refused_us > slowed_us and quick then
        local before = quick > 0 and tonumber(fields[10] or '') or pace
        local in_vain = quick == QUICK_MOST and counted < QUICK_MOST and lately >= pace / 2
        since = 0
        change('quick', quick)
        change('before', decimal(before))
        -- Neither when nothing passed, nor when as many pass as before, has the search found a limit.
        change('regain', (is_outage or in_vain) and decimal(before) or '0')
        if in_vain then
            go_on_at(pace)
        else
            local slower, pause_us = slow_down(rate, pace, lately, since_us)
            go_on_at(slower)
            change('not_before_us', whole(math.max(tonumber(fields[8] or '0'), now + pause_us)))
        end
    elseif passed > 0 and regain > 0 then
        base = math.min(regain, base + REGAINED_BY_EACH * passed)
        change('pace', decimal(base))
        if base >= regain then change('regain', '0') end
    elseif answers > 0 and answer_us > 2 * usual_us + 250000 and since_us > 1000000 then
        -- Answers take far longer than usual: a tenth slower, once a second, down to a quarter of the rate.
        go_on_at(pace * 0.9 >= rate / 4 and pace * 0.9 or pace)
    end
    change('since', whole(since))
    redis.call('HSET', header, unpack(changes))
end
