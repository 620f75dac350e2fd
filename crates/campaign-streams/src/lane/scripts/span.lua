-- The first outcome there is (empty if there is none). An emptied Redis has none either, so where the lane was
-- not built this is refused.
-- KEYS: header, outcomes. ARGV: epoch.
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
local first = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
return { 'ok', first and first[1] or '' }
