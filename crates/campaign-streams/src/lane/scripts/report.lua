-- Appends outcomes that concern no entry in anybody's hands. Returns how many wait for the ledger.
-- KEYS: outcomes. ARGV: trace, outcomes.
local bodies, traces = {}, {}
for i = 2, #ARGV do
    table.insert(bodies, ARGV[i])
    table.insert(traces, ARGV[1])
end
local _, _, waiting = append_outcomes(KEYS[1], bodies, traces)
return { 'ok', waiting }
