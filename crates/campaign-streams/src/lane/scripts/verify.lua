-- The lane is built on this Redis: from here on messages may be fed and taken.
-- KEYS: header, members. ARGV: epoch, identity, rate, members.
local here = identity()
local fields = redis.call('HMGET', KEYS[1], 'epoch', 'vtime', 'pace', 'slowed_us', 'not_before_us')
if tonumber(fields[1] or '-1') > tonumber(ARGV[1]) then return { 'superseded', fields[1] } end
if here ~= ARGV[2] then return { 'unverified', here } end
-- Virtual time goes on, so that campaigns still in the lane are not behind those that come; and so does the pace.
local now = now_us()
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'identity', here, 'rate', ARGV[3], 'tokens', '1', 'refilled_us',
    whole(now), 'vtime', fields[2] or '0', 'roster', whole(now))
if fields[3] then
    redis.call('HSET', KEYS[1], 'pace', fields[3], 'slowed_us', fields[4] or '0', 'not_before_us', fields[5] or '0')
end
for i = 4, #ARGV do
    redis.call('HSET', KEYS[2], ARGV[i], here)
    redis.call('HSET', KEYS[1], 'seen:' .. ARGV[i], whole(now / 1000))
end
return { 'ok', here }
