//! One batch of outcomes, in one transaction.

use super::Lane;
use crate::lane::error::LaneError;
use crate::wishes::{self, Wishes};
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{
    ErrorNote, MessageEvent, MessageOutcome, OptOut, Outcome, OutcomeSource, Trouble, TroubleScope,
};
use campaign_core::ids::{CampaignId, InstanceId, Seq};
use campaign_core::message::MessageState;
use campaign_store::counters::CounterDelta;
use campaign_store::lanes::LaneMembership;
use campaign_store::messages::{self, LockedRow};
use campaign_store::messaging_limits::{self, Position};
use campaign_store::rounds::{self, Again, Why};
use campaign_store::{Connection, commit, counters, holds, lanes};
use campaign_streams::lane::OutcomeEntry;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::time::Instant;

/// Most strays that one batch sets aside: enough to see what comes.
const STRAYS_MAX: usize = 20;

/// What the outside and the lane must hear once the batch is in Postgres.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) events: Vec<MessageEvent>,
    pub(crate) wishes: Wishes,
    /// What webhooks said of messages that the ledger does not have.
    pub(crate) strays: Vec<MessageOutcome>,
    /// Instances to admit (with the identity they joined on) or to remove.
    pub(crate) members: Vec<(InstanceId, Option<String>)>,
}

/// A batch, by what it concerns.
#[derive(Default)]
struct Sorted<'a> {
    messages: BTreeMap<CampaignId, BTreeMap<i64, Vec<&'a MessageOutcome>>>,
    members: Vec<(InstanceId, Option<LaneMembership>)>,
    troubles: Vec<&'a Trouble>,
    optouts: Vec<OptOut>,
}

/// What a batch means for the portfolio's messaging limit.
#[derive(Default)]
struct Counted {
    /// Accepted, or possibly.
    accepted: Vec<Position>,
    /// Known not to be, and not to be sent.
    unsent: Vec<Position>,
}

