//! How many acceptances there were in a second, exactly.

use std::collections::VecDeque;

use serde::Serialize;
use utoipa::ToSchema;

/// One second.
const WINDOW_US: u64 = 1_000_000;
/// Most acceptances remembered for one window; more in a second than any phone number may do.
pub const MAX_WINDOW: usize = 200_000;
/// Width of a histogram's bucket.
pub const BUCKET_MS: u64 = 100;
/// Most buckets of one histogram: an hour.
pub const MAX_BUCKETS: usize = 36_000;

/// The times of the last second.
#[derive(Debug, Default)]
pub(crate) struct SlidingWindow {
    times_us: VecDeque<u64>,
    max: usize,
}

impl SlidingWindow {
    /// How many there were in the second that ends now.
    pub(crate) fn count(&mut self, now_us: u64) -> usize {
        while self
            .times_us
            .front()
            .is_some_and(|&time| time + WINDOW_US <= now_us)
        {
            self.times_us.pop_front();
        }
        self.times_us.len()
    }

    /// Counts one more. The busiest window always ends at an event, so looking here finds it.
    pub(crate) fn push(&mut self, now_us: u64) {
        if self.count(now_us) >= MAX_WINDOW {
            self.times_us.pop_front();
        }
        self.times_us.push_back(now_us);
        self.max = self.max.max(self.times_us.len());
    }

    /// The most in any one-second window so far; [`MAX_WINDOW`] means at least that many.
    pub(crate) fn max(&self) -> usize {
        self.max
    }
}

/// Acceptances per [`BUCKET_MS`], from the first one on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Histogram {
    /// When the first bucket begins, in milliseconds since 1970.
    pub first_at_ms: u64,
    /// Acceptances in each bucket.
    pub counts: Vec<u32>,
    /// Whether acceptances came later than the last bucket that is kept.
    pub truncated: bool,
}

impl Histogram {
    pub(crate) fn push(&mut self, now_us: u64) {
        let time_ms = now_us / 1_000;
        if self.counts.is_empty() {
            self.first_at_ms = time_ms - time_ms % BUCKET_MS;
        }
        let bucket = (time_ms.saturating_sub(self.first_at_ms) / BUCKET_MS) as usize;
        if bucket >= MAX_BUCKETS {
            self.truncated = true;
            return;
        }
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_second_is_found_wherever_it_begins() {
        let mut window = SlidingWindow::default();
        for time_ms in [0, 900, 950, 1_000, 1_899, 1_900, 5_000] {
            window.push(time_ms * 1_000);
        }
        assert_eq!(window.max(), 4, "900 to 1899");
        assert_eq!(window.count(5_999_999), 1);
        assert_eq!(window.count(6_000_000), 0);
    }

    #[test]
    fn the_window_and_the_histogram_are_bounded() {
        let mut window = SlidingWindow::default();
        (0..MAX_WINDOW as u64 + 10).for_each(|time| window.push(time));
        assert_eq!((window.max(), window.times_us.len()), (MAX_WINDOW, MAX_WINDOW));

        let mut histogram = Histogram::default();
        for now_ms in [1_050, 1_099, 1_100, 1_350] {
            histogram.push(now_ms * 1_000);
        }
        assert_eq!(
            (histogram.first_at_ms, histogram.counts.as_slice()),
            (1_000, &[2, 1, 0, 1][..])
        );
        histogram.push((1_000 + MAX_BUCKETS as u64 * BUCKET_MS) * 1_000);
        assert!(histogram.truncated && histogram.counts.len() == 4);
    }
}
