//! Rounds: the few rows that go again, and the step from one round to the next.

use crate::counters::CounterDelta;
use crate::dispatches::{self, Pass};
use crate::messages::{self, LockedRow, Position};
use crate::{Connection, Result, counters, messaging_limits};
use campaign_core::ids::{CampaignId, Generation, Seq};
use campaign_core::message::MessageState;
use chrono::{DateTime, Utc};
use sqlx::Row;

/// Most rows that one round takes from `again`; the others wait for the next.
pub const ROUND_ROWS_MAX: i64 = 20_000;

/// Why a row goes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A retry that is too long to wait for in the lane.
    Deferred,
    /// Nobody knows whether it was accepted; `due` is the end of its grace.
    Uncertain,
    /// A person asked for it.
    Asked,
}

impl Why {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deferred => "deferred",
            Self::Uncertain => "uncertain",
            Self::Asked => "asked",
        }
    }
}

/// A row that may go again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// Whose.
    pub campaign: CampaignId,
    /// Which of it.
    pub seq: Seq,
    /// Not before this time.
    pub due: DateTime<Utc>,
    /// Why.
    pub why: Why,
}

/// Notes rows that may go again, of any campaigns, outside any round. A later note replaces an earlier one.
pub async fn note(connection: &mut Connection, rows: &[Again]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "-- rounds.note
         INSERT INTO again (campaign, seq, due, why)
         SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::timestamptz[], $4::text[]) ORDER BY 1, 2
         ON CONFLICT (campaign, seq) DO UPDATE SET due = EXCLUDED.due, why = EXCLUDED.why, round = NULL",
    )
    .bind(rows.iter().map(|row| row.campaign.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.seq.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.due).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.why.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets rows, of any campaigns: they are final.
pub async fn forget(connection: &mut Connection, rows: &[Position]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let (campaigns, seqs) = messages::columns(rows);
    sqlx::query(
        "-- rounds.forget
         DELETE FROM again AS a USING UNNEST($1::uuid[], $2::bigint[]) AS u (campaign, seq)
         WHERE a.campaign = u.campaign AND a.seq = u.seq",
    )
    .bind(campaigns)
    .bind(seqs)
    .execute(connection)
    .await?;
    Ok(())
}

/// Uncertain rows whose grace is over and that nobody will resend by itself: they stay uncertain, for a
/// person, and no longer keep the campaign from being finished.
pub async fn release_uncertain(
    connection: &mut Connection,
    campaign: CampaignId,
    now: DateTime<Utc>,
) -> Result<u64> {
    let done = sqlx::query(
        "-- rounds.release_uncertain
         DELETE FROM again WHERE campaign = $1 AND why = 'uncertain' AND round IS NULL AND due <= $2",
    )
    .bind(campaign.0)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Lets go of what waits in a campaign that was cancelled: it will not go again. Uncertain rows keep their grace.
pub async fn end(connection: &mut Connection, campaign: CampaignId) -> Result<()> {
    sqlx::query(
        "-- rounds.end
         DELETE FROM again WHERE campaign = $1 AND (round IS NOT NULL OR why <> 'uncertain')",
    )
    .bind(campaign.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether an uncertain row waits whose grace is over.
pub async fn uncertain_is_due(
    connection: &mut Connection,
    campaign: CampaignId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let row = sqlx::query(
        "-- rounds.uncertain_is_due
         SELECT EXISTS (SELECT 1 FROM again
                        WHERE campaign = $1 AND why = 'uncertain' AND round IS NULL AND due <= $2)",
    )
    .bind(campaign.0)
    .bind(now)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get(0)?)
}

/// Whether any row of a campaign waits to go again, or for the end of its grace.
pub async fn any_waiting(connection: &mut Connection, campaign: CampaignId) -> Result<bool> {
    let row = sqlx::query("-- rounds.any_waiting\nSELECT EXISTS (SELECT 1 FROM again WHERE campaign = $1)")
        .bind(campaign.0)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

/// Whether the webhooks of a campaign are complete up to `until`: some came, and no message that was accepted
/// before then is without one. Only then does the absence of a webhook say anything.
pub async fn webhooks_are_complete(
    connection: &mut Connection,
    campaign: CampaignId,
    until: DateTime<Utc>,
) -> Result<bool> {
    let row = sqlx::query(
        "-- rounds.webhooks_are_complete
         SELECT EXISTS (SELECT 1 FROM campaign_counters
                        WHERE campaign = $1 AND sent + undelivered + delivered + read > 0)
             AND NOT EXISTS (SELECT 1 FROM messages
                             WHERE campaign = $1 AND state = 'accepted' AND accepted_at < $2)",
    )
    .persistent(false)
    .bind(campaign.0)
    .bind(until)
    .fetch_one(connection)
    .await?;
    Ok(row.try_get(0)?)
}

/// Marks what was fed in a round that is over and is still pending: nobody knows what became of it.
/// Returns how many.
pub async fn mark_lost(
    connection: &mut Connection,
    campaign: CampaignId,
    dispatch: &dispatches::Dispatch,
    now: DateTime<Utc>,
    grace_over: DateTime<Utc>,
) -> Result<usize> {
    let rows = messages::lock_fed_pending(
        &mut *connection,
        campaign,
        dispatch.generation,
        dispatch.pass,
        dispatch.enqueued_seq,
    )
    .await?;
    mark_uncertain(connection, campaign, rows, now, grace_over).await
}

/// Makes locked pending rows uncertain, with the code `lost`.
pub async fn mark_uncertain(
    connection: &mut Connection,
    campaign: CampaignId,
    mut rows: Vec<LockedRow>,
    now: DateTime<Utc>,
    grace_over: DateTime<Utc>,
) -> Result<usize> {
    let mut delta = CounterDelta::default();
    for locked in &mut rows {
        delta.moved(locked.row.state, MessageState::Uncertain);
        locked.row.state = MessageState::Uncertain;
        locked.row.settled_at = Some(now);
        locked.row.error_code = Some("lost".to_owned());
        locked.row.error_text = Some("it was in the lane when its outcome was lost".to_owned());
    }
    messages::update(&mut *connection, &rows).await?;
    let again: Vec<_> = rows
        .iter()
        .map(|locked| Again {
            campaign,
            seq: locked.seq,
            due: grace_over,
            why: Why::Uncertain,
        })
        .collect();
    note(&mut *connection, &again).await?;
    counters::apply(&mut *connection, campaign, &delta).await?;
    let maybe_sent: Vec<_> = rows.iter().map(LockedRow::position).collect();
    messaging_limits::accepted(connection, &maybe_sent).await?;
    Ok(rows.len())
}

/// Ends the round: its rows in `again` are done with. Those noted anew meanwhile are outside of it.
pub async fn close(connection: &mut Connection, campaign: CampaignId) -> Result<()> {
    sqlx::query("-- rounds.close\nDELETE FROM again WHERE campaign = $1 AND round IS NOT NULL")
        .bind(campaign.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Moves up to [`ROUND_ROWS_MAX`] rows that are due into the next round; the last one must be closed. Uncertain
/// rows go only if `resend_uncertain`. Returns how many rows the new round has; with none there is no new
/// round.
pub async fn open_next(
    connection: &mut Connection,
    campaign: CampaignId,
    dispatch: &dispatches::Dispatch,
    now: DateTime<Utc>,
    resend_uncertain: bool,
) -> Result<usize> {
    let next = Generation(dispatch.generation.0 + 1);
    let due = sqlx::query(
        "-- rounds.due
         SELECT seq FROM again WHERE campaign = $1 AND round IS NULL AND due <= $2 AND ($3 OR why <> 'uncertain')
         ORDER BY due LIMIT $4",
    )
    .bind(campaign.0)
    .bind(now)
    .bind(resend_uncertain)
    .bind(ROUND_ROWS_MAX)
    .fetch_all(&mut *connection)
    .await?;
    let mut seqs = due
        .iter()
        .map(|row| Ok(row.try_get("seq")?))
        .collect::<Result<Vec<i64>>>()?;
    if seqs.is_empty() {
        return Ok(0);
    }
    seqs.sort_unstable();
    // Messages are locked before `again`, as the ledger does.
    let mut rows = messages::lock(&mut *connection, campaign, &seqs).await?;
    rows.retain(|locked| locked.row.state.may_reopen());
    let reopened: Vec<i64> = rows.iter().map(|locked| locked.seq.0).collect();
    let settled: Vec<Position> = seqs
        .into_iter()
        .filter(|seq| reopened.binary_search(seq).is_err())
        .map(|seq| (campaign, seq))
        .collect();
    sqlx::query("-- rounds.enter\nUPDATE again SET round = $3 WHERE campaign = $1 AND seq = ANY($2)")
        .bind(campaign.0)
        .bind(&reopened)
        .bind(next.0)
        .execute(&mut *connection)
        .await?;
    forget(&mut *connection, &settled).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut delta = CounterDelta::default();
    for locked in &mut rows {
        let before = locked.row.clone();
        locked.row.state = MessageState::Pending;
        locked.row.generation = next;
        locked.row.settled_at = None;
        messages::count_change(&mut delta, &before, &locked.row);
    }
    messages::update(&mut *connection, &rows).await?;
    dispatches::begin_round(&mut *connection, campaign, next, Pass::Again, Seq(0)).await?;
    counters::apply(connection, campaign, &delta).await?;
    Ok(rows.len())
}

/// What members that vanished may have sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaybeSent {
    /// Nobody vanished: what was fed and has no outcome was not sent.
    Nothing,
    /// They can have taken so many rows beyond the last one that has an outcome.
    Rows(i64),
}

/// Begins the round anew after its lane was lost: of the rows that were fed and have no outcome, those that
/// may have been sent become uncertain, the others go in the new round. Returns how many became uncertain.
///
/// The feeder appends first and records then, so up to `unsaved` rows behind the last one recorded may have
/// been fed too.
pub async fn rebuild(
    connection: &mut Connection,
    campaign: CampaignId,
    maybe_sent: MaybeSent,
    unsaved: i64,
    now: DateTime<Utc>,
    grace_over: DateTime<Utc>,
) -> Result<usize> {
    let dispatch = dispatches::lock(&mut *connection, campaign).await?;
    let (generation, pass) = (dispatch.generation, dispatch.pass);
    let fed_up_to = match maybe_sent {
        MaybeSent::Nothing => dispatch.enqueued_seq,
        MaybeSent::Rows(_) => {
            let after = dispatch.enqueued_seq;
            let next =
                messages::next_to_feed(&mut *connection, campaign, generation, pass, after, unsaved).await?;
            next.last().map_or(after, |row| row.seq)
        }
    };
    if fed_up_to == dispatch.round_start_seq {
        return Ok(0);
    }
    let next = Generation(generation.0 + 1);
    let fed = messages::lock_fed_pending(&mut *connection, campaign, generation, pass, fed_up_to).await?;
    let sent = count_maybe_sent(&mut *connection, campaign, &dispatch, &fed, maybe_sent).await?;
    let mut fed = fed;
    let mut unsent = fed.split_off(sent);
    for locked in &mut unsent {
        locked.row.generation = next;
    }
    messages::update(&mut *connection, &unsent).await?;
    let resume_after = unsent.first().map_or(fed_up_to, |locked| Seq(locked.seq.0 - 1));
    sqlx::query("-- rounds.carry_over\nUPDATE again SET round = $3 WHERE campaign = $1 AND round = $2")
        .bind(campaign.0)
        .bind(generation.0)
        .bind(next.0)
        .execute(&mut *connection)
        .await?;
    dispatches::begin_round(&mut *connection, campaign, next, pass, resume_after).await?;
    mark_uncertain(connection, campaign, fed, now, grace_over).await
}

/// How many of the rows, in the order in which they were fed, may have been sent.
async fn count_maybe_sent(
    connection: &mut Connection,
    campaign: CampaignId,
    dispatch: &dispatches::Dispatch,
    fed: &[LockedRow],
    maybe_sent: MaybeSent,
) -> Result<usize> {
    match (maybe_sent, dispatch.pass) {
        (MaybeSent::Nothing, _) => Ok(0),
        // The rows of such a round are few, and which of them have an outcome says little about the others.
        (MaybeSent::Rows(_), Pass::Again) => Ok(fed.len()),
        (MaybeSent::Rows(beyond), Pass::Audience) => {
            let settled = highest_settled(connection, campaign, dispatch).await?;
            let before = fed.partition_point(|locked| locked.seq <= settled);
            Ok(before
                .saturating_add(usize::try_from(beyond).unwrap_or(usize::MAX))
                .min(fed.len()))
        }
    }
}

/// The highest seq of a campaign's round that has an outcome; 0 if none has.
async fn highest_settled(
    connection: &mut Connection,
    campaign: CampaignId,
    dispatch: &dispatches::Dispatch,
) -> Result<Seq> {
    let row = sqlx::query(
        "-- rounds.highest_settled
         SELECT seq FROM messages
         WHERE campaign = $1 AND seq <= $2 AND state NOT IN ('pending', 'skipped')
             AND ($3 OR EXISTS (SELECT 1 FROM again AS a
                                WHERE a.campaign = messages.campaign AND a.seq = messages.seq AND a.round = $4))
         ORDER BY seq DESC LIMIT 1",
    )
    .persistent(false)
    .bind(campaign.0)
    .bind(dispatch.enqueued_seq.0)
    .bind(dispatch.pass == Pass::Audience)
    .bind(dispatch.generation.0)
    .fetch_optional(connection)
    .await?;
    row.map_or(Ok(Seq(0)), |row| Ok(Seq(row.try_get("seq")?)))
}
