-- KEYS: header. ARGV: epoch, messages a second.
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
redis.call('HSET', KEYS[1], 'rate', ARGV[2])
return { 'ok', identity() }
