-- A new owner: its epoch stands in the header from now on, so that the one before can write no more.
-- KEYS: header. ARGV: epoch.
local fields = redis.call('HMGET', KEYS[1], 'identity', 'epoch')
if tonumber(fields[2] or '-1') > tonumber(ARGV[1]) then return { 'superseded', fields[2] } end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
local here = identity()
if fields[1] ~= here then return { 'unverified', here } end
return { 'ok', here }
