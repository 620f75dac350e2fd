-- Batches of neighbouring rows are updated at once. With a third of a page filled at first, all of them find room on
-- their own page, no index changes (HOT), and half as much log is written.
--
-- The planner knows campaigns by what it saw at the last ANALYZE. One that began since then it takes for a row or
-- two, and then looks through all of it for each message. Without statistics of the column it reckons with a
-- two-hundredth of the table, so that the key is what it uses.

ALTER TABLE messages ALTER COLUMN campaign SET STATISTICS 0;

CREATE FUNCTION settle_message_partition(partition regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s SET (fillfactor = 35)', partition);
    EXECUTE format('ALTER TABLE %s ALTER COLUMN campaign SET STATISTICS 0', partition);
END
$$;

SELECT settle_message_partition(inhrelid::regclass) FROM pg_inherits WHERE inhparent = 'messages'::regclass;

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
                     WITH (autovacuum_vacuum_scale_factor = 0.05)',
                name,
                uuid_v7_floor(month AT TIME ZONE 'UTC'),
                uuid_v7_floor((month + interval '1 month') AT TIME ZONE 'UTC'));
            PERFORM settle_message_partition(name::regclass);
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END
$$;

REVOKE EXECUTE ON FUNCTION settle_message_partition(regclass) FROM PUBLIC;
