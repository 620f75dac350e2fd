//! How fast a lane goes now, for people to see. What decides is the scripts (`prelude.lua`, `pace.lua`).

use crate::{Result, Streams};
use campaign_core::ids::LaneId;
use serde::Serialize;

/// A lane's speed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pace {
    /// The ceiling, in messages a second; none if the lane is not built.
    pub rate_per_second: Option<f64>,
    /// What it hands out now, in messages a second: below the ceiling after WhatsApp found it too fast, or slow.
    pub pace_per_second: Option<f64>,
    /// When it last slowed down, in milliseconds before now; none if it never did on this Redis.
    pub slowed_ago_ms: Option<u64>,
    /// The smoothed time of WhatsApp's answers, in milliseconds.
    pub answer_ms: Option<u64>,
}

/// The header's fields that a pace is made of.
#[derive(Debug, Clone, Copy, Default)]
struct Slowed {
    base: Option<f64>,
    slowed_us: f64,
}

/// A number in the header, if it is there.
type Field = Option<f64>;

/// As `pace_of` in `prelude.lua`.
fn pace_of(rate: f64, slowed: Slowed, now_us: f64) -> f64 {
    let Some(base) = slowed.base else { return rate };
    let seconds = (now_us - slowed.slowed_us).max(0.0) / 1_000_000.0;
    (base + base.max(rate / 10.0) * seconds.powi(3) / 5_000.0).min(rate)
}

impl Pace {
    /// Reads a lane's.
    pub async fn of(streams: &Streams, lane: &LaneId) -> Result<Self> {
        let header = streams.keys().lane(lane).header();
        let mut connection = streams.pooled().await?;
        let mut pipe = redis::pipe();
        for field in ["rate", "pace", "slowed_us", "answer_us"] {
            pipe.cmd("HGET").arg(&header).arg(field);
        }
        let read: (Field, Field, Field, Field, (u64, u64)) =
            pipe.cmd("TIME").query_async(&mut connection).await?;
        let (rate, base, slowed_us, answer_us, time) = read;
        let now_us = (time.0 * 1_000_000 + time.1) as f64;
        let slowed = Slowed {
            base,
            slowed_us: slowed_us.unwrap_or(0.0),
        };
        Ok(Self {
            rate_per_second: rate,
            pace_per_second: rate.map(|rate| pace_of(rate, slowed, now_us)),
            slowed_ago_ms: slowed_us.map(|at| ((now_us - at).max(0.0) / 1_000.0) as u64),
            answer_ms: answer_us.map(|us| (us / 1_000.0) as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_grows_slowly_near_the_limit_and_quickly_far_from_it() {
        let slowed = Slowed {
            base: Some(100.0),
            slowed_us: 1_000_000.0,
        };
        let after = |seconds: f64| pace_of(200.0, slowed, 1_000_000.0 * (1.0 + seconds));
        assert!((after(0.0) - 100.0).abs() < 0.001);
        assert!(after(4.0) < 101.5, "hardly: {}", after(4.0));
        assert!(after(10.0) > 119.0 && after(17.5) > 199.9);
        assert!((after(1_000.0) - 200.0).abs() < 0.001, "never above the rate");
        assert!((after(-5.0) - 100.0).abs() < 0.001, "a clock set back");
        assert!((pace_of(80.0, Slowed::default(), 0.0) - 80.0).abs() < 0.001);
    }

    #[test]
    fn a_lane_at_its_lowest_is_back_within_forty_seconds() {
        let slowed = Slowed {
            base: Some(10.0),
            slowed_us: 0.0,
        };
        assert!(pace_of(1_000.0, slowed, 40_000_000.0) > 999.9);
    }
}
