-- Admits an instance whose join the ledger has recorded, or removes one that left.
-- KEYS: header, members. ARGV: epoch, instance, identity it joined on (empty to remove).
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
if ARGV[3] == '' then
    redis.call('HDEL', KEYS[2], ARGV[2])
    redis.call('HDEL', KEYS[1], 'seen:' .. ARGV[2], 'settled:' .. ARGV[2])
else
    redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
    redis.call('HSET', KEYS[1], 'seen:' .. ARGV[2], whole(now_us() / 1000))
end
return { 'ok', identity() }
