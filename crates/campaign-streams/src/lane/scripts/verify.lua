-- The lane is built on this Redis: from here on messages may be fed and taken.
-- KEYS: header, members, running, optouts. ARGV: epoch, identity, rate, members.
local here = identity()
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if tonumber(epoch or '-1') > tonumber(ARGV[1]) then return { 'superseded', epoch } end
if here ~= ARGV[2] then return { 'unverified', here } end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'identity', here, 'rate', ARGV[3], 'tokens', '1', 'refilled_us',
    whole(now_us()), 'vtime', '0', 'roster', whole(now_us()))
for i = 4, #ARGV do redis.call('HSET', KEYS[2], ARGV[i], here) end
return { 'ok', here }
