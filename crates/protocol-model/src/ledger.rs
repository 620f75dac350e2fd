//! One campaign in Postgres: its rows, its counters, and what each transaction does to them.
//!
//! The functions follow `campaign-store/src/{messages,rounds,dispatches}.rs` name by name. How a row takes in
//! an event is not modelled: it is [`MessageRow::apply`] of `campaign-core`, the engine's own.

use crate::flaw::Flaw;
use crate::ids::{EntryId, GRACE, Time};
use crate::redis::MessageOutcome;
use campaign_core::campaign::{CampaignStatus, OnUncertain};
use campaign_core::ids::{Generation, Seq};
use campaign_core::message::{MessageRow, MessageState, Report};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// Where the rows of a round come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Audience,
    Again,
}

/// Why a row goes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Deferred,
    Uncertain,
    Asked,
}

/// A row that may go again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Again {
    pub(crate) due: Time,
    pub(crate) why: Why,
    pub(crate) round: Option<Generation>,
}

/// How far the campaign is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatch {
    pub(crate) cursor: usize,
    pub(crate) audience_complete: bool,
    pub(crate) generation: Generation,
    pub(crate) pass: Pass,
    pub(crate) round_start: Seq,
    pub(crate) enqueued: Seq,
    pub(crate) control_applied: u64,
}

/// A row of `messages`.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) phone: usize,
    pub(crate) stored: MessageRow,
    /// When it was last sent again by itself although nobody knew what became of it.
    pub(crate) resent_at: Option<Time>,
}

/// A campaign.
#[derive(Debug)]
pub(crate) struct CampaignRows {
    pub(crate) status: CampaignStatus,
    pub(crate) on_uncertain: OnUncertain,
    pub(crate) held: bool,
    pub(crate) control_version: u64,
    /// Since when the lane follows a hold or a cancel that stands.
    pub(crate) hold_applied_at: Option<Time>,
    pub(crate) finished: bool,
    /// Requests to send the failed ones again that wait.
    pub(crate) requests: u32,
    pub(crate) dispatch: Dispatch,
    pub(crate) rows: BTreeMap<Seq, Row>,
    pub(crate) again: BTreeMap<Seq, Again>,
    pub(crate) counters: BTreeMap<MessageState, i64>,
    /// The phones that the ERP names, page by page; a phone may come twice.
    pub(crate) pages: Vec<Vec<usize>>,
}

pub(crate) fn instant(at: Time) -> DateTime<Utc> {
    DateTime::from_timestamp(at as i64, 0).unwrap_or_default()
}

fn new_row() -> MessageRow {
    MessageRow {
        state: MessageState::Pending,
        generation: Generation(1),
        attempts: 0,
        wamid: None,
        wa_id: None,
        error_code: None,
        error_text: None,
        settled_at: None,
        accepted_at: None,
        sent_at: None,
        delivered_at: None,
        read_at: None,
    }
}

impl CampaignRows {
    pub(crate) fn new(pages: Vec<Vec<usize>>, on_uncertain: OnUncertain) -> Self {
        Self {
            status: CampaignStatus::Sending,
            on_uncertain,
            held: false,
            control_version: 0,
            hold_applied_at: None,
            finished: false,
            requests: 0,
            dispatch: Dispatch {
                cursor: 0,
                audience_complete: pages.is_empty(),
                generation: Generation(1),
                pass: Pass::Audience,
                round_start: Seq(0),
                enqueued: Seq(0),
                control_applied: 0,
            },
            rows: BTreeMap::new(),
            again: BTreeMap::new(),
            counters: BTreeMap::new(),
            pages,
        }
    }

    pub(crate) fn count(&self, state: MessageState) -> i64 {
        self.counters.get(&state).copied().unwrap_or_default()
    }

    /// Whether it must not be sent now.
    pub(crate) fn is_held(&self) -> bool {
        self.held || crate::postgres::is_over(self.status)
    }

    fn unsettled(&self) -> i64 {
        self.count(MessageState::Pending) + self.count(MessageState::Deferred)
    }

    fn moved(&mut self, from: MessageState, to: MessageState) {
        *self.counters.entry(from).or_default() -= 1;
        *self.counters.entry(to).or_default() += 1;
    }

    pub(crate) fn next_again(&self) -> Option<Time> {
        let outside = self.again.values().filter(|again| again.round.is_none());
        outside.map(|again| again.due).min()
    }

