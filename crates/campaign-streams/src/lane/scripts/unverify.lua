-- The lane counts as not built, so that nothing is taken while it is built anew.
-- KEYS: header. ARGV: epoch.
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if tonumber(epoch or '-1') > tonumber(ARGV[1]) then return { 'superseded', epoch } end
redis.call('HDEL', KEYS[1], 'identity')
return { 'ok', identity() }
