-- Appends to the lane's outcomes: up to so many in one entry, a line of JSON each. In front of those that publish.
--
-- The number behind the dash of an entry's id counts the outcomes ever appended, those of the entry included: so the
-- first and the last entry tell how many wait for the ledger.
local OUTCOMES_EACH = 64

-- Milliseconds and count of the last id ever written, and the first entry there is.
local function outcomes_span(key)
    local last, first = '0-0', nil
    local info = redis.pcall('XINFO', 'STREAM', key)
    for i = 1, info.err and 0 or #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
        if info[i] == 'first-entry' then first = info[i + 1] end
    end
    local ms, count = string.match(last, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(count), first or nil
end

-- How many outcomes an entry holds; one without that field holds one.
local function held_by(entry)
    for i = 1, #entry[2], 2 do
        if entry[2][i] == 'count' then return tonumber(entry[2][i + 1]) end
    end
    return 1
end

-- Appends outcomes in order. Returns the ids of the entries, the id of the first entry there is (or an empty text),
-- and how many outcomes wait.
local function append_outcomes(key, bodies, traces)
    local ms, count, first = outcomes_span(key)
    local first_id, first_held = first and first[1], first and held_by(first)
    ms = math.max(ms, math.floor(now_us() / 1000))
    local ids = {}
    for from = 1, #bodies, OUTCOMES_EACH do
        local to = math.min(from + OUTCOMES_EACH - 1, #bodies)
        local trace = table.concat(traces, '\n', from, to)
        if not string.find(trace, '%d') then trace = '' end
        count = count + to - from + 1
        local id = redis.call('XADD', key, whole(ms) .. '-' .. whole(count), 'body',
            table.concat(bodies, '\n', from, to), 'trace', trace, 'count', to - from + 1)
        table.insert(ids, id)
        if not first_id then first_id, first_held = id, to - from + 1 end
    end
    if not first_id then return ids, '', 0 end
    return ids, first_id, count - tonumber(string.match(first_id, '-(%d+)$')) + first_held
end
