//! Who counts towards a portfolio's limit of unique people within 24 hours.
//!
//! A person counts from the moment a message to them is let into a lane, and until the window has passed since it
//! was accepted, or it is known that it was not. Whoever counts already costs nothing. So there are never more
//! people messaged within a window than the limit, whatever crashes or is lost in between: at worst some count who
//! were not messaged.
//!
//! Grants lock the portfolio's row first and people in the order of their phones; the ledger locks people only, in the
//! same order. What is removed skips what another holds.

use crate::messages::{Position, columns};
use crate::{Connection, Result};
use campaign_core::phone::CanonicalPhone;
use chrono::{DateTime, Utc};
use sqlx::Row;
use std::collections::HashSet;
use std::time::Duration;

/// Most people that one grant lets out of the window.
const FORGET_MAX: i64 = 10_000;

/// The answer to a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// So many messages, from the first, may be sent.
    pub granted: usize,
    /// The limit; none: there is none any more.
    pub limit: Option<i64>,
    /// People who count now.
    pub used: i64,
    /// When there will be room, as far as known, if not everything was granted.
    pub next_room_at: Option<DateTime<Utc>>,
}

struct Locked {
    limit: Option<i64>,
    /// Whoever was messaged within the window counts.
    complete: bool,
}

/// Counts the recipients of as many messages, from the first, as the portfolio has room for. To be committed before
/// any of them is fed.
pub async fn grant(
    connection: &mut Connection,
    portfolio_id: &str,
    phones: &[CanonicalPhone],
    window: Duration,
) -> Result<Grant> {
    let locked = lock(&mut *connection, portfolio_id).await?;
    let Some(limit) = locked.limit else {
        return Ok(Grant {
            granted: phones.len(),
            limit: None,
            used: 0,
            next_room_at: None,
        });
    };
    if !locked.complete {
        count_the_past(&mut *connection, portfolio_id, window).await?;
    }
    let counted = counted_of(&mut *connection, portfolio_id, phones).await?;
    let mut used = count(&mut *connection, portfolio_id).await?;
    if prefix(phones, &counted, limit - used) < phones.len() {
        // Whoever is let out now may be among those that were found to count.
        forget(&mut *connection, portfolio_id, window).await?;
        used = count(&mut *connection, portfolio_id).await?;
    }
    let counted = counted_of(&mut *connection, portfolio_id, phones).await?;
    let granted = prefix(phones, &counted, limit - used);
    let newly = phones[..granted]
        .iter()
        .filter(|phone| !counted.contains(phone.as_str()));
    used += newly.count() as i64;
    count_in(&mut *connection, portfolio_id, &phones[..granted]).await?;
    let next_room_at = if granted < phones.len() {
        next_room_at(&mut *connection, portfolio_id, window).await?
    } else {
        None
    };
    save_usage(connection, portfolio_id, used, next_room_at).await?;
    Ok(Grant {
        granted,
        limit: Some(limit),
        used,
        next_room_at,
    })
}

/// How many from the first fit into the room: whoever counts already takes none.
fn prefix(phones: &[CanonicalPhone], counted: &HashSet<String>, room: i64) -> usize {
    let mut left = room.max(0);
    let fits = |phone: &&CanonicalPhone| {
        if counted.contains(phone.as_str()) {
            return true;
        }
        left -= 1;
        left >= 0
    };
    phones.iter().take_while(fits).count()
}

async fn lock(connection: &mut Connection, portfolio_id: &str) -> Result<Locked> {
    sqlx::query(
        "-- messaging_limits.begin
         INSERT INTO portfolio_usage (portfolio_id) VALUES ($1) ON CONFLICT DO NOTHING",
    )
    .bind(portfolio_id)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "-- messaging_limits.lock
         SELECT FROM portfolio_usage WHERE portfolio_id = $1 FOR UPDATE",
    )
    .bind(portfolio_id)
    .execute(&mut *connection)
    .await?;
    // After the lock: the limit that holds now.
    let row = sqlx::query(
        "-- messaging_limits.limit
         SELECT LEAST(messaging_limit, reported_limit) AS most,
             counted_since IS NOT DISTINCT FROM limited_since AS complete
         FROM portfolios JOIN portfolio_usage USING (portfolio_id) WHERE portfolio_id = $1",
    )
    .bind(portfolio_id)
    .fetch_optional(connection)
    .await?;
    Ok(match row {
        Some(row) => Locked {
            limit: row.try_get("most")?,
            complete: row.try_get("complete")?,
        },
        None => Locked {
            limit: None,
            complete: true,
        },
    })
}

