//! One batch of outcomes, in one transaction.

use super::Lane;
use super::error_share::End;
use crate::lane::error::LaneError;
use crate::wishes::{self, Wishes};
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{
    ErrorNote, MessageEvent, MessageOutcome, OptOut, Outcome, OutcomeSource, Trouble, TroubleScope,
};
use campaign_core::cost::{Charge, PriceList};
use campaign_core::ids::{CampaignId, InstanceId, Seq};
use campaign_core::message::MessageState;
use campaign_store::costs::{CostDelta, Terms};
use campaign_store::counters::CounterDelta;
use campaign_store::lanes::LaneMembership;
use campaign_store::messages::{self, LockedRow};
use campaign_store::messaging_limits::{self, Position};
use campaign_store::rounds::{self, Again, Why};
use campaign_store::{Connection, campaigns, commit, costs, counters, holds, lanes};
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
    /// How messages ended, by campaign.
    pub(crate) ends: Vec<(CampaignId, Vec<(i64, End)>)>,
    /// Campaigns whose budget did not suffice for another message.
    pub(crate) over_budget: Vec<CampaignId>,
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
    for trouble in &sorted.troubles {
        hold(lane, &mut transaction, trouble).await?;
    }
    let prices = prices(&mut transaction, &sorted).await?;
    let mut counted = Counted::default();
    for (campaign, by_seq) in &sorted.messages {
        let also = (&prices, &mut counted);
        apply_messages(lane, &mut transaction, *campaign, by_seq, also, &mut applied).await?;
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
    (prices, counted): (&PriceList, &mut Counted),
    applied: &mut Applied,
) -> Result<(), LaneError> {
    let seqs: Vec<i64> = by_seq.keys().copied().collect();
    let locked = messages::lock(&mut *connection, campaign, &seqs).await?;
    if locked.len() < seqs.len() {
        let unknown = seqs.len() - locked.len();
        tracing::warn!(campaign_id = %campaign, unknown, "outcomes of messages that the ledger does not have");
        metrics::counter!("ledger_unknown_messages_total").increment(unknown as u64);
        set_aside_unknown(by_seq, &locked, &mut applied.strays);
    }
    if locked.is_empty() {
        // Perhaps not even the campaign is known.
        return Ok(());
    }
    let terms = costs::terms(&mut *connection, campaign).await?;
    let mut cost = CostDelta::default();
    let mut changed: Vec<LockedRow> = Vec::with_capacity(locked.len());
    let mut delta = CounterDelta::default();
    let (mut again, mut no_longer, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for mut row in locked {
        let before = row.row.clone();
        let outcomes = by_seq.get(&row.seq.0).map(Vec::as_slice).unwrap_or_default();
        let mut any_change = false;
        for outcome in outcomes {
            any_change |= row.row.apply(&outcome.report());
        }
        any_change |= charge(&mut row, outcomes, prices, &terms, &mut cost);
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
            ends.extend(end(&row, before.state).map(|end| (row.seq.0, end)));
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
    costs::apply(&mut *connection, campaign, &cost).await?;
    if over_budget(&mut *connection, campaign, &terms, prices)
        .await?
        .is_some()
    {
        applied.over_budget.push(campaign);
    }
    counters::apply(connection, campaign, &delta).await?;
    applied.ends.push((campaign, ends));
    Ok(())
}

/// The price list; an empty one prices nothing.
async fn prices(connection: &mut Connection, sorted: &Sorted<'_>) -> Result<PriceList, LaneError> {
    if sorted.messages.is_empty() {
        return Ok(PriceList::default());
    }
    price_list(connection).await
}

async fn price_list(connection: &mut Connection) -> Result<PriceList, LaneError> {
    let list = costs::price_list(connection).await?;
    Ok(list.map(|(list, _)| list).unwrap_or_default())
}

/// Why the campaign's budget does not suffice for another message, if it does not.
async fn over_budget(
    connection: &mut Connection,
    campaign: CampaignId,
    terms: &Terms,
    prices: &PriceList,
) -> Result<Option<String>, LaneError> {
    let Some(budget) = terms.budget else {
        return Ok(None);
    };
    let spent = costs::total(connection, campaign).await?;
    let next = prices.highest(&terms.category).unwrap_or_default();
    let currency = &prices.currency;
    let reason = || format!("{spent} of {budget} {currency} are spent; the next message may cost {next}");
    Ok((spent.0 + next.0 > budget.0).then(reason))
}

/// Counts what a message costs, once it was accepted. Returns whether that changed.
fn charge(
    row: &mut LockedRow,
    outcomes: &[&MessageOutcome],
    prices: &PriceList,
    terms: &Terms,
    delta: &mut CostDelta,
) -> bool {
    let phone = row.phone.as_deref().unwrap_or_default();
    let mut after = row.charge.clone();
    if row.row.state.is_accepted() {
        let mut charge = after.unwrap_or_else(|| Charge::accepted(prices, phone, &terms.category));
        for pricing in outcomes.iter().filter_map(|outcome| outcome.pricing.as_ref()) {
            charge = charge.reported(prices, phone, pricing);
        }
        if row.row.state == MessageState::Undelivered {
            charge = charge.undelivered();
        }
        after = Some(charge);
    }
    let changed = after != row.charge;
    if changed {
        delta.moved(row.charge.as_ref(), after.as_ref());
        row.charge = after;
    }
    changed
}

/// How a message ended, if it did with this change.
fn end(row: &LockedRow, before: MessageState) -> Option<End> {
    match row.row.state {
        MessageState::Failed | MessageState::Undelivered => {
            Some(End::of_error(row.row.error_code.as_deref()))
        }
        accepted if accepted.is_accepted() && !before.is_accepted() => Some(End::Fine),
        _ => None,
    }
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
        outcome,
        trace: String::new(),
        ..*entry
    }
}

/// Holds a campaign whose budget does not suffice for another message. Whoever changes the budget locks the campaign
/// too, so it is judged by the budget that holds now: one that was raised meanwhile must not be held for the old one.
async fn hold_for_budget(lane: &Lane, campaign: CampaignId) -> Result<(), LaneError> {
    let mut transaction = lane.begin().await?;
    campaigns::get_for_update(&mut transaction, campaign).await?;
    let prices = price_list(&mut transaction).await?;
    let terms = costs::terms(&mut transaction, campaign).await?;
    let Some(reason) = over_budget(&mut transaction, campaign, &terms, &prices).await? else {
        return Ok(());
    };
    let kind = HoldKind::Budget;
    let raised = holds::raise_campaign(&mut transaction, campaign, kind, &reason, "sender-svc", None).await?;
    commit(transaction).await?;
    if raised {
        lane.look.notify_one();
        tracing::warn!(campaign_id = %campaign, reason, "the campaign is held because of its budget");
    }
    Ok(())
}

/// Holds the campaigns whose last messages ended in too many errors, or whose budget is spent.
pub(crate) async fn break_off(lane: &Lane, over_budget: &[CampaignId]) -> Result<(), LaneError> {
    for campaign in over_budget {
        hold_for_budget(lane, *campaign).await?;
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
