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
