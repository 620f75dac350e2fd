//! WhatsApp: takes what is written to it, remembers what it took, and reports by webhooks.

use crate::ids::{ENTRY_LEASE, Key, RECLAIM_IDLE, Time};
use campaign_core::message::MessageState;

/// What becomes of one write. The shrunk form of every wish is [`Wire::Accepted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// Accepted, and the answer arrives.
    Accepted,
    /// Accepted, and the answer is lost.
    AcceptedUnheard,
    /// Neither accepted nor answered.
    Swallowed,
    /// Refused for now; goes again from where it lies.
    RefusedForNow,
    /// Refused for long; goes again in a later round.
    RefusedForLong,
    /// Refused for good.
    RefusedForGood,
    /// It never left the process.
    NotSent,
}

impl Wire {
    pub(crate) fn accepts(self) -> bool {
        matches!(self, Self::Accepted | Self::AcceptedUnheard)
    }
}

/// One message that WhatsApp took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Acceptance {
    pub(crate) key: Key,
    pub(crate) at: Time,
    /// When its sender last looked at its lease.
    pub(crate) checked_at: Time,
}

/// A process that stands still for so long between its look at the lease and the write writes too late. The
/// design names this as what remains possible.
pub(crate) const FROZEN_IN_WRITE: Time = RECLAIM_IDLE - ENTRY_LEASE;

impl Acceptance {
    /// Whether it can explain, within what the design admits, that its message was sent again by itself at
    /// `resent_at`: it came before and nobody heard of it, or after because its sender was frozen inside the
    /// write.
    pub(crate) fn came_too_late_for(self, resent_at: Time) -> bool {
        self.at <= resent_at || self.at - self.checked_at >= FROZEN_IN_WRITE
    }
}

/// A status that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Webhook {
    pub(crate) key: Key,
    pub(crate) state: MessageState,
}

#[derive(Debug, Default)]
pub(crate) struct WhatsApp {
    pub(crate) accepted: Vec<Acceptance>,
    pub(crate) webhooks: Vec<Webhook>,
    /// What becomes of the next writes; the ones after are accepted.
    pub(crate) wires: Vec<Wire>,
    pub(crate) writes: usize,
}

impl WhatsApp {
    /// One request reaches WhatsApp, or not.
    pub(crate) fn write(&mut self, key: Key, at: Time, checked_at: Time) -> Wire {
        let wire = self.wires.get(self.writes).copied().unwrap_or(Wire::Accepted);
        self.writes += 1;
        if wire.accepts() {
            self.accepted.push(Acceptance { key, at, checked_at });
            for state in [MessageState::Sent, MessageState::Delivered] {
                self.webhooks.push(Webhook { key, state });
            }
        }
        wire
    }
}
