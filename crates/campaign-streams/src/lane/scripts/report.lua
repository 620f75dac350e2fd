-- Appends outcomes that concern no entry in anybody's hands. Returns how many wait for the ledger.
-- KEYS: outcomes. ARGV: trace of all, then two for some: how many, their bodies, a line each.
local told = {}
for i = 2, #ARGV, 2 do
    local count = tonumber(ARGV[i])
    table.insert(told, { count, ARGV[i + 1], ARGV[1] .. string.rep('\n' .. ARGV[1], count - 1) })
end
local _, _, _, waiting = append_outcomes(KEYS[1], told)
return { 'ok', waiting }
