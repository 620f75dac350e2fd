-- The owner's look at one campaign. Entries whose taker has been silent too long may have been sent: they
-- become uncertain, once, because look and act are one step. A parked entry without an alarm gets one.
-- KEYS: header, outcomes, stream, alarms. ARGV: epoch, group, parked consumer, idle ms, campaign, most.
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
local outcomes, stream, alarms = KEYS[2], KEYS[3], KEYS[4]
local group, parked, most = ARGV[2], ARGV[3], tonumber(ARGV[6])
local now_ms = whole(now_us() / 1000)

local in_flight, parked_count = 0, 0
local summary = redis.pcall('XPENDING', stream, group)
if summary.err then return { 'elsewhere', 'missing' } end
for _, consumer in ipairs(summary[4] or {}) do
    if consumer[1] == parked then
        parked_count = tonumber(consumer[2])
    else
        in_flight = in_flight + tonumber(consumer[2])
    end
end

local bodies, traces = {}, {}
if in_flight > 0 then
    for _, consumer in ipairs(summary[4]) do
        if consumer[1] ~= parked then
            local idle = redis.call('XPENDING', stream, group, 'IDLE', ARGV[4], '-', '+', most, consumer[1])
            for _, entry in ipairs(idle) do
                local generation, seq = string.match(entry[1], '^(%d+)-(%d+)$')
                table.insert(traces, '')
                table.insert(bodies, string.format(
                    '{"type":"message","key":"%s:%s:%s","state":"uncertain","at":%s,"source":"send","attempts":%d,'
                    .. '"error":{"code":"lost","text":"the process that took it never reported"}}',
                    ARGV[5], generation, seq, now_ms, entry[4]))
                redis.call('XACK', stream, group, entry[1])
                redis.call('XDEL', stream, entry[1])
            end
        end
    end
end

if parked_count > redis.call('ZCARD', alarms) then
    for _, entry in ipairs(redis.call('XPENDING', stream, group, '-', '+', most + redis.call('ZCARD', alarms), parked)) do
        redis.call('ZADD', alarms, 'NX', now_ms, entry[1])
    end
end

local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
local oldest_fed_ms = ''
if first then
    for i = 1, #first[2], 2 do
        if first[2][i] == 'f' then oldest_fed_ms = first[2][i + 1] end
    end
end
local _, _, waiting = append_outcomes(outcomes, bodies, traces)
return { 'ok', redis.call('XLEN', stream), in_flight - #bodies, parked_count, #bodies, oldest_fed_ms,
    stream_info(outcomes, 'last-generated-id') or '0-0', waiting }
