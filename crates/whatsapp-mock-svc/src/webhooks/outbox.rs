//! What is still to be told, in the order it falls due.
//!
//! Each stage of a message's life has one queue with one delay, so each queue is in order by itself and
//! taking what is due costs nothing. A message is in one queue at a time, with its names shared: under 100
//! bytes, whatever its JSON will be. When [`MAX_PENDING`] are waiting (the webhook's endpoint is down, or
//! too slow), further messages are still accepted but get no statuses, and are counted as dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use super::{InboundRequest, Notice, WebhookSettings};
use crate::callback::Callback;
use crate::pricing::Price;
use crate::randomness::Lot;

/// Most messages that wait for a status: about 50 MB.
pub const MAX_PENDING: usize = 500_000;
/// Most messages of people that wait, and most notices.
pub const MAX_INBOUND: usize = 10_000;
/// How long a status waits for others to fill its batch.
const MAX_LINGER_US: u64 = 50_000;
/// Statuses that are ready at a time, in batches: what shuffling mixes.
const READY_BATCHES: usize = 4;

/// An accepted message, as its statuses need it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) phone_number_id: Arc<str>,
    pub(crate) wa_id: u64,
    pub(crate) callback: Callback,
    pub(crate) lot: Lot,
    pub(crate) price: Price,
}

/// How far a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StatusKind {
    Sent,
    Delivered,
    Read,
    Failed,
}

/// One status, ready to be told.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) message: Message,
    pub(crate) serial: u64,
    pub(crate) status: StatusKind,
    pub(crate) at_s: u64,
}

/// What goes out in one body.
#[derive(Debug)]
pub(crate) enum Batch {
    Statuses(Vec<Event>),
    /// With the wamid of each.
    Inbound(Vec<(String, InboundRequest)>),
    /// What happened to accounts, numbers and templates, and when.
    Notices(Vec<(u64, Notice)>),
}

#[derive(Debug)]
struct Pending {
    due_us: u64,
    event: Event,
}

/// What is still to be told.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// Waiting for `sent`, `delivered` (or `failed`), `read`.
    stages: [VecDeque<Pending>; 3],
    late: VecDeque<Pending>,
    ready: VecDeque<Event>,
    ready_since_us: u64,
    inbound: VecDeque<(String, InboundRequest)>,
    notices: VecDeque<(u64, Notice)>,
    next_serial: u64,
    delivering: usize,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    dropped: u64,
    lost: u64,
    repeated: u64,
    late: u64,
}

/// What waits, and what was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct OutboxReport {
    /// Messages that wait for their next status.
    pub pending: usize,
    /// Statuses that wait for a free delivery.
    pub ready: usize,
    /// Messages of people that wait.
    pub inbound: usize,
    /// Notices that wait.
    pub notices: usize,
    /// Bodies under way, those that wait to be sent again included. When this and all above are 0,
    /// everything was told.
    pub delivering: usize,
    /// Messages that got no statuses because too many were waiting.
    pub dropped: u64,
    /// Statuses left out as configured.
    pub lost: u64,
    /// Statuses told twice as configured.
    pub repeated: u64,
    /// Statuses told late as configured.
    pub late: u64,
}

impl Outbox {
    /// An empty outbox whose message ids count up from `first_serial`.
    pub(crate) fn new(first_serial: u64) -> Self {
        Self {
            stages: Default::default(),
            late: VecDeque::new(),
            ready: VecDeque::new(),
            ready_since_us: 0,
            inbound: VecDeque::new(),
            notices: VecDeque::new(),
            next_serial: first_serial,
            delivering: 0,
            counts: Counts::default(),
        }
    }

    /// Gives a message its id, and plans its statuses.
    pub(crate) fn accept(&mut self, settings: &WebhookSettings, message: Message, now_us: u64) -> String {
        let serial = self.serial();
        if !settings.is_on() {
            return wamid(serial);
        }
        if self.pending() >= MAX_PENDING {
            self.counts.dropped += 1;
            return wamid(serial);
        }
        let event = Event {
            message,
            serial,
            status: StatusKind::Sent,
            at_s: 0,
        };
        let due_us = now_us + settings.sent_ms * 1_000;
        self.stages[0].push_back(Pending { due_us, event });
        wamid(serial)
    }

    /// Plans a person's message; `None` if too many wait.
    pub(crate) fn accept_inbound(&mut self, request: InboundRequest) -> Option<String> {
        if self.inbound.len() >= MAX_INBOUND {
            return None;
        }
        let wamid = wamid(self.serial());
        self.inbound.push_back((wamid.clone(), request));
        Some(wamid)
    }

    /// Plans a notice; whether there was room.
    pub(crate) fn accept_notice(&mut self, notice: Notice, now_us: u64) -> bool {
        if self.notices.len() >= MAX_INBOUND {
            return false;
        }
        self.notices.push_back((now_us / 1_000_000, notice));
        true
    }

    /// The next body, if one is due; [`Outbox::delivered`] says when it needs no further delivery.
    pub(crate) fn next_batch(&mut self, settings: &WebhookSettings, now_us: u64) -> Option<Batch> {
        let batch = self.due_batch(settings, now_us);
        self.delivering += usize::from(batch.is_some());
        batch
    }

    /// One body was delivered, or given up.
    pub(crate) fn delivered(&mut self) {
        self.delivering -= 1;
    }