    /// Writes one page of the audience, and the cursor behind it. A page that was written already adds nobody.
    pub(crate) fn write_page(&mut self, cursor: usize) {
        if crate::postgres::is_over(self.status) {
            return;
        }
        for phone in self.pages.get(cursor).cloned().unwrap_or_default() {
            if self.rows.values().any(|row| row.phone == phone) {
                continue;
            }
            let seq = Seq(self.rows.len() as i64 + 1);
            let row = Row {
                phone,
                stored: new_row(),
                resent_at: None,
            };
            self.rows.insert(seq, row);
            *self.counters.entry(MessageState::Pending).or_default() += 1;
        }
        self.dispatch.cursor = self.dispatch.cursor.max(cursor + 1);
        self.dispatch.audience_complete = self.dispatch.cursor >= self.pages.len();
    }

    /// Takes in what was reported of one message.
    pub(crate) fn apply(&mut self, outcome: &MessageOutcome, now: Time, flaw: Option<Flaw>) {
        let seq = outcome.key.id.seq;
        let Some(row) = self.rows.get_mut(&seq) else {
            return;
        };
        let before = row.stored.state;
        if flaw == Some(Flaw::BlindLedger) {
            row.stored.state = outcome.state;
        } else {
            row.stored.apply(&Report {
                generation: outcome.key.id.generation,
                state: outcome.state,
                at: instant(outcome.at),
                attempts: outcome.attempts,
                wamid: None,
                wa_id: None,
                error: None,
            });
        }
        let after = row.stored.state;
        if before == after {
            return;
        }
        self.moved(before, after);
        let (due, why) = match after {
            MessageState::Deferred => (outcome.due.unwrap_or(now), Why::Deferred),
            MessageState::Uncertain => (now + GRACE, Why::Uncertain),
            _ => {
                if matches!(before, MessageState::Deferred | MessageState::Uncertain) {
                    self.again.remove(&seq);
                }
                return;
            }
        };
        let round = None;
        self.again.insert(seq, Again { due, why, round });
    }

    fn belongs_to(&self, seq: Seq, generation: Generation, pass: Pass) -> bool {
        pass == Pass::Audience
            || self
                .again
                .get(&seq)
                .is_some_and(|again| again.round == Some(generation))
    }

    /// The next `limit` pending rows of a round behind `after`.
    pub(crate) fn next_to_feed(&self, round: Generation, pass: Pass, after: Seq, limit: usize) -> Vec<Seq> {
        let pending = self
            .rows
            .iter()
            .filter(|(seq, row)| **seq > after && row.stored.state == MessageState::Pending);
        let of_round = pending.filter(|(seq, _)| self.belongs_to(**seq, round, pass));
        of_round.map(|(seq, _)| *seq).take(limit).collect()
    }

    pub(crate) fn save_control(&mut self, version: u64, held: bool, now: Time) {
        if self.dispatch.control_applied < version {
            self.dispatch.control_applied = version;
            self.hold_applied_at = held.then_some(now);
        }
    }

    pub(crate) fn save_enqueued(&mut self, last: EntryId) {
        if self.dispatch.generation == last.generation && self.dispatch.enqueued < last.seq {
            self.dispatch.enqueued = last.seq;
        }
    }

    fn fed_pending(&self, up_to: Seq) -> Vec<Seq> {
        let Dispatch { generation, pass, .. } = self.dispatch;
        let mut fed = self.next_to_feed(generation, pass, Seq(0), usize::MAX);
        fed.retain(|seq| *seq <= up_to);
        fed
    }

    fn set_state(&mut self, seq: Seq, state: MessageState) {
        if let Some(row) = self.rows.get_mut(&seq) {
            let before = row.stored.state;
            row.stored.state = state;
            self.moved(before, state);
        }
    }

    fn mark_uncertain(&mut self, seqs: &[Seq], now: Time) {
        for &seq in seqs {
            self.set_state(seq, MessageState::Uncertain);
            let (due, why, round) = (now + GRACE, Why::Uncertain, None);
            self.again.insert(seq, Again { due, why, round });
        }
    }

    /// Ends the round, and begins the next if any row was due at `as_of`. Returns how many rows it has.
    pub(crate) fn close_round(&mut self, now: Time, as_of: Time) -> usize {
        if self.unsettled() > 0 {
            let lost = self.fed_pending(self.dispatch.enqueued);
            self.mark_uncertain(&lost, now);
        }
        self.again.retain(|_, again| again.round.is_none());
        let resend = self.on_uncertain == OnUncertain::Resend && self.webhooks_are_complete(as_of);
        self.open_next(as_of, resend)
    }

    /// Some statuses came, and nothing that was accepted longer ago than the grace is without one.
    fn webhooks_are_complete(&self, now: Time) -> bool {
        let until = instant(now.saturating_sub(GRACE));
        let reported = [
            MessageState::Sent,
            MessageState::Undelivered,
            MessageState::Delivered,
            MessageState::Read,
        ];
        let silent = self.rows.values().any(|row| {
            row.stored.state == MessageState::Accepted && row.stored.accepted_at.is_some_and(|at| at < until)
        });
        !silent && reported.iter().any(|state| self.count(*state) > 0)
    }

