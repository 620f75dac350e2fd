//! When the keeper walks again after the ledger went on: not sooner than it pays, not later than the lane bears.
//!
//! A busy ledger goes on with every batch, and what a walk then finds to feed is little. So walks rest in proportion to
//! what they take; on a machine with many lanes, where each walk waits for the others, that is longer by itself.

use std::time::Duration;

/// The shortest rest.
const REST_MIN: Duration = Duration::from_millis(20);
/// The longest rest.
const REST_MAX: Duration = Duration::from_millis(250);
/// A lane walks for a small part of its time: it rests so many times as long as the last walk took.
const REST_PER_WALK: u32 = 10;

/// What lies in the lane of a campaign that has more to feed, and how fast it went of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stock {
    /// Messages outstanding.
    pub(super) left: u64,
    /// As many left within [`Self::within`].
    pub(super) used: u64,
    pub(super) within: Duration,
}

impl Stock {
    /// How long half of it lasts at that speed; none if nothing moves.
    fn half_lasts(self) -> Option<Duration> {
        let seconds = self.within.as_secs_f64() * self.left as f64 / (2.0 * self.used as f64);
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// How long the keeper rests although the ledger went on.
///
/// No stream runs dry meanwhile. A walk leaves a campaign that has more to feed with at least three quarters of its
/// window, which holds 3 s of the lane's rate: at the longest rest there are still 2 s left. Where `FEED_WINDOW` cuts
/// the window to less (10,000 messages, above 3,333 a second), three quarters of it outlast the longest rest up to
/// 30,000 messages a second, and faster or with smaller windows half of what lies there sets the rest.
pub(super) fn rest(walk_took: Duration, stocks: impl IntoIterator<Item = Stock>) -> Duration {
    let pays = walk_took.saturating_mul(REST_PER_WALK).min(REST_MAX);
    let lasts = stocks.into_iter().filter_map(Stock::half_lasts).min();
    lasts.map_or(pays, |lasts| lasts.min(pays)).max(REST_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn stock(left: u64, used: u64) -> Stock {
        Stock {
            left,
            used,
            within: ms(100),
        }
    }

    #[test]
    fn walks_rest_in_proportion_to_what_they_take() {
        assert_eq!(rest(ms(0), []), REST_MIN);
        assert_eq!(rest(ms(1), []), REST_MIN);
        assert_eq!(rest(ms(8), []), ms(80));
        assert_eq!(rest(ms(40), []), REST_MAX);
        assert_eq!(rest(Duration::MAX, []), REST_MAX);
    }

    #[test]
    fn no_stream_runs_dry_while_the_keeper_rests() {
        // 2,000 a second: half of what lies there lasts for 1.9 s.
        assert_eq!(rest(ms(40), [stock(7_500, 200)]), REST_MAX);
        // 50,000 a second: 75 ms.
        assert_eq!(rest(ms(40), [stock(7_500, 5_000)]), ms(75));
        assert_eq!(rest(ms(40), [stock(7_500, 200), stock(7_500, 5_000)]), ms(75));
        // A window of 100 messages at 1,000 a second.
        assert_eq!(rest(ms(40), [stock(80, 100)]), ms(40));
        assert_eq!(rest(ms(40), [stock(0, 100)]), REST_MIN, "it is dry already");
    }

    #[test]
    fn what_stands_still_sets_no_rest() {
        assert_eq!(rest(ms(40), [stock(7_500, 0)]), REST_MAX);
        assert_eq!(rest(ms(40), [stock(0, 0)]), REST_MAX);
    }
}
