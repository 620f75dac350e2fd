-- Takes campaigns out of the lane and drops their keys.
-- KEYS: header, running, then stream, alarms, snapshot of each. ARGV: epoch, campaigns.
-- Works on an unverified lane too: that is how a lane is cleared before it is built anew.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if tonumber(epoch or '-1') > tonumber(ARGV[1]) then return { 'superseded', epoch } end
for i = 3, #KEYS do redis.call('DEL', KEYS[i]) end
for i = 2, #ARGV do redis.call('ZREM', KEYS[2], ARGV[i]) end
redis.call('HSET', KEYS[1], 'roster', whole(now_us()))
return { 'ok', identity() }