/// The limit is new: whoever was messaged within the window, or is in a lane now, counts first. Reads the messages of
/// every campaign of the last time, once.
async fn count_the_past(connection: &mut Connection, portfolio_id: &str, window: Duration) -> Result<()> {
    crate::lanes::allow_long_statements(&mut *connection).await?;
    sqlx::query(
        "-- messaging_limits.count_the_past
         INSERT INTO portfolio_recipients AS r (portfolio_id, phone, granted_at, accepted_at)
         SELECT $1, m.phone, max(COALESCE(m.settled_at, m.accepted_at, clock_timestamp())),
             max(COALESCE(m.accepted_at, m.sent_at, m.delivered_at, m.read_at, m.settled_at))
         FROM business_accounts AS a
         JOIN campaigns AS c ON c.account_id = a.id
         JOIN dispatches AS d ON d.campaign = c.id
         JOIN messages AS m ON m.campaign = c.id
         WHERE a.portfolio_id = $1 AND m.phone IS NOT NULL
             AND (c.finished_at IS NULL OR c.finished_at > clock_timestamp() - make_interval(secs => $2))
             AND (m.state = 'pending' AND m.seq <= d.enqueued_seq
                  OR m.state IN ('uncertain', 'accepted', 'sent', 'undelivered', 'delivered', 'read')
                     AND GREATEST(m.accepted_at, m.settled_at, m.sent_at, m.delivered_at, m.read_at)
                         > clock_timestamp() - make_interval(secs => $2))
         GROUP BY m.phone ORDER BY m.phone
         ON CONFLICT (portfolio_id, phone) DO UPDATE
             SET granted_at = GREATEST(r.granted_at, EXCLUDED.granted_at),
                 accepted_at = GREATEST(r.accepted_at, EXCLUDED.accepted_at)",
    )
    .persistent(false)
    .bind(portfolio_id)
    .bind(window.as_secs_f64())
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "-- messaging_limits.complete
         UPDATE portfolio_usage AS u SET counted_since = p.limited_since
         FROM portfolios AS p WHERE p.portfolio_id = $1 AND u.portfolio_id = $1",
    )
    .bind(portfolio_id)
    .execute(connection)
    .await?;
    Ok(())
}

async fn counted_of(
    connection: &mut Connection,
    portfolio_id: &str,
    phones: &[CanonicalPhone],
) -> Result<HashSet<String>> {
    let found: Vec<String> = sqlx::query_scalar(
        "-- messaging_limits.counted_of
         SELECT phone FROM portfolio_recipients WHERE portfolio_id = $1 AND phone = ANY($2)",
    )
    .bind(portfolio_id)
    .bind(texts(phones))
    .fetch_all(connection)
    .await?;
    Ok(found.into_iter().collect())
}

async fn count(connection: &mut Connection, portfolio_id: &str) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "-- messaging_limits.count
         SELECT count(*) FROM portfolio_recipients WHERE portfolio_id = $1",
    )
    .bind(portfolio_id)
    .fetch_one(connection)
    .await?)
}

/// Lets people out for whom the window has passed, unless a message to them is in a lane: it may still be sent.
async fn forget(connection: &mut Connection, portfolio_id: &str, window: Duration) -> Result<()> {
    sqlx::query(
        "-- messaging_limits.forget
         WITH gone AS (
             SELECT r.phone FROM portfolio_recipients AS r
             WHERE r.portfolio_id = $1
                 AND GREATEST(r.granted_at, r.accepted_at) <= clock_timestamp() - make_interval(secs => $2)
                 AND NOT EXISTS (
                     SELECT FROM business_accounts AS a
                     JOIN campaigns AS c ON c.account_id = a.id
                     JOIN dispatches AS d ON d.campaign = c.id
                     JOIN messages AS m ON m.campaign = c.id AND m.phone = r.phone
                     WHERE a.portfolio_id = $1 AND c.finished_at IS NULL
                         AND m.state = 'pending' AND m.seq <= d.enqueued_seq)
             ORDER BY r.phone LIMIT $3 FOR UPDATE OF r SKIP LOCKED
         )
         DELETE FROM portfolio_recipients AS r USING gone WHERE r.portfolio_id = $1 AND r.phone = gone.phone",
    )
    .persistent(false)
    .bind(portfolio_id)
    .bind(window.as_secs_f64())
    .bind(FORGET_MAX)
    .execute(connection)
    .await?;
    Ok(())
}

async fn count_in(connection: &mut Connection, portfolio_id: &str, phones: &[CanonicalPhone]) -> Result<()> {
    sqlx::query(
        "-- messaging_limits.count_in
         INSERT INTO portfolio_recipients (portfolio_id, phone, granted_at)
         SELECT DISTINCT $1, phone, clock_timestamp() FROM UNNEST($2::text[]) AS p (phone) ORDER BY phone
         ON CONFLICT (portfolio_id, phone) DO UPDATE SET granted_at = EXCLUDED.granted_at",
    )
    .bind(portfolio_id)
    .bind(texts(phones))
    .execute(connection)
    .await?;
    Ok(())
}

