-- Brings a campaign into the lane, or its round up to date. Says where its stream ends.
-- KEYS: header, running, snapshot, stream.
-- ARGV: epoch, group, campaign, template, generation, weight, held, expires ms, seq behind which the round begins.
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
local stream, generation = KEYS[4], tonumber(ARGV[5])
-- A campaign of the lane whose stream is gone: it must not look like one that was never fed, because the owner may
-- have died before it recorded what it appended. An end before every round says that the stream was lost.
if redis.call('ZSCORE', KEYS[2], ARGV[3]) and redis.call('EXISTS', stream) == 0 then return { 'ok', '0-0' } end
redis.call('HSET', KEYS[3], 'template', ARGV[4], 'generation', ARGV[5], 'weight', ARGV[6], 'held', ARGV[7],
    'expires_ms', ARGV[8])
redis.pcall('XGROUP', 'CREATE', stream, ARGV[2], '0', 'MKSTREAM')
-- A stream that is empty and ends in an earlier round begins this one. One that is not empty would be a
-- contradiction, which the owner sees by the id returned.
local last = stream_info(stream, 'last-generated-id')
local round = tonumber(string.match(last, '^(%d+)-'))
if round < generation and redis.call('XLEN', stream) == 0 then
    last = ARGV[5] .. '-' .. ARGV[9]
    redis.call('XSETID', stream, last)
end
if not redis.call('ZSCORE', KEYS[2], ARGV[3]) then
    redis.call('ZADD', KEYS[2], redis.call('HGET', KEYS[1], 'vtime') or '0', ARGV[3])
    redis.call('HSET', KEYS[1], 'roster', whole(now_us()))
end
return { 'ok', last }
