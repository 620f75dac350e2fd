//! `campaignctl queues`: what lies in Redis, and how old it is.

use crate::output::{cell, number, status};
use crate::{Context, Failure};
use clap::Args;
use serde::Deserialize;
use std::time::Duration;
use uuid::Uuid;

/// How to show the queues.
#[derive(Debug, Args)]
pub(crate) struct QueuesArgs {
    /// Show them again every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Queues {
    streams: Vec<Stream>,
    lanes: Vec<Lane>,
}

#[derive(Debug, Deserialize)]
struct Stream {
    name: String,
    entries: i64,
    oldest_age_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Lane {
    phone_number_id: String,
    verified: bool,
    members: i64,
    outcomes: i64,
    oldest_outcome_age_ms: Option<u64>,
    #[serde(default)]
    pace_per_second: Option<f64>,
    campaigns: Vec<CampaignQueue>,
}

#[derive(Debug, Deserialize)]
struct CampaignQueue {
    campaign: Uuid,
    outstanding: i64,
    parked: i64,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, args: &QueuesArgs) -> Result<(), Failure> {
    loop {
        let answer = context.api.get(&["v1", "queues"], &vec![]).await?;
        context.output.answer(&answer, |output, queues: Queues| {
            let streams = queues.streams.into_iter().map(|stream| {
                vec![
                    cell(stream.name),
                    number(stream.entries),
                    cell(age(stream.oldest_age_ms)),
                ]
            });
            let streams = output.table(&["Stream", "Entries#", "Oldest#"], streams);
            let lanes = output.table(
                &[
                    "Lane",
                    "State",
                    "Messages/s#",
                    "Senders#",
                    "Outcomes#",
                    "Oldest#",
                    "Campaign",
                    "Outstanding#",
                    "Parked#",
                ],
                queues.lanes.into_iter().flat_map(lane_rows),
            );
            format!("{streams}\n\n{lanes}")
        })?;
        let Some(seconds) = args.every else { return Ok(()) };
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

/// A row for each campaign of the lane, at least one.
fn lane_rows(lane: Lane) -> Vec<Vec<comfy_table::Cell>> {
    let state = if lane.verified { "active" } else { "unverified" };
    let pace = lane
        .pace_per_second
        .map(|pace| format!("{pace:.0}"))
        .unwrap_or_default();
    let mut head = vec![
        cell(lane.phone_number_id),
        status(state),
        cell(pace),
        number(lane.members),
        number(lane.outcomes),
        cell(age(lane.oldest_outcome_age_ms)),
    ];
    if lane.campaigns.is_empty() {
        head.extend([cell(""), cell(""), cell("")]);
        return vec![head];
    }
    let rows = lane.campaigns.into_iter().map(|campaign| {
        let mut row = std::mem::replace(&mut head, (0..6).map(|_| cell("")).collect());
        row.extend([
            cell(campaign.campaign),
            number(campaign.outstanding),
            number(campaign.parked),
        ]);
        row
    });
    rows.collect()
}

fn age(milliseconds: Option<u64>) -> String {
    match milliseconds {
        None => String::new(),
        Some(milliseconds @ ..1_000) => format!("{milliseconds} ms"),
        Some(milliseconds @ ..120_000) => format!("{:.1} s", milliseconds as f64 / 1_000.0),
        Some(milliseconds) => format!("{} min", milliseconds / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;

    #[test]
    fn a_lane_with_several_campaigns_is_named_once() {
        let campaigns = [(1, 20_i64), (2, 5)];
        let lane = Lane {
            phone_number_id: "106540352242922".into(),
            verified: true,
            members: 3,
            outcomes: 12,
            oldest_outcome_age_ms: Some(1_500),
            pace_per_second: Some(102.8),
            campaigns: campaigns
                .map(|(id, outstanding)| CampaignQueue {
                    campaign: Uuid::from_u128(id),
                    outstanding,
                    parked: 0,
                })
                .into(),
        };
        let table = Output::to(std::io::sink(), false).table(
            &[
                "Lane",
                "State",
                "Messages/s#",
                "Senders#",
                "Outcomes#",
                "Oldest#",
                "Campaign",
                "Outstanding#",
                "Parked#",
            ],
            lane_rows(lane),
        );
        insta::assert_snapshot!(table);
    }

    #[test]
    fn ages_are_told_in_units_that_fit() {
        assert_eq!(
            [None, Some(7), Some(1_500), Some(600_000)].map(age),
            ["", "7 ms", "1.5 s", "10 min"]
        );
    }
}
