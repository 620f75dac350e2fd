-- The row that a peer keeps for each message. Lighter than the engine's own: one index, not partitioned.
CREATE TABLE peer_messages (
    seq bigint PRIMARY KEY,
    phone text NOT NULL,
    variables jsonb NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    wamid text,
    settled_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
