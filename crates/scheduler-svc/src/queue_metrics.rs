//! How much waits where, and for how long: what dashboards show and autoscalers follow.

use campaign_runtime::Shutdown;
use campaign_streams::depths::{self, LaneDepth, StreamDepth};
use campaign_streams::{Result, Streams};
use metrics::gauge;
use std::time::Duration;

/// How often the queues are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Keeps the numbers current until the service stops. While Redis is away they stay as they were; that it is
/// away is said by readiness.
pub(crate) async fn run(streams: Streams, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        if let Err(error) = look(&streams).await {
            tracing::debug!(%error, "the queues could not be looked at");
        }
        if !shutdown.sleep(LOOK_EVERY).await {
            return Ok(());
        }
    }
}

async fn look(streams: &Streams) -> Result<()> {
    depths::of_streams(streams).await?.iter().for_each(show_stream);
    depths::of_lanes(streams).await?.iter().for_each(show_lane);
    Ok(())
}

fn show_stream(depth: &StreamDepth) {
    let name = || depth.name.clone();
    gauge!("queue_entries", "stream" => name()).set(depth.entries as f64);
    gauge!("queue_oldest_age_seconds", "stream" => name()).set(seconds(depth.oldest_age_ms));
}

fn show_lane(depth: &LaneDepth) {
    let lane = || depth.lane.to_string();
    let outstanding: u64 = depth.campaigns.iter().map(|campaign| campaign.outstanding).sum();
    let parked: u64 = depth.campaigns.iter().map(|campaign| campaign.parked).sum();
    gauge!("lane_verified", "lane" => lane()).set(f64::from(u8::from(depth.verified)));
    gauge!("lane_members", "lane" => lane()).set(depth.members as f64);
    gauge!("lane_campaigns", "lane" => lane()).set(depth.campaigns.len() as f64);
    gauge!("lane_outstanding_messages", "lane" => lane()).set(outstanding as f64);
    gauge!("lane_parked_messages", "lane" => lane()).set(parked as f64);
    if let (Some(rate), Some(pace)) = (depth.pace.rate_per_second, depth.pace.pace_per_second) {
        gauge!("lane_rate_per_second", "lane" => lane()).set(rate);
        gauge!("lane_pace_per_second", "lane" => lane()).set(pace);
    }
    if let Some(answer_ms) = depth.pace.answer_ms {
        gauge!("lane_answer_seconds", "lane" => lane()).set(seconds(Some(answer_ms)));
    }
    gauge!("lane_outcomes", "lane" => lane()).set(depth.outcomes as f64);
    gauge!("lane_oldest_outcome_age_seconds", "lane" => lane()).set(seconds(depth.oldest_outcome_age_ms));
}

fn seconds(milliseconds: Option<u64>) -> f64 {
    milliseconds.unwrap_or(0) as f64 / 1_000.0
}
