-- Appends to the lane's outcomes: up to so many in one entry, a line of JSON each. In front of those that publish.
--
-- The number behind the dash of an entry's id counts the outcomes ever appended, those of the entry included: so the
-- first and the last entry tell how many wait for the ledger.
local OUTCOMES_EACH = 64

-- How many outcomes an entry holds; one without that field holds one.
local function held_by(entry)
    for i = 1, #entry[2], 2 do
        if entry[2][i] == 'count' then return tonumber(entry[2][i + 1]) end
    end
    return 1
end

local function counted_by(id)
    return tonumber(string.match(id, '-(%d+)$'))
end

-- The last id ever written, the id of the first entry there is (or an empty text), and how many outcomes wait.
local function outcomes_span(key)
    if redis.call('EXISTS', key) == 0 then return '0-0', '', 0 end
    local last, first
    local info = redis.call('XINFO', 'STREAM', key)
    for i = 1, #info, 2 do
        if info[i] == 'last-generated-id' then last = info[i + 1] end
        if info[i] == 'first-entry' then first = info[i + 1] end
    end
    if not first then return last, '', 0 end
    return last, first[1], math.max(0, counted_by(last) - counted_by(first[1])) + held_by(first)
end

-- Appends outcomes in order, each of `told` being { how many (up to 64), their bodies, their traces }: a line each, or
-- no traces.
-- Returns the ids of the entries and how many each holds, the id of the first entry there is (or an empty text), and
-- how many outcomes wait.
local function append_outcomes(key, told)
    local last, first, waiting = outcomes_span(key)
    local ms = math.max(tonumber(string.match(last, '^%d+')), math.floor(now_us() / 1000))
    local before, ids, counts = counted_by(last), {}, {}
    local total, held, bodies, traces = before, 0, {}, {}
    local function write()
        local trace = table.concat(traces, '\n')
        if not string.find(trace, '%d') then trace = '' end
        total = total + held
        local id = redis.call('XADD', key, whole(ms) .. '-' .. whole(total), 'body', table.concat(bodies, '\n'),
            'trace', trace, 'count', held)
        table.insert(ids, id)
        table.insert(counts, held)
        if first == '' then first = id end
        held, bodies, traces = 0, {}, {}
    end
    for _, some in ipairs(told) do
        local count, body, trace = some[1], some[2], some[3]
        if held > 0 and held + count > OUTCOMES_EACH then write() end
        held = held + count
        table.insert(bodies, body)
        table.insert(traces, trace == '' and string.rep('\n', count - 1) or trace)
    end
    if held > 0 then write() end
    return ids, counts, first, waiting + total - before
end
