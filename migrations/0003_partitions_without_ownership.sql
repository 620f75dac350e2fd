-- The scheduler makes the coming months' partitions and does not own the table: the function acts as its owner.
-- It is bounded, and finds its tables in one schema whatever the caller's search path says.
CREATE OR REPLACE FUNCTION ensure_message_partitions(first timestamptz, months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    month   timestamp;
    name    text;
    created integer := 0;
BEGIN
    IF months NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'months is %; expected 0 to 24', months;
    END IF;
    FOR step IN 0..months LOOP
        month := date_trunc('month', first AT TIME ZONE 'UTC') + make_interval(months => step);
        name := 'messages_' || to_char(month, 'YYYY_MM');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF messages FOR VALUES FROM (%L) TO (%L)
                     WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05)',
                name,
                uuid_v7_floor(month AT TIME ZONE 'UTC'),
                uuid_v7_floor((month + interval '1 month') AT TIME ZONE 'UTC'));
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END
$$;

-- Granted to the scheduler's role by `migrate`, with its other rights.
REVOKE EXECUTE ON FUNCTION ensure_message_partitions(timestamptz, integer) FROM PUBLIC;
