//! How a lane slows down when WhatsApp says that it is too fast.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The first pause of a lane; it doubles if the next refusal comes soon.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A refusal this long after the last pause begins anew.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// One lane's pauses. A whole burst is refused at once, and is answered by one pause.
#[derive(Debug, Default)]
pub(crate) struct Pacing(Mutex<Option<Pause>>);

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl Pacing {
    /// A rate error came: how long the lane must pause, unless it pauses already.
    pub(crate) fn refused(&self, now: Instant) -> Option<Duration> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length = match *last {
            Some(pause) if now < pause.until => return None,
            Some(pause) if now.saturating_duration_since(pause.until) < FORGIVEN_AFTER => {
                (pause.length * 2).min(PAUSE_MAX)
            }
            _ => PAUSE,
        };
        *last = Some(Pause {
            until: now + length,
            length,
        });
        Some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_once_for_each_burst_and_are_forgiven() {
        let pacing = Pacing::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..4 {
            let pause = pacing.refused(now).expect("a new burst");
            assert_eq!(pacing.refused(now), None, "the same burst");
            pauses.push(pause.as_millis());
            now += pause;
        }
        assert_eq!(pauses, [500, 1000, 2000, 2000]);
        assert_eq!(pacing.refused(now + FORGIVEN_AFTER), Some(PAUSE));
    }
}
