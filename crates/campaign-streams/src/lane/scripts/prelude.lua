-- Which Redis this is: a restart changes run_id, a failover or a rollback to a copy changes either.
local function identity()
    local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
    return string.match(info, 'run_id:(%w+)') .. ':' .. string.match(info, 'master_replid:(%w+)')
end

local function now_us()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Lua writes large numbers as 1.7e+15, which Redis would not read back.
local function whole(number)
    return string.format('%.0f', number)
end

local function decimal(number)
    return string.format('%.6f', number)
end

-- The owner's scripts: refuse a past epoch, and a Redis that the lane was not built on.
local function guard(header, epoch)
    local fields = redis.call('HMGET', header, 'identity', 'epoch')
    local here = identity()
    if tonumber(fields[2] or '-1') > tonumber(epoch) then return { 'superseded', fields[2] } end
    if fields[1] ~= here then return { 'unverified', here } end
    return nil
end

-- Those of some entries, by their places (from 1), whose recipient opted out after they were fed.
local function opted_out(optouts, entries)
    local places = {}
    for place, entry in ipairs(entries) do
        local values = entry[2]
        for i = 1, #values, 2 do
            if values[i] == 'p' then
                if redis.call('ZSCORE', optouts, values[i + 1]) then table.insert(places, place) end
                break
            end
        end
    end
    return places
end

local function stream_info(key, wanted)
    local info = redis.pcall('XINFO', 'STREAM', key)
    if info.err then return nil end
    for i = 1, #info, 2 do
        if info[i] == wanted then return info[i + 1] end
    end
end

-- How many messages a second the lane hands out now: never more than `rate`. After WhatsApp found it too fast it goes
-- on at `base` and grows with the third power of the time since: hardly at first, while the limit is near, and all the
-- faster the longer nothing is refused. A function of the clock, so that nobody has to write it down as it grows.
-- `campaign-streams/src/lane/pace.rs` computes the same, for people.
local function pace_of(rate, base, slowed_us, now)
    if not base then return rate end
    local seconds = math.max(0, now - slowed_us) / 1000000
    return math.min(rate, base + math.max(base, rate / 10) * seconds ^ 3 / 5000)
end
