//! Safeguards of the protocol that can be taken out, to see that the search notices.

use crate::draw::Trouble;
use std::fmt;

/// One safeguard that is taken out. Each variant says what the protocol does instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// The feeder appends without comparing where the stream ends.
    BlindAppend,
    /// Neither scripts nor transactions look at the lane's epoch, so a former owner goes on.
    NoEpoch,
    /// A send without an answer is tried again.
    RetryOnTimeout,
    /// An entry leaves its stream first, and its outcome is published after.
    AckBeforeOutcome,
    /// The ledger writes down what is reported, whatever the row says.
    BlindLedger,
    /// Scripts do not compare Redis's identity, so a Redis that was rolled back looks like before.
    NoIdentity,
    /// A rebuild opens the new rounds first, and waits for its members after.
    RoundsBeforeJoins,
    /// A rebuild drops what lies in Redis before the ledger has applied the outcomes there.
    DropBeforeApply,
    /// A rebuild counts confirmations that were given before it.
    OldConfirmations,
    /// Anyone may take, admitted or not.
    NoMembership,
    /// A member does not look at its lease before it writes.
    NoLeaseCheck,
    /// A member forgets an outcome as soon as it is in Redis.
    NothingKept,
    /// A member that leaves does not publish again what it keeps.
    SilentLeave,
    /// What a member has to say of an entry that is gone from its stream is not published.
    GoneIsAnothers,
    /// A member that was long silent is forgotten before what it took is reported.
    ForgetsTooEarly,
    /// A campaign of the lane whose stream is gone gets a new one, as if it were not in the lane yet.
    OpensLostStream,
    /// A settle that is repeated because its answer was lost parks again what was taken again meanwhile.
    ParksTwice,
    /// A rebuild asks for confirmations while older joins may still lie unread among the outcomes.
    UnreadConfirmations,
}

impl Flaw {
    /// Every flaw.
    pub const ALL: &'static [Self] = &[
        Self::BlindAppend,
        Self::NoEpoch,
        Self::RetryOnTimeout,
        Self::AckBeforeOutcome,
        Self::BlindLedger,
        Self::NoIdentity,
        Self::RoundsBeforeJoins,
        Self::DropBeforeApply,
        Self::OldConfirmations,
        Self::NoMembership,
        Self::NoLeaseCheck,
        Self::NothingKept,
        Self::SilentLeave,
        Self::GoneIsAnothers,
        Self::ForgetsTooEarly,
        Self::OpensLostStream,
        Self::ParksTwice,
        Self::UnreadConfirmations,
    ];
}

impl Flaw {
    /// The troubles that it takes to see the difference. A search that draws from all of them would need many more
    /// cases for some flaws.
    pub(crate) fn troubles(self) -> &'static [Trouble] {
        use Trouble::{
            Cancels, LongWaits, LostAnswers, MemberCrashes, Pauses, RedisRolledBack, RedisWiped,
            SenderCrashes, SenderFreezes, Silences, Stops, StreamLost, WebhooksLost,
        };
        match self {
            Self::NoEpoch => &[SenderFreezes, LongWaits],
            Self::RetryOnTimeout => &[LongWaits],
            Self::AckBeforeOutcome => &[Cancels, MemberCrashes, WebhooksLost],
            Self::NoIdentity => &[RedisRolledBack],
            Self::RoundsBeforeJoins | Self::DropBeforeApply | Self::NothingKept => &[RedisWiped],
            Self::OldConfirmations => &[RedisWiped, LostAnswers, SenderCrashes],
            Self::NoMembership => &[RedisWiped, MemberCrashes, Stops],
            Self::NoLeaseCheck => &[Pauses, LongWaits],
            Self::SilentLeave => &[RedisWiped, Stops],
            Self::BlindAppend | Self::GoneIsAnothers | Self::UnreadConfirmations => &[StreamLost],
            Self::ForgetsTooEarly => &[Silences, MemberCrashes, RedisWiped],
            Self::OpensLostStream => &[SenderCrashes, LostAnswers, StreamLost],
            Self::BlindLedger | Self::ParksTwice => &[LostAnswers],
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}