    /// Moves rows that are due into the next round.
    pub(crate) fn open_next(&mut self, now: Time, resend_uncertain: bool) -> usize {
        let next = Generation(self.dispatch.generation.0 + 1);
        let due: Vec<Seq> = self
            .again
            .iter()
            .filter(|(_, again)| again.round.is_none() && again.due <= now)
            .filter(|(_, again)| resend_uncertain || again.why != Why::Uncertain)
            .map(|(seq, _)| *seq)
            .collect();
        let mut reopened = 0;
        for seq in due {
            let Some(row) = self.rows.get_mut(&seq) else {
                continue;
            };
            if !row.stored.state.may_reopen() {
                self.again.remove(&seq);
                continue;
            }
            if row.stored.state == MessageState::Uncertain {
                row.resent_at = Some(now);
            }
            row.stored.generation = next;
            row.stored.settled_at = None;
            self.set_state(seq, MessageState::Pending);
            if let Some(again) = self.again.get_mut(&seq) {
                again.round = Some(next);
            }
            reopened += 1;
        }
        if reopened > 0 {
            self.begin_round(next, Pass::Again, Seq(0));
        }
        reopened
    }

    fn begin_round(&mut self, generation: Generation, pass: Pass, start: Seq) {
        self.dispatch.generation = generation;
        self.dispatch.pass = pass;
        self.dispatch.round_start = start;
        self.dispatch.enqueued = start;
    }

    /// Begins the round anew after its lane was lost: fed rows without an outcome become uncertain if a member
    /// vanished that may have sent them, and go in a new round otherwise.
    pub(crate) fn rebuild(&mut self, maybe_sent: bool, unsaved: usize, now: Time) {
        let Dispatch {
            generation,
            pass,
            enqueued,
            round_start,
            ..
        } = self.dispatch;
        let fed_up_to = if maybe_sent {
            let next = self.next_to_feed(generation, pass, enqueued, unsaved);
            next.last().copied().unwrap_or(enqueued)
        } else {
            enqueued
        };
        if fed_up_to == round_start {
            return;
        }
        let next = Generation(generation.0 + 1);
        let fed = self.fed_pending(fed_up_to);
        let (sent, unsent) = if maybe_sent {
            (fed, Vec::new())
        } else {
            (Vec::new(), fed)
        };
        for seq in &unsent {
            if let Some(row) = self.rows.get_mut(seq) {
                row.stored.generation = next;
            }
        }
        let resume_after = unsent.first().map_or(fed_up_to, |seq| Seq(seq.0 - 1));
        for again in self
            .again
            .values_mut()
            .filter(|again| again.round == Some(generation))
        {
            again.round = Some(next);
        }
        self.begin_round(next, pass, resume_after);
        self.mark_uncertain(&sent, now);
    }

    /// Cancels what is unsettled.
    pub(crate) fn sweep(&mut self) {
        let unsettled =
            |row: &Row| matches!(row.stored.state, MessageState::Pending | MessageState::Deferred);
        let seqs: Vec<Seq> = self
            .rows
            .iter()
            .filter_map(|(seq, row)| unsettled(row).then_some(*seq))
            .collect();
        for seq in seqs {
            self.set_state(seq, MessageState::Cancelled);
            self.again.remove(&seq);
        }
    }

    /// Finishes the campaign if nothing waits any more.
    pub(crate) fn finish(&mut self, now: Time) -> bool {
        if crate::postgres::is_over(self.status) {
            self.again
                .retain(|_, again| again.round.is_none() && again.why == Why::Uncertain);
        }
        self.again
            .retain(|_, again| again.why != Why::Uncertain || again.round.is_some() || again.due > now);
        if self.again.is_empty() && self.unsettled() == 0 {
            self.finished = true;
        }
        self.finished
    }

    /// A person asked to send the failed ones again.
    pub(crate) fn apply_request(&mut self, now: Time) {
        self.requests -= 1;
        if !crate::postgres::is_over(self.status) {
            let failed = self
                .rows
                .iter()
                .filter(|(_, row)| row.stored.state == MessageState::Failed);
            for seq in failed.map(|(seq, _)| *seq).collect::<Vec<_>>() {
                let (due, why, round) = (now, Why::Asked, None);
                self.again.insert(seq, Again { due, why, round });
            }
        }
        if self.finished && self.open_next(now, false) > 0 {
            self.finished = false;
        }
    }
}
