//! One webhook's updates, sorted by where they go.

use crate::lanes::{LaneRegistry, Standing};
use crate::measures;
use crate::opt_out_words::OptOutWords;
use crate::webhook_reading::{Aside, Reading, read};
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{
    AccountEvent, DeadLetter, OptOut, Outcome, Trouble, TroubleScope, WEBHOOK_ORIGIN,
};
use campaign_core::ids::LaneId;
use campaign_core::phone::CanonicalPhone;
use campaign_runtime::current_trace_context;
use campaign_streams::Traced;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use whatsapp_api::webhook::{Update, Webhook};

/// Strays that one process keeps in [`STRAYS_WINDOW`]: enough to see what comes, however much comes.
const STRAYS_PER_WINDOW: u32 = 60;
const STRAYS_WINDOW: Duration = Duration::from_mins(1);

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// For the ledger, by lane.
    pub(crate) outcomes: BTreeMap<LaneId, Vec<Outcome>>,
    /// What changed about accounts, for the scheduler.
    pub(crate) account_events: Vec<Traced<AccountEvent>>,
    /// People who stopped, for every lane at once.
    pub(crate) stops: Vec<(CanonicalPhone, bool)>,
    /// Wishes of people whom nobody can name.
    pub(crate) nameless: Vec<DeadLetter>,
    /// Messages that are not known here.
    pub(crate) strays: Vec<DeadLetter>,
    /// Troubles that are told already: a thousand failures of one kind are one.
    troubles: Vec<(LaneId, TroubleScope, HoldKind)>,
}

impl Sorted {
    fn trouble(&mut self, lane: LaneId, trouble: Trouble) {
        let what = (lane, trouble.scope, trouble.hold);
        if !self.troubles.contains(&what) {
            let of_lane = self.outcomes.entry(what.0.clone()).or_default();
            of_lane.push(Outcome::Trouble(trouble));
            self.troubles.push(what);
        }
    }
}

/// No lane has appeared yet to which something could be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoLane;

/// What sorting needs to know.
pub(crate) struct Sorter<'a> {
    pub(crate) lanes: &'a LaneRegistry,
    pub(crate) words: &'a OptOutWords,
    pub(crate) strays: &'a StrayLimit,
    pub(crate) now: DateTime<Utc>,
    pub(crate) instant: Instant,
}

impl Sorter<'_> {
    /// Sorts and counts all updates.
    pub(crate) fn sort(&self, webhook: Webhook) -> Result<Sorted, NoLane> {
        if webhook.unreadable > 0 {
            measures::webhook_unknown("unreadable", webhook.unreadable);
        }
        let mut sorted = Sorted::default();
        for update in webhook.updates {
            self.one(update, &mut sorted)?;
        }
        Ok(sorted)
    }

    fn one(&self, update: Update, sorted: &mut Sorted) -> Result<(), NoLane> {
        let foreign = self.foreign_number(&update)?;
        let Reading {
            kind,
            status,
            trouble,
            opt_out,
            account_event,
            unknown,
            aside,
        } = read(update, self.words, self.now);
        let is_foreign = foreign.is_some();
        measures::webhook_update(kind);
        if let Some(reason) = unknown.or(foreign.as_ref().map(|_| UNKNOWN_NUMBER)) {
            measures::webhook_unknown(reason, 1);
            if let Some(aside) = aside.or(foreign) {
                self.set_aside(reason, aside, sorted);
            }
        } else if let Some((lane, outcome)) = status {
            let of_lane = sorted.outcomes.entry(lane).or_default();
            of_lane.push(Outcome::Message(outcome));
        }
        // Somebody else's message says as much about our number.
        if let Some((lane, trouble)) = trouble.filter(|_| !is_foreign) {
            sorted.trouble(lane, trouble);
        }
        if let Some(event) = account_event {
            sorted
                .account_events
                .push(Traced::new(event, current_trace_context()));
        }
        if let Some((named, opt_out)) = opt_out {
            self.wish(named, opt_out, sorted)?;
        }
        Ok(())
    }

    /// A status of a number that nothing is sent from would lie in a lane that nobody reads.
    fn foreign_number(&self, update: &Update) -> Result<Option<Aside>, NoLane> {
        let Update::Status(status) = update else {
            return Ok(None);
        };
        let Ok(lane) = status.phone_number_id.parse() else {
            return Ok(None);
        };
        match self.lanes.standing(&lane, self.instant) {
            Standing::Ours => Ok(None),
            Standing::Foreign => Ok(Some(Aside::of_status(status, false))),
            Standing::NotYet => Err(NoLane),
        }
    }

    /// A person's wish holds for all lanes, so any that has an owner will do.
    fn wish(&self, named: Option<LaneId>, opt_out: OptOut, sorted: &mut Sorted) -> Result<(), NoLane> {
        let ours = |lane: &LaneId| self.lanes.standing(lane, self.instant) == Standing::Ours;
        let lane = named.filter(ours).or_else(|| self.lanes.any()).ok_or(NoLane)?;
        if opt_out.stop {
            sorted.stops.push((opt_out.phone, true));
        }
        let of_lane = sorted.outcomes.entry(lane).or_default();
        of_lane.push(Outcome::OptOut(opt_out));
        Ok(())
    }

    fn set_aside(&self, reason: &str, aside: Aside, sorted: &mut Sorted) {
        if !aside.is_wish && !self.strays.allow(self.instant) {
            return;
        }
        let explained = match (aside.is_wish, reason) {
            (true, _) => "a person wants no more messages, and the webhook names no phone number",
            (_, UNKNOWN_NUMBER) => "nothing is sent from this number",
            (_, "no_callback_data") => "no callback data: the message was not sent from here",
            _ => "callback data of another sender",
        };
        let letter = DeadLetter {
            stream: WEBHOOK_ORIGIN.to_owned(),
            id: aside.wamid,
            reason: explained.to_owned(),
            fields: aside.fields,
        };
        if aside.is_wish {
            tracing::error!("{explained}; it is among the dead letters");
            sorted.nameless.push(letter);
        } else {
            sorted.strays.push(letter);
        }
    }
}

/// Label of a status from a number that has no lane.
const UNKNOWN_NUMBER: &str = "unknown_number";

/// Lets so many strays through in each window.
#[derive(Debug, Default)]
pub(crate) struct StrayLimit(Mutex<Option<(Instant, u32)>>);

impl StrayLimit {
    /// Whether one more is kept at `now`.
    fn allow(&self, now: Instant) -> bool {
        let mut window = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (since, kept) = match *window {
            Some((since, kept)) if now.saturating_duration_since(since) < STRAYS_WINDOW => (since, kept),
            _ => (now, 0),
        };
        let allowed = kept < STRAYS_PER_WINDOW;
        *window = Some((since, kept + u32::from(allowed)));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strays_is_cut_and_the_next_window_begins_anew() {
        let (limit, start) = (StrayLimit::default(), Instant::now());
        let kept = |after| (0..10_000).filter(|_| limit.allow(start + after)).count();
        assert_eq!(kept(Duration::ZERO), STRAYS_PER_WINDOW as usize);
        assert_eq!(kept(STRAYS_WINDOW / 2), 0);
        assert_eq!(kept(STRAYS_WINDOW), STRAYS_PER_WINDOW as usize);
    }
}
