-- What Meta says of templates.

ALTER TABLE templates
    -- Meta's id; NULL while the template was never seen there.
    ADD COLUMN meta_id       text,
    -- Why it stands where it stands, in Meta's words.
    ADD COLUMN status_reason text;

-- Who sends a template, when its status changes.
CREATE INDEX campaigns_of_template ON campaigns (template_id)
    WHERE finished_at IS NULL AND status IN ('SCHEDULED', 'SENDING', 'COMPLETED');

-- One row an account: when its templates are read next, who reads them now, and what came of it last.
CREATE TABLE template_syncs (
    account_id  uuid PRIMARY KEY REFERENCES business_accounts (id) ON DELETE CASCADE,
    next_at     timestamptz NOT NULL DEFAULT now(),
    -- Nobody else reads until then.
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    -- Raised whenever somebody asks, so that what is asked meanwhile is not forgotten.
    asked       bigint NOT NULL DEFAULT 0,
    started_at  timestamptz,
    finished_at timestamptz,
    failures    integer NOT NULL DEFAULT 0,
    -- Why the last one failed; NULL if it did not.
    error       text,
    -- What the last one found: counts, and templates that cannot be sent by this engine.
    outcome     jsonb NOT NULL DEFAULT '{}'
);

-- What messages cost. One list for the installation.
CREATE TABLE price_list (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    list       jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- What people allow a campaign to cost, in millionths of the list's currency.
CREATE TABLE campaign_budgets (
    campaign     uuid PRIMARY KEY REFERENCES campaigns (id) ON DELETE CASCADE,
    limit_micros bigint NOT NULL CHECK (limit_micros >= 0)
);

-- What a message is counted with; NULL until it was accepted.
ALTER TABLE messages
    ADD COLUMN cost_category text,
    ADD COLUMN cost_basis    text,
    ADD COLUMN cost_micros   bigint;

-- Their sums, changed in the transaction that changes the rows.
CREATE TABLE campaign_costs (
    campaign uuid NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    category text NOT NULL,
    basis    text NOT NULL,
    messages bigint NOT NULL,
    micros   bigint NOT NULL,
    PRIMARY KEY (campaign, category, basis)
);
