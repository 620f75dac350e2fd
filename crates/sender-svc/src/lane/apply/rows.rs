//! The rows that a batch of outcomes concerns, of all its campaigns: locked, changed and counted together, so that the
//! statements of a batch are as many for twenty campaigns as for one.

use super::super::Lane;
use super::super::error_share::End;
use super::budget;
use crate::lane::error::LaneError;
use campaign_core::contracts::{MessageEvent, MessageOutcome, OptOut, OutcomeSource};
use campaign_core::cost::{Charge, PriceList};
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
use campaign_store::costs::{CostDelta, Terms};
use campaign_store::counters::CounterDelta;
use campaign_store::messages::{self, LockedRow, Position};
use campaign_store::rounds::{self, Again, Why};
use campaign_store::{Connection, StoreError, costs, counters};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// Most strays that one batch sets aside: enough to see what comes.
const STRAYS_MAX: usize = 20;

/// What was told, by message.
pub(super) type Told<'a> = BTreeMap<Position, Vec<&'a MessageOutcome>>;

/// What follows from a batch besides what is written to its rows and counters.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) events: Vec<MessageEvent>,
    pub(super) strays: Vec<MessageOutcome>,
    pub(super) ends: BTreeMap<CampaignId, Vec<(i64, End)>>,
    pub(super) over_budget: Vec<CampaignId>,
    /// People who stopped marketing, by the messages that failed for it: the webhook need not name them.
    pub(super) stopped: Vec<OptOut>,
    pub(super) counted: Counted,
}

