//! Feeding: the next pending rows into the lane, each exactly once in its round.

use super::Lane;
use super::apply::hold_contradiction;
use super::error::LaneError;
use super::keeper::{Keeper, Open};
use super::limit;
use campaign_core::campaign::CampaignStatus;
use campaign_core::contracts::QueuedMessage;
use campaign_core::ids::{CampaignId, Generation, Seq};
use campaign_core::message::{MessageState, SkipReason};
use campaign_runtime::{current_trace_context, link_to};
use campaign_store::counters::CounterDelta;
use campaign_store::dispatches::{self, Pass, Work};
use campaign_store::messages::{self, FeedRow};
use campaign_store::{StoreError, campaigns, commit, counters};
use campaign_streams::StreamId;
use campaign_streams::lane::{Fed, FeedEntry};
use chrono::{TimeDelta, Utc};
use std::time::{Duration, Instant};
use tracing::Instrument as _;

/// Most rows fed at once.
pub(super) const BATCH_MAX: i64 = 1_000;
/// The smallest window, however slow the number.
const WINDOW_MIN: u32 = 500;
/// A window holds what the number can send in this time.
const WINDOW_SECONDS: u32 = 3;
/// Nothing is fed while more outcomes than this wait for the ledger.
const OUTCOMES_MAX: u64 = 50_000;
/// How long the lane keeps an opt-out at least: rows read longer ago are read again before they are fed.
pub(super) const OPTOUTS_KEPT: TimeDelta = TimeDelta::minutes(2);

/// What a step of feeding did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Rows were fed or skipped; there is room for more.
    Fed,
    /// The window is full, the campaign is held or waits for room, its next rows are not there yet, or its last
    /// were fed just now.
    Full,
    /// Every row of the round has been fed.
    Drained,
}

/// Feeds up to one batch.
pub(super) async fn step(keeper: &mut Keeper<'_>, work: &Work) -> Result<Step, LaneError> {
    let room = room(keeper, work);
    if work.held || room == 0 {
        return Ok(Step::Full);
    }
    let Some(open) = keeper.open.get_mut(&work.campaign) else {
        return Ok(Step::Full);
    };
    let lane = keeper.lane;
    if open.fed_before == Some(work.dispatch.next_seq) {
        return nothing_left(lane, open, work).await;
    }
    if limit::waits(open, Instant::now()) {
        open.stock = None;
        return Ok(Step::Full);
    }
    let span = tracing::info_span!("feed", campaign_id = %work.campaign, generation = %open.generation);
    link_to(&span, &work.dispatch.trace);
    feed(lane, open, work, room).instrument(span).await
}

fn room(keeper: &Keeper<'_>, work: &Work) -> i64 {
    let Some(survey) = keeper
        .open
        .get(&work.campaign)
        .and_then(|open| open.survey.as_ref())
    else {
        return 0;
    };
    if survey.outcomes > OUTCOMES_MAX {
        return 0;
    }
    let window = keeper
        .rate_per_second
        .saturating_mul(WINDOW_SECONDS)
        .max(WINDOW_MIN);
    let window = i64::from(window.min(keeper.lane.sender.feed_window));
    let room = window - i64::try_from(survey.outstanding).unwrap_or(i64::MAX);
    // Small top-ups cost as much as large ones; wait until a quarter of the window is free.
    if room < window / 4 { 0 } else { room }
}

async fn feed(lane: &Lane, open: &mut Open, work: &Work, room: i64) -> Result<Step, LaneError> {
    let limit = room.min(BATCH_MAX);
    let enqueued = enqueued(open, work);
    let read_at = Utc::now();
    let rows = {
        let mut connection = lane.sender.store.connection().await?;
        let (generation, pass) = (work.dispatch.generation, work.dispatch.pass);
        messages::next_to_feed(&mut connection, work.campaign, generation, pass, enqueued, limit).await?
    };
    // Read after `work`, so all rows that it knows of were there to be read.
    let all_read = (rows.len() as i64) < limit;
    if rows.is_empty() {
        open.fed_before = Some(work.dispatch.next_seq);
        return nothing_left(lane, open, work).await;
    }
    let (suppressed, rows): (Vec<FeedRow>, Vec<FeedRow>) = rows.into_iter().partition(|row| row.suppressed);
    if !suppressed.is_empty() {
        skip(lane, work.campaign, &suppressed).await?;
    }
    if rows.is_empty() {
        return Ok(Step::Fed);
    }
    let unsuppressed = rows.len();
    let rows = limit::grant(lane, open, work, rows).await?;
    if rows.is_empty() {
        return Ok(Step::Full);
    }
    let all_fed = all_read && rows.len() == unsuppressed;
    let entries = entries(open.generation, rows);
    let kept = OPTOUTS_KEPT.to_std().unwrap_or(Duration::ZERO);
    match LaneError::check(
        lane.owner
            .feed(work.campaign, open.last, read_at, kept, &entries)
            .await?,
    )? {
        Fed::Appended(last) => {
            open.last = last;
            open.empty_since = None;
            open.fed(entries.len() as u64);
            metrics::counter!("messages_fed_total").increment(entries.len() as u64);
            save(lane, work.campaign, last).await?;
            if all_fed {
                open.fed_before = Some(work.dispatch.next_seq);
                nothing_left(lane, open, work).await?;
                // Drained or not: the survey was before these, and says nothing of the round's end.
                return Ok(Step::Full);
            }
            Ok(if (entries.len() as i64) < room {
                Step::Fed
            } else {
                Step::Full
            })
        }
        Fed::Late => {
            tracing::warn!(
                "rows were read too long ago by Redis's clock; does this machine's clock go right?"
            );
            Ok(Step::Full)
        }
        // An earlier append of ours, whose answer was lost, or another's; opening again finds out.
        Fed::Elsewhere(last) => Err(LaneError::Reopen(format!(
            "campaign {} ends at {last:?}, not at {}",
            work.campaign, open.last
        ))),
    }
}

