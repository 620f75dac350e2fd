//! The small names that the model uses for what the engine names with UUIDs, and its clock.

use campaign_core::ids::{Generation, Seq};
use std::fmt;

/// Seconds since the model's world began. All processes, Redis and Postgres read the same clock.
pub(crate) type Time = u64;
/// A campaign, by its position.
pub(crate) type CampaignNo = usize;
/// How often the lane has changed hands.
pub(crate) type Epoch = i64;

/// When a send that was not answered is given up.
pub(crate) const HTTP_TIMEOUT: Time = 10;
/// How long what was taken may be written.
pub(crate) const ENTRY_LEASE: Time = 15;
/// When what was taken and never reported becomes uncertain.
pub(crate) const RECLAIM_IDLE: Time = 30;
/// How long an uncertain message waits for evidence, and a rebuild for its members.
pub(crate) const GRACE: Time = 60;
/// How long an owner keeps the lane without renewing its lease.
pub(crate) const LANE_LEASE: Time = 5;
/// How long a member waits to be admitted until it joins anew.
pub(crate) const JOIN_AGAIN: Time = 2;
/// A member silent for so long is forgotten: five graces.
pub(crate) const MEMBER_SILENT: Time = 5 * GRACE;
/// How often the owner looks after members and leftovers.
pub(crate) const HOUSEKEEPING_EVERY: Time = 2;
/// A short retry: the entry stays in its stream.
pub(crate) const PARKED_WAIT: Time = 4;
/// A long retry: the row goes again in a later round.
pub(crate) const DEFERRED_WAIT: Time = 120;
/// Attempts within one round.
pub(crate) const ATTEMPTS_MAX: i32 = 2;
/// Messages that a member has in flight at most.
pub(crate) const CONCURRENCY: usize = 2;

/// One process, from start to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instance(pub(crate) u32);

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "instance {}", self.0)
    }
}

/// Which Redis this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity(pub(crate) u32);

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Redis #{}", self.0)
    }
}

/// The id of a queued message: round and row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct EntryId {
    pub(crate) generation: Generation,
    pub(crate) seq: Seq,
}

impl EntryId {
    pub(crate) fn new(generation: Generation, seq: Seq) -> Self {
        Self { generation, seq }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.generation, self.seq)
    }
}

/// A message of a campaign, in one of its rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) campaign: CampaignNo,
    pub(crate) id: EntryId,
}

impl Key {
    /// The row, whatever the round.
    pub(crate) fn recipient(self) -> Recipient {
        (self.campaign, self.id.seq)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.campaign, self.id)
    }
}

/// One row of one campaign.
pub(crate) type Recipient = (CampaignNo, Seq);
