-- What happened. Written by sender-svc alone, always under the lane's epoch.

CREATE TYPE message_state AS ENUM (
    'pending', 'deferred', 'uncertain', 'failed', 'skipped', 'cancelled',
    'accepted', 'sent', 'undelivered', 'delivered', 'read'
);

-- Sender replicas that are alive, so that lanes can be shared out evenly.
CREATE TABLE sender_instances (
    instance uuid PRIMARY KEY,
    seen_at  timestamptz NOT NULL DEFAULT now()
);

-- The owner's transactions lock the row FOR KEY SHARE and compare the epoch; a takeover locks it FOR
-- UPDATE, which it cannot while one is under way and after which none can follow. Renewals and positions change no key column
-- and disturb neither.
CREATE TABLE lanes (
    lane            text PRIMARY KEY REFERENCES phone_numbers (phone_number_id),
    owner           uuid,
    epoch           bigint NOT NULL DEFAULT 0,
    lease_until     timestamptz NOT NULL DEFAULT '-infinity',
    -- The Redis that the lane was last built for, and whether the building was finished there.
    redis_identity  text,
    built           boolean NOT NULL DEFAULT false,
    -- When the ledger last knew of every outcome there was.
    caught_up_at    timestamptz NOT NULL DEFAULT now()
);

-- The message-svc instances that may have messages of the lane in flight.
CREATE TABLE lane_members (
    lane        text NOT NULL REFERENCES lanes (lane) ON DELETE CASCADE,
    instance    uuid NOT NULL,
    identity    text NOT NULL,
    concurrency integer NOT NULL,
    joined_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (lane, instance)
);

CREATE TABLE dispatches (
    campaign          uuid PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
    lane              text NOT NULL REFERENCES phone_numbers (phone_number_id),
    -- Where the next page of the ERP starts; NULL is the first.
    erp_cursor        text,
    audience_complete boolean NOT NULL DEFAULT false,
    next_seq          bigint NOT NULL DEFAULT 1,
    -- The round, and where its rows come from: 'audience' walks messages, 'again' walks again.
    generation        integer NOT NULL DEFAULT 1,
    pass              text NOT NULL DEFAULT 'audience' CHECK (pass IN ('audience', 'again')),
    -- The round's rows lie behind this one.
    round_start_seq   bigint NOT NULL DEFAULT 0,
    -- The last row of the round that was appended to the lane.
    enqueued_seq      bigint NOT NULL DEFAULT 0,
    -- The campaigns.control_version that the lane follows.
    control_applied   bigint NOT NULL DEFAULT 0,
    -- The trace context of the tick that started it; empty when not sampled.
    trace             text NOT NULL DEFAULT '',
    created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dispatches_of_lane ON dispatches (lane);

-- One row per recipient. Campaign ids are UUIDv7, so a range of ids is a range of time and old campaigns
-- leave by dropping a partition. No index contains the state or the wamid: updates stay HOT.
CREATE TABLE messages (
    campaign       uuid NOT NULL,
    seq            bigint NOT NULL,
    accepted_at    timestamptz,
    sent_at        timestamptz,
    delivered_at   timestamptz,
    read_at        timestamptz,
    settled_at     timestamptz,
    state          message_state NOT NULL,
    generation     integer NOT NULL,
    attempts       integer NOT NULL DEFAULT 0,
    -- For a duplicate: the row that has the phone. Its own phone is NULL.
    duplicate_of   bigint,
    customer_id    text NOT NULL,
    phone_as_given text,
    -- Canonical, with +.
    phone          text,
    variables      text[] NOT NULL,
    error_code     text,
    error_text     text,
    wamid          text,
    wa_id          text,
    PRIMARY KEY (campaign, seq),
    UNIQUE (campaign, phone),
    UNIQUE (campaign, customer_id)
) PARTITION BY RANGE (campaign);

CREATE TABLE messages_default PARTITION OF messages DEFAULT
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

-- The lowest UUIDv7 of an instant.
CREATE FUNCTION uuid_v7_floor(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Makes the partitions for the month of `first` and the `months` after it, where they are missing.
CREATE FUNCTION ensure_message_partitions(first timestamptz, months integer) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    month   timestamp;
    name    text;
    created integer := 0;
BEGIN
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

-- The few rows that may go in a later round. `round` is set while they are in one.
CREATE TABLE again (
    campaign uuid NOT NULL,
    seq      bigint NOT NULL,
    -- For why = 'uncertain': the end of the grace.
    due      timestamptz NOT NULL,
    why      text NOT NULL CHECK (why IN ('deferred', 'uncertain', 'asked', 'rebuilt')),
    round    integer,
    PRIMARY KEY (campaign, seq)
);
CREATE INDEX again_due ON again (campaign, due) WHERE round IS NULL;

-- Locked last in every transaction that changes rows.
CREATE TABLE campaign_counters (
    campaign    uuid PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
    -- Rows in each state; their sum is the audience.
    pending     bigint NOT NULL DEFAULT 0,
    deferred    bigint NOT NULL DEFAULT 0,
    uncertain   bigint NOT NULL DEFAULT 0,
    failed      bigint NOT NULL DEFAULT 0,
    skipped     bigint NOT NULL DEFAULT 0,
    cancelled   bigint NOT NULL DEFAULT 0,
    accepted    bigint NOT NULL DEFAULT 0,
    sent        bigint NOT NULL DEFAULT 0,
    undelivered bigint NOT NULL DEFAULT 0,
    delivered   bigint NOT NULL DEFAULT 0,
    read        bigint NOT NULL DEFAULT 0,
    total       bigint NOT NULL DEFAULT 0,
    -- Skipped, by reason.
    skipped_by  jsonb NOT NULL DEFAULT '{}',
    -- Accepted in each of the last seconds: [[second since 1970, messages], ...].
    recent      jsonb NOT NULL DEFAULT '[]',
    first_accepted_at timestamptz,
    last_accepted_at  timestamptz,
    CHECK (total = pending + deferred + uncertain + failed + skipped + cancelled
                 + accepted + sent + undelivered + delivered + read)
);

CREATE TABLE suppressions (
    -- Canonical, with +.
    phone       text PRIMARY KEY,
    reason      text NOT NULL,
    source      text NOT NULL,
    customer_id text,
    created_at  timestamptz NOT NULL DEFAULT now()
);
