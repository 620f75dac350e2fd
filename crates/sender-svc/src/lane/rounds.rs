//! Rounds: when one is over, what comes next, and when a campaign is finished.

use super::Lane;
use super::apply::grace_over;
use super::controls;
use super::error::LaneError;
use super::keeper::{Keeper, Progress};
use campaign_core::campaign::OnUncertain;
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::MessageState;
use campaign_store::counters::CounterDelta;
use campaign_store::dispatches::{Dispatch, Work};
use campaign_store::requests::{self, LeftOut, Request, RequestKind};
use campaign_store::rounds::{self as rows, Again, Why};
use campaign_store::{Connection, campaigns, commit, counters, dispatches, lanes, messages};
use campaign_streams::StreamId;
use chrono::{DateTime, Utc};
use whatsapp_api::errors::{FAILED_FOR, codes_failed_for_a_day};

/// Rows that one request changes in one transaction.
const REQUEST_BATCH_MAX: usize = 5_000;

/// Whether the ledger has applied everything up to `outcome`: it deletes what it has applied.
pub(super) async fn is_applied(lane: &Lane, outcome: StreamId) -> Result<bool, LaneError> {
    let first = LaneError::check(lane.owner.first_outcome().await?)?;
    Ok(first.is_none_or(|first| first > outcome))
}

/// Everything of the round is fed. Ends it once the lane is empty and every outcome is applied.
pub(super) async fn step(keeper: &mut Keeper<'_>, work: &Work) -> Result<Progress, LaneError> {
    let now = Utc::now();
    let Some(open) = keeper.open.get_mut(&work.campaign) else {
        return Ok(Progress::None);
    };
    let Some(survey) = open.survey.as_ref() else {
        return Ok(Progress::None);
    };
    if survey.outstanding > 0 {
        open.empty_since = None;
        open.resend_asked = None;
        return Ok(Progress::None);
    }
    // The round is closed already; what waits for the next is not due.
    if open.closed && work.pending == 0 && work.next_again.is_some_and(|due| due > now) {
        return Ok(Progress::None);
    }
    let (newest, surveyed_at) = (survey.last_outcome, open.surveyed_at);
    // The survey saw the stream empty and the last outcome in one step: whatever the round reported is not
    // behind that one.
    let last_of_round = *open.empty_since.get_or_insert(newest);
    if !is_applied(keeper.lane, last_of_round).await? {
        keeper.lane.ledger_due.notify_waiters();
        return Ok(Progress::None);
    }
    if work.on_uncertain != OnUncertain::Resend {
        return close(keeper, work, false, now).await;
    }
    // What is sent again by itself must know of every outcome there was, not only of the round's. Others may report
    // without end, so it is decided as of the time when it was first asked.
    let (last_outcome, as_of) = *open.resend_asked.get_or_insert((newest, surveyed_at));
    if !is_applied(keeper.lane, last_outcome).await? {
        keeper.lane.ledger_due.notify_waiters();
        return Ok(Progress::None);
    }
    close(keeper, work, true, as_of).await
}

/// Ends the round in one transaction, and begins the next if any row was due at `as_of`.
async fn close(
    keeper: &mut Keeper<'_>,
    work: &Work,
    resend: bool,
    as_of: DateTime<Utc>,
) -> Result<Progress, LaneError> {
    let lane = keeper.lane;
    let mut transaction = lane.begin().await?;
    let dispatch = dispatches::lock(&mut transaction, work.campaign).await?;
    if dispatch.generation != work.dispatch.generation {
        return Ok(Progress::Made);
    }
    let lost = mark_lost(lane, &mut transaction, work, &dispatch, Utc::now()).await?;
    rows::close(&mut transaction, work.campaign).await?;
    let resend = resend
        && rows::uncertain_is_due(&mut transaction, work.campaign, as_of).await?
        && rows::webhooks_are_complete(&mut transaction, work.campaign, as_of - lane.sender.grace).await?;
    let reopened = rows::open_next(&mut transaction, work.campaign, &dispatch, as_of, resend).await?;
    commit(transaction).await?;
    if lost > 0 {
        tracing::error!(campaign_id = %work.campaign, messages = lost, "messages were fed and left no outcome");
    }
    if reopened > 0 {
        tracing::info!(campaign_id = %work.campaign, messages = reopened, "a new round begins");
        keeper.open.remove(&work.campaign);
        return Ok(Progress::Made);
    }
    if let Some(open) = keeper.open.get_mut(&work.campaign) {
        open.closed = true;
        open.resend_asked = None;
    }
    finish_if_settled(keeper, work, as_of).await
}

/// What was fed in the round, is still pending although the lane is empty, and left no outcome.
async fn mark_lost(
    lane: &Lane,
    connection: &mut Connection,
    work: &Work,
    dispatch: &Dispatch,
    now: DateTime<Utc>,
) -> Result<usize, LaneError> {
    if counters::unsettled(&mut *connection, work.campaign).await? == 0 {
        return Ok(0);
    }
    lanes::allow_long_statements(&mut *connection).await?;
    Ok(rows::mark_lost(connection, work.campaign, dispatch, now, grace_over(lane)).await?)
}

