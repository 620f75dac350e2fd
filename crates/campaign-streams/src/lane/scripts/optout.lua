-- KEYS: optouts. ARGV: time in ms, then two for each person: 1 to stop or 0 to allow again, and the phone.
for i = 2, #ARGV, 2 do
    if ARGV[i] == '1' then
        redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i + 1])
    else
        redis.call('ZREM', KEYS[1], ARGV[i + 1])
    end
end
return { 'ok', '' }
