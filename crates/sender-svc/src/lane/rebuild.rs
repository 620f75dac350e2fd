//! Building a lane on a Redis that it was not built on, from what Postgres knows.
//!
//! The order matters. First every member confirms, by joining anew, that nothing of it is in flight and that
//! all it knows has been published; one that does not within the grace has vanished. Then the ledger applies
//! what was published. Only then is it known which messages were fed and left no outcome, and of these only
//! what a vanished member may have sent becomes uncertain; the rest goes in a new round. That is one
//! transaction, which also stores the new identity. What lies in Redis is dropped after it, and the lane is
//! verified last, so a successor that finds the identity stored goes on at the drop.

use super::Lane;
use super::apply::grace_over;
use super::error::LaneError;
use super::feed::BATCH_MAX;
use campaign_core::ids::CampaignId;
use campaign_store::dispatches::Work;
use campaign_store::lanes::{LaneGround, LaneMembership};
use campaign_store::rounds::MaybeSent;
use campaign_store::{commit, dispatches, lanes, rounds};
use chrono::Utc;
use std::time::{Duration, Instant};

/// How often members and outcomes are looked at while waiting for them.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Marks the lane for building, because something in it is missing.
pub(super) async fn call_for(lane: &Lane) -> Result<(), LaneError> {
    // Members that have not noticed must not take while they no longer count as confirmed.
    LaneError::check(lane.owner.unverify().await?)?;
    // A join that lies there may be older than what its member took since: it confirms nothing any more.
    wait_for_ledger(lane).await?;
    let mut transaction = lane.begin().await?;
    lanes::begin_rebuild(&mut transaction, &lane.lease.lane).await?;
    Ok(commit(transaction).await?)
}

/// Builds the lane on `identity`.
pub(super) async fn run(lane: &Lane, identity: &str, ground: &LaneGround) -> Result<(), LaneError> {
    let started = Instant::now();
    LaneError::check(lane.owner.unverify().await?)?;
    let resumed = ground.redis_identity.as_deref() == Some(identity) && !ground.built;
    if !resumed {
        if ground.redis_identity.is_some() {
            call_for(lane).await?;
        }
        let work = read_work(lane).await?;
        // Even where nothing is recorded as fed: the feeder appends first and records then.
        let outstanding = work.iter().any(|work| work.pending > 0);
        let vanished = if outstanding {
            wait_for_members(lane, identity).await?
        } else {
            Vec::new()
        };
        wait_for_ledger(lane).await?;
        let taken = MayHaveTaken {
            since: ground.behind + started.elapsed(),
            parked: ground.parked,
        };
        open_new_rounds(lane, identity, &vanished, taken).await?;
    }
    drop_everything(lane).await?;
    verify(lane, identity).await?;
    let seconds = started.elapsed().as_secs_f64();
    tracing::info!(identity, seconds, "the lane is built");
    metrics::histogram!("lane_rebuild_seconds").record(seconds);
    Ok(())
}

async fn read_work(lane: &Lane) -> Result<Vec<Work>, LaneError> {
    let mut connection = lane.sender.store.connection().await?;
    let mut work = dispatches::work(&mut connection, &lane.lease.lane)
        .await?
        .campaigns;
    work.retain(|work| !work.finished);
    Ok(work)
}

/// Waits until every recorded member has joined on `identity`, or the grace is over. Returns those that have
/// not.
async fn wait_for_members(lane: &Lane, identity: &str) -> Result<Vec<LaneMembership>, LaneError> {
    let deadline = Instant::now() + lane.sender.grace;
    loop {
        let members = {
            let mut connection = lane.sender.store.connection().await?;
            lanes::members(&mut connection, &lane.lease.lane).await?
        };
        let missing: Vec<_> = members
            .into_iter()
            .filter(|member| member.identity != identity)
            .collect();
        if missing.is_empty() || Instant::now() >= deadline {
            if !missing.is_empty() {
                tracing::error!(
                    members = missing.len(),
                    "members did not confirm within the grace"
                );
            }
            return Ok(missing);
        }
        stopped_or_pause(lane).await?;
        still_here(lane, identity).await?;
    }
}

/// Waits until the ledger has applied every outcome that is in Redis now.
async fn wait_for_ledger(lane: &Lane) -> Result<(), LaneError> {
    let (_, last) = lane.owner.outcomes_span().await?;
    while lane
        .owner
        .outcomes_span()
        .await?
        .0
        .is_some_and(|first| first <= last)
    {
        stopped_or_pause(lane).await?;
    }
    Ok(())
}