async fn next_room_at(
    connection: &mut Connection,
    portfolio_id: &str,
    window: Duration,
) -> Result<Option<DateTime<Utc>>> {
    Ok(sqlx::query_scalar(
        "-- messaging_limits.next_room_at
         SELECT min(GREATEST(granted_at, accepted_at) + make_interval(secs => $2)) FROM portfolio_recipients
         WHERE portfolio_id = $1 AND GREATEST(granted_at, accepted_at) + make_interval(secs => $2) > clock_timestamp()",
    )
    .bind(portfolio_id)
    .bind(window.as_secs_f64())
    .fetch_one(connection)
    .await?)
}

async fn save_usage(
    connection: &mut Connection,
    portfolio_id: &str,
    used: i64,
    next_room_at: Option<DateTime<Utc>>,
) -> Result<()> {
    sqlx::query(
        "-- messaging_limits.save_usage
         UPDATE portfolio_usage SET used = $2, next_room_at = $3, measured_at = now() WHERE portfolio_id = $1",
    )
    .bind(portfolio_id)
    .bind(used)
    .bind(next_room_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Messages that were accepted, or may have been: the window of their people begins now. Of portfolios without a limit
/// nothing is kept.
pub async fn accepted(connection: &mut Connection, messages: &[Position]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let (campaigns, seqs) = columns(messages);
    sqlx::query(
        "-- messaging_limits.accepted
         INSERT INTO portfolio_recipients (portfolio_id, phone, granted_at, accepted_at)
         SELECT DISTINCT p.portfolio_id, m.phone, now(), now()
         FROM UNNEST($1::uuid[], $2::bigint[]) AS u (campaign, seq)
         JOIN campaigns AS c ON c.id = u.campaign
         JOIN business_accounts AS a ON a.id = c.account_id
         JOIN portfolios AS p ON p.portfolio_id = a.portfolio_id
         JOIN messages AS m ON m.campaign = u.campaign AND m.seq = u.seq
         WHERE LEAST(p.messaging_limit, p.reported_limit) IS NOT NULL AND m.phone IS NOT NULL
         ORDER BY 1, 2
         ON CONFLICT (portfolio_id, phone) DO UPDATE SET accepted_at = clock_timestamp()",
    )
    .persistent(false)
    .bind(campaigns)
    .bind(seqs)
    .execute(connection)
    .await?;
    Ok(())
}

/// Messages that are known not to have been accepted and will not be sent: their people no longer count, unless
/// another message to them does.
pub async fn unsent(connection: &mut Connection, messages: &[Position], window: Duration) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let (campaigns, seqs) = columns(messages);
    sqlx::query(
        "-- messaging_limits.unsent
         WITH mine AS (
             SELECT r.portfolio_id, r.phone, COALESCE(r.accepted_at, '-infinity')
                     > clock_timestamp() - make_interval(secs => $3) AS counts
             FROM UNNEST($1::uuid[], $2::bigint[]) AS u (campaign, seq)
             JOIN campaigns AS c ON c.id = u.campaign
             JOIN business_accounts AS a ON a.id = c.account_id
             JOIN messages AS m ON m.campaign = u.campaign AND m.seq = u.seq
             JOIN portfolio_recipients AS r ON r.portfolio_id = a.portfolio_id AND r.phone = m.phone
             WHERE NOT EXISTS (
                 SELECT FROM business_accounts AS oa
                 JOIN campaigns AS oc ON oc.account_id = oa.id
                 JOIN messages AS om ON om.campaign = oc.id AND om.phone = r.phone
                 WHERE oa.portfolio_id = r.portfolio_id AND oc.finished_at IS NULL AND oc.id <> u.campaign
                     AND om.state IN ('pending', 'deferred'))
             FOR UPDATE OF r SKIP LOCKED
         ), freed AS (
             DELETE FROM portfolio_recipients AS r USING mine
             WHERE r.portfolio_id = mine.portfolio_id AND r.phone = mine.phone AND NOT mine.counts
         )
         UPDATE portfolio_recipients AS r SET granted_at = r.accepted_at FROM mine
         WHERE r.portfolio_id = mine.portfolio_id AND r.phone = mine.phone AND mine.counts",
    )
    .persistent(false)
    .bind(campaigns)
    .bind(seqs)
    .bind(window.as_secs_f64())
    .execute(connection)
    .await?;
    Ok(())
}

fn texts(phones: &[CanonicalPhone]) -> Vec<&str> {
    phones.iter().map(CanonicalPhone::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_counts_already_takes_no_room() {
        let phones: Vec<CanonicalPhone> = [
            "+5531980000001",
            "+5531980000002",
            "+5531980000003",
            "+5531980000004",
        ]
        .map(|phone| phone.parse().expect("a mobile number"))
        .into();
        let counted = HashSet::from(["+5531980000001".to_owned(), "+5531980000003".to_owned()]);
        assert_eq!(prefix(&phones, &counted, 2), 4);
        assert_eq!(prefix(&phones, &counted, 1), 3);
        assert_eq!(
            prefix(&phones, &counted, 0),
            1,
            "it stops at the first that does not fit"
        );
        assert_eq!(prefix(&phones, &counted, -5), 1, "a lowered limit");
        assert_eq!(prefix(&phones, &HashSet::new(), 0), 0);
    }
}
