//! How long a message that was taken may still be sent.
//!
//! A message that its taker has not reported for long is given up by the lane's owner and becomes uncertain.
//! So a process that was frozen, or ran on a machine that slept, must not send what it took before. The
//! monotonic clock stands still while Linux is suspended and the wall clock can be set, so both must agree.

use std::time::{Duration, Instant, SystemTime};

/// When a take was asked for, on both clocks. Redis took the entries later than this.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TakenAt {
    monotonic: Instant,
    wall: SystemTime,
}

impl TakenAt {
    pub(crate) fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// Whether what was taken then may be written now. A wall clock that went back proves nothing, so the
    /// answer is no.
    pub(crate) fn may_write(&self, lease: Duration, now: Self) -> bool {
        let by_wall = now.wall.duration_since(self.wall);
        now.monotonic.saturating_duration_since(self.monotonic) < lease
            && by_wall.is_ok_and(|elapsed| elapsed < lease)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    #[test]
    fn either_clock_ends_the_lease() {
        let taken = TakenAt::now();
        let after = |monotonic_s: u64, wall_s: i64| TakenAt {
            monotonic: taken.monotonic + Duration::from_secs(monotonic_s),
            wall: if wall_s < 0 {
                taken.wall - Duration::from_secs(wall_s.unsigned_abs())
            } else {
                taken.wall + Duration::from_secs(wall_s.unsigned_abs())
            },
        };
        assert!(taken.may_write(LEASE, after(0, 0)));
        assert!(taken.may_write(LEASE, after(14, 14)));
        assert!(!taken.may_write(LEASE, after(15, 15)), "the lease is over");
        assert!(!taken.may_write(LEASE, after(1, 3600)), "the machine slept");
        assert!(
            !taken.may_write(LEASE, after(20, 1)),
            "the wall clock was set back"
        );
        assert!(!taken.may_write(LEASE, after(1, -60)), "the wall clock went back");
    }
}
