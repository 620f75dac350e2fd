-- KEYS: header, snapshot. ARGV: epoch, held, expires ms, weight.
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
if redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('HSET', KEYS[2], 'held', ARGV[2], 'expires_ms', ARGV[3], 'weight', ARGV[4])
end
return { 'ok', identity() }
