//! How many messages of the lane are parked, as the keeper last saw it.
//!
//! Should Redis be lost together with a member, what that member can have taken is reckoned from the last row that has
//! an outcome. Parked messages have none, and may lie before those that it had in hand.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The last look at all campaigns of the lane.
#[derive(Debug, Default)]
pub(super) struct Parked(Mutex<Option<Look>>);

#[derive(Debug, Clone, Copy)]
struct Look {
    begun: Instant,
    messages: u64,
}

/// What the ledger knew when it was caught up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CaughtUp {
    /// What was taken since then is not counted.
    pub(super) ago: Duration,
    pub(super) parked: i64,
}

impl Parked {
    /// A look that began at `begun` found so many messages.
    pub(super) fn seen(&self, begun: Instant, messages: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Look { begun, messages });
    }

    /// What can be said of the moment `asked`, at which every outcome was known: only as much as was known of
    /// what is parked as well. None before the first look.
    pub(super) fn caught_up(&self, asked: Instant, now: Instant) -> Option<CaughtUp> {
        let look = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        Some(CaughtUp {
            ago: now.saturating_duration_since(asked.min(look.begun)),
            parked: i64::try_from(look.messages).unwrap_or(i64::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_known_than_of_the_older_of_both() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let parked = Parked::default();
        assert_eq!(parked.caught_up(at(1), at(2)), None);
        parked.seen(at(3), 40);
        let caught_up = |asked| {
            parked
                .caught_up(at(asked), at(10))
                .map(|known| known.ago.as_secs())
        };
        assert_eq!(caught_up(2), Some(8));
        assert_eq!(caught_up(9), Some(7));
        assert_eq!(
            parked.caught_up(at(9), at(10)).map(|known| known.parked),
            Some(40)
        );
    }
}