/// How far the round is fed, as far as this owner knows: at least what Postgres says.
fn enqueued(open: &Open, work: &Work) -> Seq {
    let appended = open
        .last
        .message()
        .filter(|(generation, _)| *generation == work.dispatch.generation);
    appended.map_or(work.dispatch.enqueued_seq, |(_, seq)| {
        seq.max(work.dispatch.enqueued_seq)
    })
}

fn entries(generation: Generation, rows: Vec<FeedRow>) -> Vec<FeedEntry> {
    let fed_at_ms = Utc::now().timestamp_millis();
    let trace = current_trace_context().unwrap_or_default();
    rows.into_iter()
        .map(|row| FeedEntry {
            id: StreamId::of_message(generation, row.seq),
            message: QueuedMessage {
                phone: row.phone,
                variables: row.variables,
                fed_at_ms,
                trace: trace.clone(),
            },
        })
        .collect()
}

async fn save(lane: &Lane, campaign: CampaignId, last: StreamId) -> Result<(), LaneError> {
    if let Some((generation, seq)) = last.message() {
        let mut connection = lane.sender.store.connection().await?;
        dispatches::save_enqueued(&mut connection, &lane.lease, campaign, generation, seq).await?;
    }
    Ok(())
}

/// Rows whose people opted out since they were written become skipped, in a commit before anything is fed.
async fn skip(lane: &Lane, campaign: CampaignId, rows: &[FeedRow]) -> Result<(), LaneError> {
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq.0).collect();
    let mut transaction = lane.begin().await?;
    let mut locked = messages::lock(&mut transaction, campaign, &seqs).await?;
    locked.retain(|locked| locked.row.state == MessageState::Pending);
    let mut delta = CounterDelta::default();
    for locked in &mut locked {
        let before = locked.row.clone();
        locked.row.state = MessageState::Skipped;
        locked.row.settled_at = Some(Utc::now());
        locked.row.error_code = Some(SkipReason::OptedOut.as_str().to_owned());
        messages::count_change(&mut delta, &before, &locked.row);
    }
    messages::update(&mut transaction, &locked).await?;
    counters::apply(&mut transaction, campaign, &delta).await?;
    commit(transaction).await?;
    Ok(())
}

/// Nothing is left to feed, for now at least.
async fn nothing_left(lane: &Lane, open: &mut Open, work: &Work) -> Result<Step, LaneError> {
    open.stock = None;
    limit::go_on(lane, open, work).await?;
    drained(lane, work).await
}

/// Nothing is left to feed. If the audience is complete too, every message has been enqueued.
async fn drained(lane: &Lane, work: &Work) -> Result<Step, LaneError> {
    if work.dispatch.pass == Pass::Audience && !work.dispatch.audience_complete {
        return Ok(Step::Full);
    }
    if work.status == CampaignStatus::Sending {
        let mut transaction = lane.begin().await?;
        match campaigns::set_status(&mut transaction, work.campaign, CampaignStatus::Completed, None).await {
            Ok(_) => commit(transaction).await?,
            // Cancelled in the meantime; the next walk sees it.
            Err(StoreError::IllegalTransition(_)) => return Ok(Step::Full),
            Err(error) => return Err(error.into()),
        }
        tracing::info!(campaign_id = %work.campaign, "every message is enqueued");
    }
    Ok(Step::Drained)
}

/// Compares where the stream ends with what Postgres says was fed. After a crash the stream may be ahead by
/// one batch, which is adopted. Behind, Redis lost data; further ahead, Postgres did.
pub(super) async fn reconcile(lane: &Lane, work: &Work, last: StreamId) -> Result<StreamId, LaneError> {
    let dispatch = &work.dispatch;
    let believed = StreamId::of_message(dispatch.generation, dispatch.enqueued_seq);
    if last == believed {
        return Ok(last);
    }
    if last < believed {
        return Err(LaneError::Lost(format!(
            "campaign {} ends at {last}, before {believed}",
            work.campaign
        )));
    }
    let ahead = ahead(lane, work, last).await?;
    if last.high == believed.high && ahead <= BATCH_MAX {
        save(lane, work.campaign, last).await?;
        return Ok(last);
    }
    let reason = format!(
        "campaign {} ends at {last} in Redis, Postgres knows of {believed} only",
        work.campaign
    );
    hold_contradiction(lane, &reason).await?;
    Err(LaneError::Contradiction(reason))
}

async fn ahead(lane: &Lane, work: &Work, last: StreamId) -> Result<i64, LaneError> {
    let dispatch = &work.dispatch;
    let mut connection = lane.sender.store.connection().await?;
    let rows = messages::next_to_feed(
        &mut connection,
        work.campaign,
        dispatch.generation,
        dispatch.pass,
        dispatch.enqueued_seq,
        BATCH_MAX + 1,
    )
    .await?;
    Ok(rows
        .iter()
        .filter(|row| StreamId::of_message(dispatch.generation, row.seq) <= last)
        .count() as i64)
}
