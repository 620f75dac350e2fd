-- The limit of unique people within 24 hours belongs to a business portfolio: every number and campaign of its
-- accounts shares it.

-- What people decide, and what WhatsApp says of it. Written by scheduler-svc.
CREATE TABLE portfolios (
    -- Meta's id, as in business_accounts.portfolio_id.
    portfolio_id    text PRIMARY KEY,
    -- Unique people within 24 hours; NULL: none is set. The lower of the two holds.
    messaging_limit bigint CHECK (messaging_limit >= 1),
    reported_limit  bigint CHECK (reported_limit >= 1),
    reported_at     timestamptz,
    -- Since when people must be counted: moved on whenever somebody may have been messaged uncounted.
    limited_since   timestamptz,
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- Locked by whoever grants: one at a time for each portfolio. Written by sender-svc, as the next table.
CREATE TABLE portfolio_usage (
    portfolio_id  text PRIMARY KEY,
    -- The portfolios.limited_since from which on portfolio_recipients is complete.
    counted_since timestamptz,
    -- People counted, as of the last grant, and when the next of them leaves the window, if the limit was reached.
    used          bigint NOT NULL DEFAULT 0,
    next_room_at  timestamptz,
    measured_at   timestamptz NOT NULL DEFAULT now()
);

-- The people who count: those whose message was granted, until it is known not to have been accepted or 24 hours have
-- passed since it was. Only of portfolios with a limit, so there are never more rows than that.
CREATE TABLE portfolio_recipients (
    portfolio_id text NOT NULL,
    -- Canonical, with +.
    phone        text NOT NULL,
    -- When a message to them was last let into a lane.
    granted_at   timestamptz NOT NULL,
    -- When one was last recorded as accepted, or as possibly accepted.
    accepted_at  timestamptz,
    PRIMARY KEY (portfolio_id, phone)
);

-- What WhatsApp says that a number may do.
ALTER TABLE phone_numbers
    ADD COLUMN reported_throughput_per_second integer CHECK (reported_throughput_per_second >= 1),
    ADD COLUMN reported_at timestamptz;
