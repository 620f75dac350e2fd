//! What must hold, and what is said when it does not.

use std::fmt;

/// A promise of the design, in the form in which the model can check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// P1: no step but a fault destroys the last proof that WhatsApp accepted a message, and at the end every
    /// proof that is left is in the ledger.
    EvidenceIsKept,
    /// P1: nothing becomes uncertain that nobody can have sent.
    UncertainForAReason,
    /// P2: one row for each recipient, and each ends in a final state, or uncertain for a person.
    OneRowEach,
    /// P3: the counters are the rows, counted.
    SumsBalance,
    /// P4: nobody gets a message twice.
    NeverTwice,
    /// P4: what WhatsApp accepted is never called failed or cancelled for good, and nothing else accepted.
    LedgerTellsTheTruth,
    /// A row goes down the ladder only with a new round, and never from acceptance.
    LadderOnlyRises,
    /// P6: a campaign's stream never holds more than its window.
    WindowIsBounded,
    /// P8: nothing of a held or cancelled campaign is taken once that was applied.
    HoldsAreKept,
    /// P8: a hold that was applied a reclaim idle time ago lets nothing be written, unless its sender was frozen
    /// inside the write.
    WritesAreTimely,
    /// Postgres and Redis never contradict each other.
    NoContradiction,
    /// Without new faults everything ends: campaigns are finished, and nothing of them is left in Redis.
    EverythingEnds,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// By what.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} is broken: {}", self.promise, self.what)
    }
}
