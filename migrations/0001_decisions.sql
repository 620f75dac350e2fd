-- What people decide. Written by scheduler-svc (and, where said, by the sender that meets a trouble).

CREATE TYPE campaign_status AS ENUM ('DRAFT', 'SCHEDULED', 'SENDING', 'COMPLETED', 'CANCELLED', 'FAILED');
CREATE TYPE campaign_priority AS ENUM ('low', 'normal', 'high');
CREATE TYPE misfire_policy AS ENUM ('start', 'skip', 'wait');
CREATE TYPE on_uncertain AS ENUM ('hold', 'resend');
CREATE TYPE api_role AS ENUM ('viewer', 'supervisor', 'admin');

CREATE TABLE business_accounts (
    id                  uuid PRIMARY KEY,
    -- Meta's WhatsApp Business Account id.
    waba_id             text NOT NULL UNIQUE,
    -- The portfolio whose limit of recipients within 24 hours the account shares.
    portfolio_id        text,
    name                text NOT NULL,
    -- Names of secrets, never the secrets themselves.
    access_token_secret text,
    app_secret_secret   text,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now()
);

-- A row is one version of a template; campaigns keep the version they were created with.
CREATE TABLE templates (
    id               uuid PRIMARY KEY,
    account_id       uuid NOT NULL REFERENCES business_accounts (id),
    name             text NOT NULL,
    language         text NOT NULL,
    version          integer NOT NULL CHECK (version >= 1),
    category         text NOT NULL,
    parameter_format text NOT NULL,
    components       jsonb NOT NULL,
    status           text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, name, language, version)
);

CREATE TABLE phone_numbers (
    -- Meta's phone_number_id: the lane.
    phone_number_id       text PRIMARY KEY,
    account_id            uuid NOT NULL REFERENCES business_accounts (id),
    display_number        text NOT NULL,
    -- Messages a second, over all replicas.
    throughput_per_second integer NOT NULL CHECK (throughput_per_second BETWEEN 1 AND 1000000),
    active                boolean NOT NULL DEFAULT true,
    created_at            timestamptz NOT NULL DEFAULT now(),
    updated_at            timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE campaigns (
    id              uuid PRIMARY KEY,
    name            text NOT NULL,
    template_id     uuid NOT NULL REFERENCES templates (id),
    account_id      uuid NOT NULL REFERENCES business_accounts (id),
    phone_number_id text NOT NULL REFERENCES phone_numbers (phone_number_id),
    audience        jsonb NOT NULL,
    mapping         jsonb NOT NULL,
    priority        campaign_priority NOT NULL,
    scheduled_at    timestamptz,
    time_zone       text NOT NULL,
    expires_at      timestamptz,
    misfire_policy  misfire_policy NOT NULL,
    on_uncertain    on_uncertain NOT NULL,
    status          campaign_status NOT NULL,
    status_reason   text,
    -- Raised with every hold, lift and cancel; the lane's owner answers in dispatches.control_applied.
    control_version bigint NOT NULL DEFAULT 0,
    started_at      timestamptz,
    -- Set when nothing is left to do; cleared by a resend.
    finished_at     timestamptz,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

-- The tick asks for what is due; owners ask for what runs.
CREATE INDEX campaigns_due ON campaigns (scheduled_at) WHERE status = 'SCHEDULED';
CREATE INDEX campaigns_running ON campaigns (phone_number_id)
    WHERE finished_at IS NULL AND status IN ('SENDING', 'COMPLETED', 'CANCELLED', 'FAILED');

-- Every change of status, written with it.
CREATE TABLE campaign_changes (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign      uuid NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    at            timestamptz NOT NULL DEFAULT now(),
    status_before campaign_status NOT NULL,
    status_after  campaign_status NOT NULL,
    reason        text
);
CREATE INDEX campaign_changes_of ON campaign_changes (campaign, id);

CREATE TABLE campaign_holds (
    campaign  uuid NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    kind      text NOT NULL,
    reason    text NOT NULL,
    raised_by text NOT NULL,
    since     timestamptz NOT NULL DEFAULT now(),
    until     timestamptz,
    PRIMARY KEY (campaign, kind)
);

-- A hold on everything that is sent from one number.
CREATE TABLE lane_holds (
    lane      text NOT NULL REFERENCES phone_numbers (phone_number_id) ON DELETE CASCADE,
    kind      text NOT NULL,
    reason    text NOT NULL,
    raised_by text NOT NULL,
    since     timestamptz NOT NULL DEFAULT now(),
    until     timestamptz,
    PRIMARY KEY (lane, kind)
);

-- What people ask of the ledger; applied by the lane's owner.
CREATE TABLE requests (
    id           uuid PRIMARY KEY,
    campaign     uuid NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    kind         text NOT NULL CHECK (kind IN ('resend_uncertain', 'write_off_uncertain', 'resend_failed')),
    -- Positions it is limited to, and error codes it is limited to; NULL means all.
    seqs         bigint[],
    error_codes  text[],
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    applied_at   timestamptz,
    affected     bigint
);
CREATE INDEX requests_waiting ON requests (campaign) WHERE applied_at IS NULL;

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    name         text NOT NULL,
    role         api_role NOT NULL,
    -- SHA-256 of the key. The key itself is 256 random bits, so a slow hash would add nothing.
    key_hash     bytea NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    revoked_at   timestamptz
);

CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,
    action  text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL
);
CREATE INDEX audit_log_subject ON audit_log (subject, id);

-- Answers to POSTs that carried an Idempotency-Key, kept for a day.
CREATE TABLE idempotency_keys (
    api_key      uuid NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    key          text NOT NULL,
    fingerprint  bytea NOT NULL,
    status       smallint NOT NULL,
    body         jsonb NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (api_key, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
