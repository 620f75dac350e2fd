-- How many messages of the lane were parked when the ledger last knew of every outcome: so many rows beyond the
-- last one with an outcome may have been taken already.
ALTER TABLE lanes ADD COLUMN parked bigint NOT NULL DEFAULT 0;
