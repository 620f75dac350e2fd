-- After a broken reply: the caller's own pending entries, so that it can find those it never heard of.
-- KEYS: header, members, optouts, then stream of each campaign of the roster.
-- ARGV: group, instance, longest idle time in ms, most entries of each campaign.
local here = identity()
if redis.call('HGET', KEYS[1], 'identity') ~= here then return { 'unverified', here } end
if redis.call('HGET', KEYS[2], ARGV[2]) ~= here then return { 'stranger', here } end
local found = {}
for i = 4, #KEYS do
    local pending = redis.pcall('XPENDING', KEYS[i], ARGV[1], '-', '+', ARGV[4], ARGV[2])
    if not pending.err then
        for _, entry in ipairs(pending) do
            if entry[3] <= tonumber(ARGV[3]) then
                local content = redis.call('XRANGE', KEYS[i], entry[1], entry[1])
                if content[1] then table.insert(found, { i - 4, entry[4], content, opted_out(KEYS[3], content) }) end
            end
        end
    end
end
return { 'ok', '0', found, {}, '0' }
