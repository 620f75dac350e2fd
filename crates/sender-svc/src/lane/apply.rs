//! One batch of outcomes, in one transaction.

mod budget;
mod rows;

use super::Lane;
use super::error_share::End;
use crate::lane::error::LaneError;
use crate::wishes::{self, Wishes};
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{
    ErrorNote, MessageEvent, MessageOutcome, OptOut, Outcome, Trouble, TroubleScope,
};
use campaign_core::ids::{CampaignId, InstanceId};
use campaign_store::lanes::LaneMembership;
use campaign_store::{Connection, commit, holds, lanes, messaging_limits};
use campaign_streams::lane::OutcomeEntry;
use chrono::{DateTime, Utc};
use rows::Told;
use std::collections::BTreeMap;
use std::time::Instant;

/// What the outside and the lane must hear once the batch is in Postgres.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) events: Vec<MessageEvent>,
    pub(crate) wishes: Wishes,
    /// What webhooks said of messages that the ledger does not have.
    pub(crate) strays: Vec<MessageOutcome>,
    /// How messages ended, by campaign.
    pub(crate) ends: BTreeMap<CampaignId, Vec<(i64, End)>>,
    /// Campaigns whose budget did not suffice for another message.
    pub(crate) over_budget: Vec<CampaignId>,
    /// Instances to admit (with the identity they joined on) or to remove.
    pub(crate) members: Vec<(InstanceId, Option<String>)>,
}

impl Applied {
    /// Takes in what follows from outcomes that were applied after these.
    pub(crate) fn add(&mut self, later: Self) {
        self.events.extend(later.events);
        self.wishes.standing.extend(later.wishes.standing);
        self.wishes.events.extend(later.wishes.events);
        self.strays.extend(later.strays);
        for (campaign, ends) in later.ends {
            self.ends.entry(campaign).or_default().extend(ends);
        }
        self.over_budget.extend(later.over_budget);
        self.members.extend(later.members);
    }
}

/// A batch, by what it concerns.
#[derive(Default)]
struct Sorted<'a> {
    messages: Told<'a>,
    members: Vec<(InstanceId, Option<LaneMembership>)>,
    troubles: Vec<&'a Trouble>,
    optouts: Vec<OptOut>,
}

/// Applies a batch. `complete_as_of`: when the read was sent that found there was no more than this.
pub(crate) async fn batch(
    lane: &Lane,
    entries: &[OutcomeEntry],
    complete_as_of: Option<Instant>,
) -> Result<Applied, LaneError> {
    let mut sorted = sort(entries);
    // An account's first: who locks the campaigns of several lanes does so in one order.
    sorted
        .troubles
        .sort_by_key(|trouble| trouble.scope != TroubleScope::Account);
    let mut applied = Applied::default();
    let mut transaction = lane.begin().await?;
    // Holds lock campaigns, which everyone locks before rows and counters.
    for trouble in &sorted.troubles {
        hold(lane, &mut transaction, trouble).await?;
    }
    if !sorted.messages.is_empty() {
        let stopped = apply_messages(lane, &mut transaction, &sorted.messages, &mut applied).await?;
        sorted.optouts.extend(stopped);
    }
    for (instance, joined) in sorted.members {
        if let Some(membership) = joined {
            lanes::record_member(&mut transaction, &lane.lease.lane, &membership).await?;
            applied.members.push((instance, Some(membership.identity)));
        } else {
            lanes::forget_members(&mut transaction, &lane.lease.lane, &[instance]).await?;
            applied.members.push((instance, None));
        }
    }
    applied.wishes = wishes::record(&mut transaction, &sorted.optouts).await?;
    if let Some(known) = complete_as_of.and_then(|asked| lane.parked.caught_up(asked, Instant::now())) {
        lanes::set_caught_up(&mut transaction, &lane.lease, known.ago, known.parked).await?;
    }
    commit(transaction).await?;
    Ok(applied)
}

fn sort(entries: &[OutcomeEntry]) -> Sorted<'_> {
    let mut sorted = Sorted::default();
    for entry in entries {
        match &entry.outcome {
            Outcome::Message(outcome) => {
                let position = (outcome.key.campaign, outcome.key.seq.0);
                sorted.messages.entry(position).or_default().push(outcome);
            }
            Outcome::Join {
                instance,
                identity,
                concurrency,
            } => {
                let membership = LaneMembership {
                    instance: *instance,
                    identity: identity.clone(),
                    concurrency: i32::try_from(*concurrency).unwrap_or(i32::MAX),
                    joined_ago: std::time::Duration::ZERO,
                };
                sorted.members.push((*instance, Some(membership)));
            }
            Outcome::Left { instance } => sorted.members.push((*instance, None)),
            Outcome::Trouble(trouble) => sorted.troubles.push(trouble),
            Outcome::OptOut(optout) => sorted.optouts.push(optout.clone()),
        }
    }
    sorted
}

