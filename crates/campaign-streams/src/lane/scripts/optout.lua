-- KEYS: optouts. ARGV: 1 to stop or 0 to allow again, time in ms, phone.
if ARGV[1] == '1' then
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[3])
else
    redis.call('ZREM', KEYS[1], ARGV[3])
end
return { 'ok', '' }
