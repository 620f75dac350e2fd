-- Compare and append: the entries are written only if the stream ends exactly where the feeder believes,
-- and while every opt-out since the rows were read is still known to the lane.
-- KEYS: header, stream.
-- ARGV: epoch, last id believed, rows read at ms, opt-outs kept for ms, wake channel, lane,
--       then five for each entry: id and its four values.
local refusal = guard(KEYS[1], ARGV[1])
if refusal then return refusal end
local last = stream_info(KEYS[2], 'last-generated-id')
if last ~= ARGV[2] then return { 'elsewhere', last or 'missing' } end
if now_us() / 1000 - tonumber(ARGV[3]) > tonumber(ARGV[4]) then return { 'late', last } end
for i = 7, #ARGV, 5 do
    last = redis.call('XADD', KEYS[2], ARGV[i], 'p', ARGV[i + 1], 'v', ARGV[i + 2], 'f', ARGV[i + 3], 't', ARGV[i + 4])
end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return { 'ok', last }