/// Sets the campaign finished if nothing waits any more, and takes it out of the lane. What was uncertain with its grace
/// over at `as_of` no longer waits.
pub(super) async fn finish_if_settled(
    keeper: &mut Keeper<'_>,
    work: &Work,
    as_of: DateTime<Utc>,
) -> Result<Progress, LaneError> {
    let lane = keeper.lane;
    let mut transaction = lane.begin().await?;
    if controls::is_over(work.status) {
        rows::end(&mut transaction, work.campaign).await?;
    }
    rows::release_uncertain(&mut transaction, work.campaign, as_of).await?;
    let waiting = rows::any_waiting(&mut transaction, work.campaign).await?;
    let unsettled = counters::unsettled(&mut transaction, work.campaign).await?;
    if waiting || unsettled > 0 {
        commit(transaction).await?;
        return Ok(Progress::None);
    }
    campaigns::set_finished(&mut transaction, work.campaign, Some(Utc::now())).await?;
    commit(transaction).await?;
    tracing::info!(campaign_id = %work.campaign, "the campaign is finished");
    metrics::counter!("campaigns_finished_total").increment(1);
    LaneError::check(lane.owner.close(&[work.campaign]).await?)?;
    keeper.open.remove(&work.campaign);
    Ok(Progress::Made)
}

/// Applies what people asked about single messages, each request in a transaction of its own.
pub(super) async fn apply_requests(lane: &Lane, work: &Work) -> Result<(), LaneError> {
    let waiting = {
        let mut connection = lane.sender.store.connection().await?;
        requests::waiting(&mut connection, work.campaign).await?
    };
    for request in waiting {
        let mut transaction = lane.begin().await?;
        lanes::allow_long_statements(&mut transaction).await?;
        let (affected, left_out) = apply_request(&mut transaction, work, &request).await?;
        requests::mark_applied(&mut transaction, request.id, affected, left_out).await?;
        if work.finished {
            // Its keys are gone from the lane, so what goes again must do so in a round of its own.
            let dispatch = dispatches::lock(&mut transaction, work.campaign).await?;
            let reopened =
                rows::open_next(&mut transaction, work.campaign, &dispatch, Utc::now(), false).await?;
            if reopened > 0 {
                campaigns::set_finished(&mut transaction, work.campaign, None).await?;
            }
        }
        commit(transaction).await?;
        tracing::info!(campaign_id = %work.campaign, kind = request.kind.as_str(), affected, "a request is applied");
    }
    Ok(())
}

async fn apply_request(
    connection: &mut Connection,
    work: &Work,
    request: &Request,
) -> Result<(i64, Option<LeftOut>), LaneError> {
    let (state, wanted) = match request.kind {
        RequestKind::ResendUncertain => (MessageState::Uncertain, None),
        RequestKind::WriteOffUncertain => (MessageState::Uncertain, Some(MessageState::Failed)),
        RequestKind::ResendFailed => (MessageState::Failed, None),
    };
    // What was cancelled or has expired is not sent again, whoever asked before it was.
    if wanted.is_none() && controls::ends(work, Utc::now()) {
        return Ok((0, None));
    }
    let mut seqs = messages::seqs_in_state(
        &mut *connection,
        request.campaign,
        state,
        request.seqs.as_deref(),
        request.error_codes.as_deref(),
    )
    .await?;
    let left_out = if wanted.is_none() && state == MessageState::Failed {
        leave_out(&mut *connection, request.campaign, &mut seqs).await?
    } else {
        None
    };
    for batch in seqs.chunks(REQUEST_BATCH_MAX) {
        match wanted {
            None => {
                let again: Vec<_> = batch
                    .iter()
                    .map(|&seq| Again {
                        campaign: request.campaign,
                        seq,
                        due: Utc::now(),
                        why: Why::Asked,
                    })
                    .collect();
                rows::note(&mut *connection, &again).await?;
            }
            Some(wanted) => write_off(&mut *connection, request, batch, wanted).await?,
        }
    }
    Ok((seqs.len() as i64, left_out))
}

/// Takes those out who have reached Meta's limit of marketing for a person less than a day ago: sent again so
/// soon, the message would be refused again, and count against the number.
async fn leave_out(
    connection: &mut Connection,
    campaign: CampaignId,
    seqs: &mut Vec<Seq>,
) -> Result<Option<LeftOut>, LaneError> {
    let codes: Vec<String> = codes_failed_for_a_day().map(|code| code.to_string()).collect();
    let recent = messages::failed_since(connection, campaign, &codes, Utc::now() - FAILED_FOR).await?;
    let asked = seqs.len();
    seqs.retain(|seq| recent.binary_search_by_key(seq, |(seq, _)| *seq).is_err());
    let latest = recent.iter().map(|(_, at)| *at).max();
    Ok(latest.filter(|_| seqs.len() < asked).map(|latest| LeftOut {
        messages: (asked - seqs.len()) as i64,
        until: latest + FAILED_FOR,
    }))
}

async fn write_off(
    connection: &mut Connection,
    request: &Request,
    batch: &[Seq],
    wanted: MessageState,
) -> Result<(), LaneError> {
    let seqs: Vec<i64> = batch.iter().map(|seq| seq.0).collect();
    let mut locked = messages::lock(&mut *connection, request.campaign, &seqs).await?;
    let settled: Vec<_> = seqs.iter().map(|seq| (request.campaign, *seq)).collect();
    locked.retain(|locked| locked.row.state == MessageState::Uncertain);
    let mut delta = CounterDelta::default();
    for locked in &mut locked {
        let before = locked.row.clone();
        locked.row.state = wanted;
        locked.row.settled_at = Some(Utc::now());
        locked.row.error_code = Some("written_off".to_owned());
        locked.row.error_text = Some(format!("counted as failed by {}", request.requested_by));
        messages::count_change(&mut delta, &before, &locked.row);
    }
    messages::update(&mut *connection, &locked).await?;
    rows::forget(&mut *connection, &settled).await?;
    counters::apply(connection, request.campaign, &delta).await?;
    Ok(())
}
