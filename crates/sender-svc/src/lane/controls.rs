//! What people decide about a running campaign: holds, cancelling, expiry.

use super::error::LaneError;
use super::keeper::{Keeper, Progress};
use super::rounds;
use campaign_core::campaign::CampaignStatus;
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::MessageState;
use campaign_store::counters::CounterDelta;
use campaign_store::dispatches::{self, Work};
use campaign_store::messages::{LockedRow, Position};
use campaign_store::{StoreError, campaigns, commit, counters, messages, messaging_limits};
use campaign_streams::lane::LaneControls;
use chrono::{DateTime, Utc};

/// Rows swept in one transaction.
const SWEEP_MAX: i64 = 5_000;

/// What the decisions mean for the lane.
pub(super) fn of(work: &Work) -> LaneControls {
    LaneControls {
        held: work.held || is_over(work.status),
        expires_at: work.expires_at,
        weight: work.priority.weight(),
    }
}

/// Whether a campaign in this status is not sent any more.
pub(super) const fn is_over(status: CampaignStatus) -> bool {
    matches!(status, CampaignStatus::Cancelled | CampaignStatus::Failed)
}

/// Whether what was not sent by now will not be sent.
pub(super) fn ends(work: &Work, now: DateTime<Utc>) -> bool {
    is_over(work.status) || work.expires_at.is_some_and(|expires_at| expires_at <= now)
}

/// Makes the lane follow what was decided, and then says so in Postgres.
pub(super) async fn follow(keeper: &mut Keeper<'_>, work: &Work) -> Result<(), LaneError> {
    let wanted = of(work);
    let left_alone = keeper.is_left_alone(work.campaign);
    let Some(open) = keeper.open.get_mut(&work.campaign) else {
        if left_alone && wanted.held {
            hold_left_alone(keeper, work.campaign, &wanted).await?;
        }
        return Ok(());
    };
    if open.controls != wanted {
        LaneError::check(keeper.lane.owner.control(work.campaign, &wanted).await?)?;
        let goes_on = open.controls.held && !wanted.held;
        open.controls = wanted;
        if goes_on {
            keeper.lane.shares.released(work.campaign);
        }
        if !wanted.held {
            wake_members(keeper).await;
        }
    } else if !wanted.held {
        keeper.lane.shares.nothing_holds(work.campaign);
    }
    if work.dispatch.control_applied < work.control_version {
        let mut transaction = keeper.lane.begin().await?;
        dispatches::save_control(&mut transaction, work.campaign, work.control_version).await?;
        commit(transaction).await?;
    }
    Ok(())
}

/// What a campaign has in the lane must not go on while its step fails, be it that its keys are broken.
async fn hold_left_alone(
    keeper: &Keeper<'_>,
    campaign: CampaignId,
    wanted: &LaneControls,
) -> Result<(), LaneError> {
    match keeper.lane.owner.control(campaign, wanted).await {
        Ok(reply) => LaneError::check(reply),
        Err(error) => {
            tracing::warn!(campaign_id = %campaign, %error, "a campaign that is left alone could not be held");
            Ok(())
        }
    }
}

async fn wake_members(keeper: &Keeper<'_>) {
    use campaign_streams::wake::{Audience, publish};
    let lane = &keeper.lane.lease.lane;
    if let Err(error) = publish(&keeper.lane.sender.streams, Audience::Messages, Some(lane)).await {
        tracing::debug!(%error, "the members were not woken; they will look by themselves");
    }
}

/// Ends a campaign that was cancelled: once nothing of it is in anybody's hands and what was reported of it is
/// applied, what is still pending becomes cancelled. One batch a walk, so that the lane's other campaigns go on.
pub(super) async fn sweep(keeper: &mut Keeper<'_>, work: &Work) -> Result<Progress, LaneError> {
    let Some(open) = keeper.open.get_mut(&work.campaign) else {
        return Ok(Progress::None);
    };
    let Some(survey) = open.survey.as_ref() else {
        return Ok(Progress::None);
    };
    if survey.in_flight > 0 {
        open.idle_since = None;
        return Ok(Progress::None);
    }
    // It was held before it was surveyed, so nobody takes of it any more: what others report later is not waited for.
    let last_outcome = *open.idle_since.get_or_insert(survey.last_outcome);
    let after = open.swept;
    if !rounds::is_applied(keeper.lane, last_outcome).await? {
        keeper.lane.ledger_due.notify_waiters();
        return Ok(Progress::None);
    }
    if work.pending + work.deferred == 0 {
        return rounds::finish_if_settled(keeper, work, Utc::now()).await;
    }
    let expired = work.expires_at.is_some_and(|at| at <= Utc::now());
    let code = if expired { "expired" } else { "cancelled" };
    let swept = cancel_some(keeper, work.campaign, after, code).await?;
    if let Some(open) = keeper.open.get_mut(&work.campaign) {
        // Nothing more behind; anything left was pending before, so the next walk begins at the start.
        open.swept = swept.unwrap_or_default();
    }
    Ok(Progress::Made)
}

/// A campaign whose time is over is cancelled, unless everything was sent.
pub(super) async fn expire(keeper: &Keeper<'_>, work: &Work) -> Result<Progress, LaneError> {
    let mut transaction = keeper.lane.begin().await?;
    let reason = "it expired before everything was sent";
    match campaigns::set_status(
        &mut transaction,
        work.campaign,
        CampaignStatus::Cancelled,
        Some(reason),
    )
    .await
    {
        Ok(_) => commit(transaction).await?,
        // Somebody was faster.
        Err(StoreError::IllegalTransition(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Progress::Made)
}

/// Cancels the next rows that are unsettled. Returns the last of them, or none if there are no more.
async fn cancel_some(
    keeper: &Keeper<'_>,
    campaign: CampaignId,
    after: Seq,
    code: &str,
) -> Result<Option<Seq>, LaneError> {
    let mut transaction = keeper.lane.begin().await?;
    let mut rows = messages::lock_unsettled(&mut transaction, campaign, after, SWEEP_MAX).await?;
    let Some(last) = rows.last().map(|locked| locked.seq) else {
        return Ok(None);
    };
    let now = Utc::now();
    let mut delta = CounterDelta::default();
    for locked in &mut rows {
        delta.moved(locked.row.state, MessageState::Cancelled);
        locked.row.state = MessageState::Cancelled;
        locked.row.settled_at = Some(now);
        locked.row.error_code = Some(code.to_owned());
    }
    messages::update(&mut transaction, &rows).await?;
    let unsent: Vec<Position> = rows.iter().map(LockedRow::position).collect();
    campaign_store::rounds::forget(&mut transaction, &unsent).await?;
    counters::apply(&mut transaction, campaign, &delta).await?;
    if keeper.lane.limited_portfolio().is_some() {
        let window = keeper.lane.sender.messaging_limit_window;
        messaging_limits::unsent(&mut transaction, &unsent, window).await?;
    }
    commit(transaction).await?;
    Ok(Some(last))
}