async fn stopped_or_pause(lane: &Lane) -> Result<(), LaneError> {
    if lane.pause(LOOK_EVERY).await {
        Ok(())
    } else {
        Err(LaneError::Superseded)
    }
}

/// Redis may be replaced again while its last replacement is waited for.
async fn still_here(lane: &Lane, identity: &str) -> Result<(), LaneError> {
    let here = LaneError::check(lane.owner.unverify().await?)?;
    if here == identity {
        Ok(())
    } else {
        Err(LaneError::Unverified { identity: here })
    }
}

/// What vanished members can have taken: since the ledger last knew everything, and without an outcome then.
#[derive(Debug, Clone, Copy)]
struct MayHaveTaken {
    since: Duration,
    parked: i64,
}

impl MayHaveTaken {
    /// Rows beyond the last one that has an outcome.
    fn rows(self, rate_per_second: i64, vanished: &[LaneMembership]) -> MaybeSent {
        if vanished.is_empty() {
            return MaybeSent::Nothing;
        }
        let in_hand: i64 = vanished.iter().map(|member| i64::from(member.concurrency)).sum();
        let seconds = self.since.as_secs_f64().ceil() as i64;
        MaybeSent::Rows(
            rate_per_second
                .saturating_mul(seconds)
                .saturating_add(in_hand)
                .saturating_add(self.parked),
        )
    }
}

/// One transaction: what may have been sent becomes uncertain, everything else unfinished goes in a new
/// round, vanished members are forgotten, the identity is stored.
async fn open_new_rounds(
    lane: &Lane,
    identity: &str,
    vanished: &[LaneMembership],
    taken: MayHaveTaken,
) -> Result<(), LaneError> {
    let work = read_work(lane).await?;
    let _alone = lane.many_campaigns.lock().await;
    let mut transaction = lane.begin().await?;
    lanes::allow_long_statements(&mut transaction).await?;
    let status = lanes::list(&mut transaction).await?;
    let rate = status
        .iter()
        .find(|status| status.lane == lane.lease.lane)
        .map_or(1, |status| i64::from(status.throughput_per_second));
    let maybe_sent = taken.rows(rate, vanished);
    let mut uncertain = 0;
    for work in &work {
        let now = Utc::now();
        let (campaign, grace_over) = (work.campaign, grace_over(lane));
        uncertain +=
            rounds::rebuild(&mut transaction, campaign, maybe_sent, BATCH_MAX, now, grace_over).await?;
    }
    let forgotten: Vec<_> = vanished.iter().map(|member| member.instance).collect();
    lanes::forget_members(&mut transaction, &lane.lease.lane, &forgotten).await?;
    lanes::set_identity(&mut transaction, &lane.lease.lane, identity).await?;
    commit(transaction).await?;
    tracing::warn!(
        campaigns = work.len(),
        uncertain,
        vanished = vanished.len(),
        "new rounds are opened"
    );
    Ok(())
}

async fn drop_everything(lane: &Lane) -> Result<(), LaneError> {
    let mut campaigns: Vec<CampaignId> = lane.owner.campaigns().await?;
    campaigns.extend(read_work(lane).await?.iter().map(|work| work.campaign));
    campaigns.sort_unstable();
    campaigns.dedup();
    LaneError::check(lane.owner.close(&campaigns).await?)
}

async fn verify(lane: &Lane, identity: &str) -> Result<(), LaneError> {
    let (rate, members) = {
        let mut connection = lane.sender.store.connection().await?;
        let status = lanes::list(&mut connection).await?;
        let rate = status.iter().find(|status| status.lane == lane.lease.lane);
        let members = lanes::members(&mut connection, &lane.lease.lane).await?;
        (rate.map_or(1, |status| status.throughput_per_second), members)
    };
    let joined: Vec<_> = members
        .iter()
        .filter(|member| member.identity == identity)
        .map(|member| member.instance)
        .collect();
    let rate = u32::try_from(rate).unwrap_or(1).max(1);
    LaneError::check(lane.owner.verify(identity, rate, &joined).await?)?;
    let mut transaction = lane.begin().await?;
    lanes::set_built(&mut transaction, &lane.lease.lane).await?;
    Ok(commit(transaction).await?)
}