    fn due_batch(&mut self, settings: &WebhookSettings, now_us: u64) -> Option<Batch> {
        if !settings.is_on() {
            return None;
        }
        if !self.inbound.is_empty() {
            let count = self.inbound.len().min(settings.batch_size);
            return Some(Batch::Inbound(self.inbound.drain(..count).collect()));
        }
        if !self.notices.is_empty() {
            let count = self.notices.len().min(settings.batch_size);
            return Some(Batch::Notices(self.notices.drain(..count).collect()));
        }
        self.advance(settings, now_us);
        let full = self.ready.len() >= settings.batch_size;
        if self.ready.is_empty() || !(full || now_us >= self.ready_since_us + MAX_LINGER_US) {
            return None;
        }
        let count = self.ready.len().min(settings.batch_size);
        if settings.shuffle {
            self.shuffle(count);
        }
        let events = self.ready.drain(..count).collect();
        self.ready_since_us = now_us;
        Some(Batch::Statuses(events))
    }

    pub(crate) fn report(&self) -> OutboxReport {
        OutboxReport {
            pending: self.pending(),
            ready: self.ready.len(),
            inbound: self.inbound.len(),
            notices: self.notices.len(),
            delivering: self.delivering,
            dropped: self.counts.dropped,
            lost: self.counts.lost,
            repeated: self.counts.repeated,
            late: self.counts.late,
        }
    }

    /// Forgets what waits, and the counts.
    pub(crate) fn forget(&mut self) {
        *self = Self {
            delivering: self.delivering,
            ..Self::new(self.next_serial)
        };
    }

    /// Makes ready what is due, up to a few batches: what is not taken stays small.
    fn advance(&mut self, settings: &WebhookSettings, now_us: u64) {
        let enough = settings.batch_size * READY_BATCHES;
        while self.ready.len() < enough {
            let Some(late) = pop_due(&mut self.late, now_us) else {
                break;
            };
            self.make_ready(late.event, now_us);
        }
        for stage in 0..self.stages.len() {
            while self.ready.len() < enough {
                let Some(due) = pop_due(&mut self.stages[stage], now_us) else {
                    break;
                };
                self.emit(settings, stage, due.event, now_us);
            }
        }
    }

    /// Tells one status, as the settings have it, and plans the next.
    fn emit(&mut self, settings: &WebhookSettings, stage: usize, mut event: Event, now_us: u64) {
        const FAIL: u64 = 10;
        const READ: u64 = 11;
        let lot = event.message.lot;
        let fails = lot.again(FAIL).unit() < settings.fail_share;
        let (status, next_delay_ms) = match stage {
            0 => (StatusKind::Sent, Some(settings.delivered_ms)),
            1 if fails => (StatusKind::Failed, None),
            1 => {
                let is_read = lot.again(READ).unit() < settings.read_share;
                (StatusKind::Delivered, is_read.then_some(settings.read_ms))
            }
            _ => (StatusKind::Read, None),
        };
        if let Some(delay_ms) = next_delay_ms {
            let due_us = now_us + delay_ms * 1_000;
            let event = event.clone();
            self.stages[stage + 1].push_back(Pending { due_us, event });
        }
        event.status = status;
        event.at_s = now_us / 1_000_000;
        self.let_chance_play(settings, stage as u64, event, now_us);
    }

    fn let_chance_play(&mut self, settings: &WebhookSettings, stage: u64, event: Event, now_us: u64) {
        const LOST: u64 = 20;
        const REPEATED: u64 = 30;
        const LATE: u64 = 40;
        let lot = event.message.lot;
        let happens = |purpose: u64, share: f64| lot.again(purpose + stage).unit() < share;
        if happens(LOST, settings.lost_share) {
            self.counts.lost += 1;
            return;
        }
        if happens(REPEATED, settings.repeat_share) {
            self.counts.repeated += 1;
            self.make_ready(event.clone(), now_us);
        }
        if happens(LATE, settings.late_share) {
            self.counts.late += 1;
            let due_us = now_us + settings.late_ms * 1_000;
            self.late.push_back(Pending { due_us, event });
        } else {
            self.make_ready(event, now_us);
        }
    }

    fn make_ready(&mut self, event: Event, now_us: u64) {
        if self.ready.is_empty() {
            self.ready_since_us = now_us;
        }
        self.ready.push_back(event);
    }

    /// Brings a random choice of what is ready to the front (Fisher and Yates, as far as needed).
    fn shuffle(&mut self, count: usize) {
        const SHUFFLE: u64 = 50;
        for front in 0..count {
            let event = &self.ready[front];
            let lot = event.message.lot.again(SHUFFLE + event.status as u64);
            let chosen = front + lot.below((self.ready.len() - front) as u64) as usize;
            self.ready.swap(front, chosen);
        }
    }

    fn pending(&self) -> usize {
        self.stages.iter().map(VecDeque::len).sum::<usize>() + self.late.len()
    }

    fn serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }
}

/// Takes the front if it is due. A delay that was shortened meanwhile waits behind those before it.
fn pop_due(queue: &mut VecDeque<Pending>, now_us: u64) -> Option<Pending> {
    if queue.front()?.due_us > now_us {
        return None;
    }
    queue.pop_front()
}

/// The id of a message, of the length and alphabet of real ones.
pub(crate) fn wamid(serial: u64) -> String {
    format!("wamid.HBgNMOCK{serial:020X}AA==")
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
