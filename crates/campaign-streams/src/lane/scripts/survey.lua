-- The owner's look at some campaigns. Entries whose taker has been silent too long may have been sent: they
-- become uncertain, once, because look and act are one step. A parked entry without an alarm gets one.
-- Says one record a campaign, in their order; with `most` entries settled it goes no further, and the owner asks
-- again for the rest. A campaign in trouble is reported as such and keeps nothing from the others.
-- KEYS: header, outcomes, then stream, alarms of each campaign.
-- ARGV: epoch, group, parked consumer, idle ms, most, campaigns.
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
local outcomes, group, parked, idle_ms, most = KEYS[2], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local now_ms = whole(now_us() / 1000)
local settled = 0

-- What one taker has held for too long.
local function reclaim(campaign, stream, consumer)
    local idle = redis.call('XPENDING', stream, group, 'IDLE', idle_ms, '-', '+', most, consumer)
    local told = {}
    for _, entry in ipairs(idle) do
        local generation, seq = string.match(entry[1], '^(%d+)-(%d+)$')
        table.insert(told, { 1, string.format(
            '{"type":"message","key":"%s:%s:%s","state":"uncertain","at":%s,"source":"send","attempts":%d,'
            .. '"error":{"code":"lost","text":"the process that took it never reported"}}',
            campaign, generation, seq, now_ms, entry[4]), '' })
    end
    append_outcomes(outcomes, told)
    for _, entry in ipairs(idle) do
        redis.call('XACK', stream, group, entry[1])
        redis.call('XDEL', stream, entry[1])
        settled = settled + 1
    end
    return #idle
end

local function set_missing_alarms(stream, alarms, parked_count)
    local set = redis.call('ZCARD', alarms)
    if parked_count <= set then return end
    for _, entry in ipairs(redis.call('XPENDING', stream, group, '-', '+', most + set, parked)) do
        redis.call('ZADD', alarms, 'NX', now_ms, entry[1])
    end
end

local function oldest_fed_ms(stream)
    local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
    for i = 1, first and #first[2] or 0, 2 do
        if first[2][i] == 'f' then return first[2][i + 1] end
    end
    return ''
end

local function look(campaign, stream, alarms)
    local summary = redis.pcall('XPENDING', stream, group)
    if summary.err then return { 'missing' } end
    local in_flight, parked_count, reclaimed = 0, 0, 0
    for _, consumer in ipairs(summary[4] or {}) do
        if consumer[1] == parked then
            parked_count = tonumber(consumer[2])
        else
            in_flight = in_flight + tonumber(consumer[2])
            reclaimed = reclaimed + reclaim(campaign, stream, consumer[1])
        end
    end
    set_missing_alarms(stream, alarms, parked_count)
    return { 'ok', redis.call('XLEN', stream), in_flight - reclaimed, parked_count, reclaimed, oldest_fed_ms(stream) }
end

local records = {}
for i = 6, #ARGV do
    local at = 3 + (i - 6) * 2
    local fine, record = pcall(look, ARGV[i], KEYS[at], KEYS[at + 1])
    if not fine then
        record = { 'broken', type(record) == 'table' and (record.err or 'unknown') or tostring(record) }
    end
    table.insert(records, record)
    if settled >= most then break end
end
-- Read last, so that it is not before anything that any of the campaigns reported.
local last, _, waiting = outcomes_span(outcomes)
return { 'ok', last, waiting, records }