/// What a batch means for the portfolio's messaging limit.
#[derive(Default)]
pub(super) struct Counted {
    /// Accepted, or possibly.
    pub(super) accepted: Vec<Position>,
    /// Known not to be, and not to be sent.
    pub(super) unsent: Vec<Position>,
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

/// What a batch writes.
#[derive(Default)]
struct Changes {
    rows: Vec<LockedRow>,
    again: Vec<Again>,
    no_longer: Vec<Position>,
    costs: BTreeMap<CampaignId, CostDelta>,
    counters: BTreeMap<CampaignId, CounterDelta>,
}

/// Applies what was told to the rows: lock, apply, write back, note what goes again, count. Everything by campaign and
/// seq, messages before `again` before counters, so that two batches cannot wait for each other.
pub(super) async fn apply(
    lane: &Lane,
    connection: &mut Connection,
    told: &Told<'_>,
    prices: &PriceList,
) -> Result<Outcomes, LaneError> {
    let mut follows = Outcomes::default();
    let positions: Vec<Position> = told.keys().copied().collect();
    let locked = messages::lock_all(&mut *connection, &positions).await?;
    if locked.len() < told.len() {
        set_aside_unknown(told, &locked, &mut follows.strays);
    }
    // Of what is left, or perhaps not even the campaign is known.
    let mut campaigns: Vec<CampaignId> = locked.iter().map(|row| row.campaign).collect();
    campaigns.dedup();
    let terms = costs::terms_of(&mut *connection, &campaigns).await?;
    let grace_over = Utc::now() + lane.sender.grace;
    let mut changes = Changes::default();
    for row in locked {
        let outcomes = told.get(&row.position()).map(Vec::as_slice).unwrap_or_default();
        let terms = terms.get(&row.campaign).expect("the terms of every campaign");
        follows.stopped.extend(stopped(&row, outcomes)?);
        change(
            row,
            outcomes,
            (prices, terms),
            grace_over,
            &mut changes,
            &mut follows,
        );
    }
    messages::update(&mut *connection, &changes.rows).await?;
    rounds::note(&mut *connection, &changes.again).await?;
    rounds::forget(&mut *connection, &changes.no_longer).await?;
    costs::apply(&mut *connection, &changes.costs).await?;
    follows.over_budget = budget::all_over(&mut *connection, &terms, prices).await?;
    let deltas: Vec<_> = changes.counters.iter().map(|(id, delta)| (*id, delta)).collect();
    counters::apply_all(connection, &deltas).await?;
    Ok(follows)
}

/// What the outcomes of one message make of its row.
fn change(
    mut row: LockedRow,
    outcomes: &[&MessageOutcome],
    (prices, terms): (&PriceList, &Terms),
    grace_over: DateTime<Utc>,
    changes: &mut Changes,
    follows: &mut Outcomes,
) {
    let (campaign, before) = (row.campaign, row.row.clone());
    let mut any_change = false;
    for outcome in outcomes {
        any_change |= row.row.apply(&outcome.report());
    }
    let cost = changes.costs.entry(campaign).or_default();
    any_change |= charge(&mut row, outcomes, prices, terms, cost);
    let after = row.row.state;
    // One that was applied before, in a batch whose events may not have been told, is told again.
    if outcomes.iter().any(|outcome| outcome.state == after) {
        follows.events.push(event(&row, outcomes));
    }
    let ends = follows.ends.entry(campaign).or_default();
    if !any_change {
        return;
    }
    let counted = changes.counters.entry(campaign).or_default();
    messages::count_change(counted, &before, &row.row);
    if before.state != after {
        ends.extend(end(&row, before.state).map(|end| (row.seq.0, end)));
        metrics::counter!("ledger_transitions_total", "state" => after.as_str()).increment(1);
        follows.counted.moved(row.position(), before.state, after);
        match note(&row, outcomes, grace_over) {
            Some(noted) => changes.again.push(noted),
            None if matches!(before.state, MessageState::Deferred | MessageState::Uncertain) => {
                changes.no_longer.push(row.position());
            }
            None => {}
        }
    }
    changes.rows.push(row);
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
fn note(row: &LockedRow, outcomes: &[&MessageOutcome], grace_over: DateTime<Utc>) -> Option<Again> {
    let again = |due, why| Again {
        campaign: row.campaign,
        seq: row.seq,
        due,
        why,
    };
    match row.row.state {
        MessageState::Deferred => {
            let due = outcomes.iter().filter_map(|outcome| outcome.due).max();
            Some(again(due.unwrap_or_else(Utc::now), Why::Deferred))
        }
        MessageState::Uncertain => Some(again(grace_over, Why::Uncertain)),
        _ => None,
    }
}

fn event(row: &LockedRow, outcomes: &[&MessageOutcome]) -> MessageEvent {
    let reported = outcomes
        .iter()
        .filter(|outcome| outcome.state == row.row.state)
        .map(|outcome| outcome.at)
        .min();
    MessageEvent {
        campaign: row.campaign,
        seq: row.seq,
        customer_id: row.customer_id.clone(),
        state: row.row.state,
        at: reported.unwrap_or_else(Utc::now),
        error_code: row.row.error_code.clone(),
    }
}

/// A webhook about no row: of a campaign that is gone, or of another installation on the same number. What a send
/// of ours says of a lost row is in the log.
fn set_aside_unknown(told: &Told<'_>, known: &[LockedRow], strays: &mut Vec<MessageOutcome>) {
    let mut by_campaign: BTreeMap<CampaignId, u64> = BTreeMap::new();
    for (position, outcomes) in told {
        if known.binary_search_by_key(position, LockedRow::position).is_ok() {
            continue;
        }
        *by_campaign.entry(position.0).or_default() += 1;
        let webhooks = outcomes
            .iter()
            .filter(|outcome| outcome.source == OutcomeSource::Webhook);
        let room = STRAYS_MAX.saturating_sub(strays.len());
        strays.extend(webhooks.take(room).map(|outcome| (*outcome).clone()));
    }
    for (campaign, unknown) in by_campaign {
        tracing::warn!(campaign_id = %campaign, unknown, "outcomes of messages that the ledger does not have");
        metrics::counter!("ledger_unknown_messages_total").increment(unknown);
    }
}

/// Whether the recipient of a message stopped marketing, as its failure says.
fn stopped(row: &LockedRow, outcomes: &[&MessageOutcome]) -> Result<Option<OptOut>, StoreError> {
    let told = outcomes.iter().find(|outcome| outcome.suppress);
    let (Some(outcome), Some(phone)) = (told, &row.phone) else {
        return Ok(None);
    };
    let code = outcome.error.as_ref().map_or("unknown", |error| &error.code);
    let phone = phone.parse().map_err(|_| StoreError::Unreadable {
        column: "phone",
        found: phone.clone(),
    })?;
    Ok(Some(OptOut {
        phone,
        stop: true,
        source: format!("error_{code}"),
        at: outcome.at,
    }))
}
