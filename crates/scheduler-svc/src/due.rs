//! What a tick makes happen: campaigns whose time has come start, and what a crash left half done is done.
//!
//! Claiming locks rows and passes over locked ones, so any number of schedulers may do this at once. The
//! announcement follows the commit; if it is lost, the campaign is `SENDING` without a dispatch row, and a
//! tick more than a second later announces it again.

use crate::streams::Queues;
use crate::templates::news;
use campaign_core::campaign::{Campaign, CampaignStatus, DueDecision, HoldKind};
use campaign_store::{Connection, Store, campaigns, holds, templates};
use chrono::{DateTime, Utc};
use metrics::{counter, histogram};
use std::time::Duration;

/// Campaigns that are claimed in one transaction.
const BATCH: i64 = 100;
/// Batches that one tick handles; the rest waits for the next.
const BATCHES_MAX: usize = 1_000;
/// How long a campaign may be on its way to a sender before it is announced again.
const REPEATED_AFTER: Duration = Duration::from_secs(1);
/// Announcements that one tick repeats.
const REPEATED_MAX: i64 = 500;
/// Who raises the hold on a campaign that missed its time.
const RAISED_BY: &str = "scheduler-svc";
/// Why a campaign is cancelled that expired while it waited for its time.
const EXPIRED: &str = "it expired before it started";

/// What became of the campaigns that were due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handled {
    /// Started.
    pub started: usize,
    /// Started under a hold, waiting for a person.
    pub waiting: usize,
    /// Cancelled, unsent.
    pub skipped: usize,
    /// Announced again.
    pub repeated: usize,
}

/// Starts every campaign that is due at `now`, and announces again what no sender has taken up.
pub async fn handle(store: &Store, queues: &Queues, now: DateTime<Utc>) -> anyhow::Result<Handled> {
    let mut handled = Handled::default();
    for _ in 0..BATCHES_MAX {
        let (started, full) = store.in_time(claim(store, now, &mut handled)).await?;
        queues.announce(&started).await?;
        for campaign in &started {
            observe(campaign, now);
        }
        if !full {
            break;
        }
    }
    handled.repeated = announce_again(store, queues).await?;
    Ok(handled)
}

/// Claims a batch and moves it on. Returns those that start, and whether there may be more.
async fn claim(
    store: &Store,
    now: DateTime<Utc>,
    handled: &mut Handled,
) -> anyhow::Result<(Vec<Campaign>, bool)> {
    let mut transaction = store.begin().await?;
    let due = campaigns::claim_due(&mut transaction, now, BATCH).await?;
    let full = due.len() as i64 == BATCH;
    let mut started = Vec::with_capacity(due.len());
    for campaign in due {
        match begin(&mut transaction, &campaign, now).await? {
            DueDecision::Start => handled.started += 1,
            DueDecision::Wait => handled.waiting += 1,
            DueDecision::Skip => {
                handled.skipped += 1;
                continue;
            }
        }
        started.push(campaign);
    }
    transaction.commit().await?;
    Ok((started, full))
}

/// Moves one campaign on, by how late it is.
async fn begin(
    connection: &mut Connection,
    campaign: &Campaign,
    now: DateTime<Utc>,
) -> anyhow::Result<DueDecision> {
    let scheduled_at = campaign.scheduled_at.unwrap_or(now);
    let expired = campaign.expires_at.is_some_and(|expires_at| expires_at <= now);
    let decision = if expired {
        DueDecision::Skip
    } else {
        campaign.misfire_policy.decide(scheduled_at, now)
    };
    let late = format!(
        "its time, {}, passed while the engine was down",
        scheduled_at.to_rfc3339()
    );
    match decision {
        DueDecision::Start => {
            // Its status may have changed since it was scheduled.
            let template = templates::get(connection, campaign.template_id).await?;
            let (status, reason) = (template.template.status, template.status_reason);
            news::settle_campaign(connection, campaign, status, reason.as_deref()).await?;
            campaigns::set_status(connection, campaign.id, CampaignStatus::Sending, None).await?;
        }
        DueDecision::Wait => {
            holds::raise_campaign(connection, campaign.id, HoldKind::Misfire, &late, RAISED_BY, None).await?;
            campaigns::set_status(connection, campaign.id, CampaignStatus::Sending, None).await?;
        }
        DueDecision::Skip => {
            let reason = if expired { EXPIRED } else { &late };
            campaigns::set_status(connection, campaign.id, CampaignStatus::Cancelled, Some(reason)).await?;
            campaigns::set_finished(connection, campaign.id, Some(now)).await?;
        }
    }
    counter!("campaigns_due_total", "decision" => label(decision)).increment(1);
    Ok(decision)
}

/// Announces what is `SENDING` and has had no dispatch row for a while.
async fn announce_again(store: &Store, queues: &Queues) -> anyhow::Result<usize> {
    let orphans = store.in_time(async {
        let mut connection = store.connection().await?;
        campaigns::sending_without_dispatch(&mut connection, REPEATED_AFTER, REPEATED_MAX).await
    });
    let orphans = orphans.await?;
    queues.announce(&orphans).await?;
    if let Some(first) = orphans.first() {
        let campaigns = orphans.len();
        tracing::info!(campaigns, campaign_id = %first.id, "announced again what no sender has taken up");
    }
    Ok(orphans.len())
}

fn observe(campaign: &Campaign, now: DateTime<Utc>) {
    let lateness = now - campaign.scheduled_at.unwrap_or(now);
    histogram!("campaign_start_lateness_seconds").record(lateness.as_seconds_f64().max(0.0));
    tracing::info!(
        campaign_id = %campaign.id,
        lane = %campaign.phone_number_id,
        late_ms = lateness.num_milliseconds(),
        "a campaign starts"
    );
}

const fn label(decision: DueDecision) -> &'static str {
    match decision {
        DueDecision::Start => "start",
        DueDecision::Skip => "skip",
        DueDecision::Wait => "wait",
    }
}
