-- Who may take, and how many milliseconds ago each last asked (empty: never since it was admitted). On a Redis
-- that the lane was not built on this says nothing, so it is refused there.
-- KEYS: header, members. ARGV: epoch.
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
local now_ms, found = now_us() / 1000, {}
for _, instance in ipairs(redis.call('HKEYS', KEYS[2])) do
    local seen_ms = redis.call('HGET', KEYS[1], 'seen:' .. instance)
    table.insert(found, { instance, seen_ms and whole(math.max(0, now_ms - tonumber(seen_ms))) or '' })
end
return { 'ok', found }
