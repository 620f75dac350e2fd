-- Failed and undelivered recipients by error code, beside the counters that they are part of. What was counted before
-- is counted here once; a sender of the version before, which runs on during an upgrade, does not add to it.
ALTER TABLE campaign_counters ADD COLUMN failed_by jsonb NOT NULL DEFAULT '{}';

UPDATE campaign_counters SET failed_by = coalesce((
    SELECT jsonb_object_agg(code, messages) FROM (
        SELECT coalesce(error_code, 'unknown') AS code, count(*) AS messages
        FROM messages
        WHERE messages.campaign = campaign_counters.campaign AND state IN ('failed', 'undelivered')
        GROUP BY 1) AS by_code), '{}')
WHERE failed + undelivered > 0;

-- Messages that a resend left out, since WhatsApp takes nothing like them for the person until then.
ALTER TABLE requests ADD COLUMN left_out bigint;
ALTER TABLE requests ADD COLUMN left_out_until timestamptz;