impl Counted {
    fn moved(&mut self, message: Position, before: MessageState, after: MessageState) {
        use MessageState::{Cancelled, Deferred, Failed, Pending, Skipped, Uncertain};
        if after == Uncertain || after.is_accepted() && !before.is_accepted() {
            self.accepted.push(message);
        } else if matches!(before, Pending | Deferred) && matches!(after, Failed | Skipped | Cancelled) {
            self.unsent.push(message);
        }
    }
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
    for trouble in sorted.troubles {
        hold(lane, &mut transaction, trouble).await?;
    }
    let mut counted = Counted::default();
    for (campaign, by_seq) in &sorted.messages {
        apply_messages(lane, &mut transaction, *campaign, by_seq, &mut applied, &mut counted).await?;
        let stopped = stopped(&mut transaction, *campaign, by_seq).await?;
        sorted.optouts.extend(stopped);
    }
    if lane.limited_portfolio().is_some() {
        messaging_limits::accepted(&mut transaction, &counted.accepted).await?;
        let window = lane.sender.messaging_limit_window;
        messaging_limits::unsent(&mut transaction, &counted.unsent, window).await?;
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
                let campaign = sorted.messages.entry(outcome.key.campaign).or_default();
                campaign.entry(outcome.key.seq.0).or_default().push(outcome);
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

/// The rows of one campaign: lock, apply, write back, note what goes again, count.
async fn apply_messages(
    lane: &Lane,
    connection: &mut Connection,
    campaign: CampaignId,
    by_seq: &BTreeMap<i64, Vec<&MessageOutcome>>,
    applied: &mut Applied,
    counted: &mut Counted,
) -> Result<(), LaneError> {
    let seqs: Vec<i64> = by_seq.keys().copied().collect();
    let locked = messages::lock(&mut *connection, campaign, &seqs).await?;
    if locked.len() < seqs.len() {
        let unknown = seqs.len() - locked.len();
        tracing::warn!(campaign_id = %campaign, unknown, "outcomes of messages that the ledger does not have");
        metrics::counter!("ledger_unknown_messages_total").increment(unknown as u64);
        set_aside_unknown(by_seq, &locked, &mut applied.strays);
    }
    let mut changed: Vec<LockedRow> = Vec::with_capacity(locked.len());
    let mut delta = CounterDelta::default();
    let (mut again, mut no_longer) = (Vec::new(), Vec::new());
    for mut row in locked {
        let before = row.row.clone();
        let outcomes = by_seq.get(&row.seq.0).map(Vec::as_slice).unwrap_or_default();
        let mut any_change = false;
        for outcome in outcomes {
            any_change |= row.row.apply(&outcome.report());
        }
        let after = row.row.state;
        // One that was applied before, in a batch whose events may not have been told, is told again.
        if outcomes.iter().any(|outcome| outcome.state == after) {
            applied.events.push(event(campaign, &row, outcomes));
        }
        if !any_change {
            continue;
        }
        messages::count_change(&mut delta, &before, &row.row);
        if before.state != after {
            metrics::counter!("ledger_transitions_total", "state" => after.as_str()).increment(1);
            counted.moved((campaign, row.seq.0), before.state, after);
            match note(lane, &row, outcomes) {
                Some(noted) => again.push(noted),
                None if matches!(before.state, MessageState::Deferred | MessageState::Uncertain) => {
                    no_longer.push(row.seq.0);
                }
                None => {}
            }
        }
        changed.push(row);
    }
    messages::update(&mut *connection, campaign, &changed).await?;
    rounds::note(&mut *connection, campaign, &again).await?;
    rounds::forget(&mut *connection, campaign, &no_longer).await?;
    counters::apply(connection, campaign, &delta).await?;
    Ok(())
}

/// What must be noted about a row that is not final.
fn note(lane: &Lane, row: &LockedRow, outcomes: &[&MessageOutcome]) -> Option<Again> {
    match row.row.state {
        MessageState::Deferred => {
            let due = outcomes
                .iter()
                .filter_map(|outcome| outcome.due)
                .max()
                .unwrap_or_else(Utc::now);
            Some(Again {
                seq: row.seq,
                due,
                why: Why::Deferred,
            })
        }
        MessageState::Uncertain => Some(Again {
            seq: row.seq,
            due: Utc::now() + lane.sender.grace,
            why: Why::Uncertain,
        }),
        _ => None,
    }
}

fn event(campaign: CampaignId, row: &LockedRow, outcomes: &[&MessageOutcome]) -> MessageEvent {
    let reported = outcomes
        .iter()
        .filter(|outcome| outcome.state == row.row.state)
        .map(|outcome| outcome.at)
        .min();
    MessageEvent {
        campaign,
        seq: row.seq,
        customer_id: row.customer_id.clone(),
        state: row.row.state,
        at: reported.unwrap_or_else(Utc::now),
        error_code: row.row.error_code.clone(),
    }
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

/// A webhook about no row: of a campaign that is gone, or of another installation on the same number. What a send
/// of ours says of a lost row is in the log.
fn set_aside_unknown(
    by_seq: &BTreeMap<i64, Vec<&MessageOutcome>>,
    known: &[LockedRow],
    strays: &mut Vec<MessageOutcome>,
) {
    let unknown = by_seq.iter().filter(|(seq, _)| {
        let found = known.binary_search_by_key(*seq, |row| row.seq.0);
        found.is_err()
    });
    let told = unknown.flat_map(|(_, outcomes)| outcomes);
    let told = told.filter(|outcome| outcome.source == OutcomeSource::Webhook);
    let room = STRAYS_MAX.saturating_sub(strays.len());
    strays.extend(told.take(room).map(|outcome| (*outcome).clone()));
}

/// People who stopped marketing, by the messages that failed for it: the webhook need not name them.
async fn stopped(
    connection: &mut Connection,
    campaign: CampaignId,
    by_seq: &BTreeMap<i64, Vec<&MessageOutcome>>,
) -> Result<Vec<OptOut>, LaneError> {
    let mut stopped = Vec::new();
    for (seq, outcomes) in by_seq {
        let Some(outcome) = outcomes.iter().find(|outcome| outcome.suppress) else {
            continue;
        };
        let code = outcome.error.as_ref().map_or("unknown", |error| &error.code);
        for phone in messages::phones_of(connection, campaign, &[Seq(*seq)]).await? {
            stopped.push(OptOut {
                phone,
                stop: true,
                source: format!("error_{code}"),
                at: outcome.at,
            });
        }
    }
    Ok(stopped)
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
        id: entry.id,
        outcome,
        trace: String::new(),
    }
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
