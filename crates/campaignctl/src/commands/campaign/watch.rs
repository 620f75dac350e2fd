//! `campaignctl campaign watch`: follow a campaign until it has ended, and say how.

use super::{Of, show};
use crate::follow::{Followed, follow, not_ended};
use crate::progress::{CampaignDetail, Check, balance};
use crate::{Context, Failure};
use clap::Args;
use std::time::Duration;

/// What is watched, and how long.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The campaign.
    #[command(flatten)]
    of: Of,
    /// Give up after so many seconds; the campaign goes on
    #[arg(long, value_name = "SECONDS")]
    timeout_s: Option<u64>,
}

/// Runs the command. With `--json` every look is printed as a line of its own.
pub(crate) async fn run(context: &Context, args: &WatchArgs) -> Result<(), Failure> {
    let limit = args.timeout_s.map(Duration::from_secs);
    let output = &context.output;
    let followed = follow(context, args.of.id, limit, |answer| {
        if output.is_json() {
            output.text(answer.body())
        } else {
            Ok(())
        }
    })
    .await?;
    let detail = match (followed, limit) {
        (Followed::TimeOver(detail), Some(limit)) => {
            return Err(Failure::Unbalanced(vec![not_ended(&detail, limit)]));
        }
        (Followed::Finished(detail) | Followed::TimeOver(detail), _) => detail,
    };
    if !output.is_json() {
        output.text(&show::detail(output, &detail))?;
    }
    let failures = Check::failures(&ended(&detail));
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::Unbalanced(failures))
    }
}

/// What has to be so of a campaign that has ended.
fn ended(detail: &CampaignDetail) -> Vec<Check> {
    let status = &detail.campaign.status;
    let reason = detail
        .campaign
        .status_reason
        .as_deref()
        .unwrap_or("no reason given");
    let mut checks = vec![Check::new(
        status != "FAILED",
        "the campaign did not fail",
        if status == "FAILED" {
            format!("{status}: {reason}")
        } else {
            status.clone()
        },
    )];
    checks.extend(balance(&detail.progress));
    checks
}
