//! How long a message waits before it is offered again. Pure: chance comes in as a number.

use std::time::Duration;

/// The wait after the first attempt, before chance; it doubles with each one.
const BASE: Duration = Duration::from_secs(1);
/// The longest wait of our own choosing.
const BACKOFF_MAX: Duration = Duration::from_mins(5);
/// The longest wait that is taken from a `Retry-After`.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// The longest wait for one person's pair limit: 45 messages can be borrowed at 6 s each (Meta), and are paid back then.
const PAIR_MAX: Duration = Duration::from_secs(45 * 6);
/// What waits longer than this leaves the lane and goes in a later round.
pub(crate) const PARKED_MAX: Duration = Duration::from_mins(1);

/// The wait after attempt number `attempt` (from 1): doubling, and between half of it and all of it by
/// `chance` (0 to 1), so that what failed together does not come back together. Never before what the
/// server asked for.
pub(crate) fn backoff(attempt: i32, retry_after: Option<Duration>, chance: f64) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or(0).min(16);
    let full = BASE.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    let jittered = full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
    jittered.max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// The wait after attempt number `attempt` to one person too often: 4^n seconds (Meta, error 131056).
pub(crate) fn pair_backoff(attempt: i32, retry_after: Option<Duration>) -> Duration {
    let power = u32::try_from(attempt).unwrap_or(1).clamp(1, 15);
    Duration::from_secs(4_u64.pow(power))
        .min(PAIR_MAX)
        .max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_stays_within_its_bounds_and_is_spread() {
        assert_eq!(backoff(1, None, 1.0), Duration::from_secs(1));
        assert_eq!(backoff(1, None, 0.0), Duration::from_millis(500));
        assert_eq!(backoff(4, None, 1.0), Duration::from_secs(8));
        for attempt in [0, -3, 9, 30, i32::MAX] {
            let wait = backoff(attempt, None, 1.0);
            assert!(wait >= BASE && wait <= BACKOFF_MAX, "{attempt}: {wait:?}");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_honoured_within_reason() {
        let asked = Some(Duration::from_secs(30));
        assert_eq!(backoff(1, asked, 0.5), Duration::from_secs(30));
        assert_eq!(backoff(9, asked, 1.0), Duration::from_secs(256));
        let unreasonable = Some(Duration::from_hours(100));
        assert_eq!(backoff(1, unreasonable, 0.5), RETRY_AFTER_MAX);
        assert_eq!(pair_backoff(1, unreasonable), RETRY_AFTER_MAX);
    }

    #[test]
    fn one_person_is_left_alone_for_four_to_the_n_seconds() {
        let seconds = |attempt| pair_backoff(attempt, None).as_secs();
        assert_eq!([1, 2, 3].map(seconds), [4, 16, 64]);
        assert_eq!(pair_backoff(40, None), PAIR_MAX);
    }
}