/// What was told of messages: their rows, and what follows. Returns who stopped marketing.
async fn apply_messages(
    lane: &Lane,
    connection: &mut Connection,
    told: &Told<'_>,
    applied: &mut Applied,
) -> Result<Vec<OptOut>, LaneError> {
    let prices = budget::price_list(&mut *connection).await?;
    let follows = rows::apply(lane, &mut *connection, told, &prices).await?;
    if lane.limited_portfolio().is_some() {
        messaging_limits::accepted(&mut *connection, &follows.counted.accepted).await?;
        let window = lane.sender.messaging_limit_window;
        messaging_limits::unsent(connection, &follows.counted.unsent, window).await?;
    }
    applied.events = follows.events;
    applied.strays = follows.strays;
    applied.ends = follows.ends;
    applied.over_budget = follows.over_budget;
    Ok(follows.stopped)
}

async fn hold(lane: &Lane, connection: &mut Connection, trouble: &Trouble) -> Result<(), LaneError> {
    let reason = format!("{}: {}", trouble.error.code, trouble.error.text);
    let raised = match trouble.scope {
        TroubleScope::Lane => {
            holds::raise_lane(
                connection,
                &lane.lease.lane,
                trouble.hold,
                &reason,
                "message-svc",
                None,
            )
            .await?
        }
        TroubleScope::Account => {
            let lane = &lane.lease.lane;
            holds::raise_account(connection, lane, trouble.hold, &reason, "message-svc").await?
        }
        TroubleScope::Campaign(campaign) => {
            holds::raise_campaign(connection, campaign, trouble.hold, &reason, "message-svc", None).await?
        }
    };
    if raised {
        tracing::error!(scope = ?trouble.scope, kind = %trouble.hold, reason, "sending is held");
    }
    Ok(())
}

/// An outcome reduced to its key and state, for one whose contents Postgres refuses.
pub(crate) fn stripped(entry: &OutcomeEntry) -> OutcomeEntry {
    let outcome = match &entry.outcome {
        Outcome::Message(outcome) => Outcome::Message(MessageOutcome {
            skip: outcome.skip,
            suppress: outcome.suppress,
            ..MessageOutcome::new(outcome.key, outcome.state, Utc::now(), outcome.source)
        }),
        Outcome::Trouble(trouble) => Outcome::Trouble(Trouble {
            error: ErrorNote::new("unreadable", "see the dead letters"),
            ..trouble.clone()
        }),
        other => other.clone(),
    };
    OutcomeEntry {
        outcome,
        trace: String::new(),
        ..*entry
    }
}

/// Holds the campaigns whose last messages ended in too many errors, or whose budget is spent.
pub(crate) async fn break_off(lane: &Lane, over_budget: &[CampaignId]) -> Result<(), LaneError> {
    for campaign in over_budget {
        budget::hold(lane, *campaign).await?;
    }
    for (campaign, reason) in lane.shares.over() {
        let mut transaction = lane.begin().await?;
        holds::raise_campaign(
            &mut transaction,
            campaign,
            HoldKind::Errors,
            &reason,
            "sender-svc",
            None,
        )
        .await?;
        commit(transaction).await?;
        lane.shares.held(campaign);
        lane.look.notify_one();
        metrics::counter!("breaker_trips_total").increment(1);
        tracing::error!(campaign_id = %campaign, reason, "the campaign is held because of errors");
    }
    Ok(())
}

/// The hold that a contradiction between Postgres and Redis calls for.
pub(crate) async fn hold_contradiction(lane: &Lane, reason: &str) -> Result<(), LaneError> {
    let mut transaction = lane.begin().await?;
    holds::raise_lane(
        &mut transaction,
        &lane.lease.lane,
        HoldKind::Contradiction,
        reason,
        "sender-svc",
        None,
    )
    .await?;
    commit(transaction).await?;
    Ok(())
}

/// The end of the grace of what becomes uncertain now.
pub(crate) fn grace_over(lane: &Lane) -> DateTime<Utc> {
    Utc::now() + lane.sender.grace
}
