-- The last time that a person who had opted out allowed messages again: an older opt-out that comes late, or once
-- more, changes nothing then.
CREATE TABLE opt_ins (
    -- Canonical, with +.
    phone text PRIMARY KEY,
    at    timestamptz NOT NULL
);
