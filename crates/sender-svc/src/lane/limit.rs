//! The messaging limit: rows are fed only when their portfolio has room for their people.
//!
//! What is granted is committed before it is fed, so a crash in between leaves people counted who are fed next. While
//! there is no room the campaign waits under a hold that says so; it keeps nothing back that was fed before.

use super::Lane;
use super::error::LaneError;
use super::keeper::Open;
use campaign_core::campaign::HoldKind;
use campaign_core::phone::CanonicalPhone;
use campaign_store::dispatches::Work;
use campaign_store::messages::FeedRow;
use campaign_store::messaging_limits::{self, Grant};
use campaign_store::{commit, holds};
use std::time::{Duration, Instant};

/// How often a campaign that waits looks whether there is room: people change limits, and messages fail.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A campaign's wait for room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    looks_again_at: Instant,
}

/// Whether it is too early to look again.
pub(super) fn waits(open: &Open, now: Instant) -> bool {
    open.waiting.is_some_and(|waiting| now < waiting.looks_again_at)
}

/// Leaves the rows, from the first, that may be fed. With none left the campaign waits.
pub(super) async fn grant(
    lane: &Lane,
    open: &mut Open,
    work: &Work,
    mut rows: Vec<FeedRow>,
) -> Result<Vec<FeedRow>, LaneError> {
    let Some(portfolio) = lane.limited_portfolio() else {
        go_on(lane, open, work).await?;
        return Ok(rows);
    };
    let phones: Vec<CanonicalPhone> = rows.iter().map(|row| row.phone).collect();
    let mut transaction = lane.begin().await?;
    let window = lane.sender.messaging_limit_window;
    let grant = messaging_limits::grant(&mut transaction, &portfolio, &phones, window).await?;
    commit(transaction).await?;
    show(&portfolio, &grant);
    rows.truncate(grant.granted);
    if rows.is_empty() {
        wait(lane, open, work, &portfolio, &grant).await?;
    } else {
        go_on(lane, open, work).await?;
    }
    Ok(rows)
}

/// Nothing is left to feed: whoever waited for room waits no longer.
pub(super) async fn go_on(lane: &Lane, open: &mut Open, work: &Work) -> Result<(), LaneError> {
    if open.waiting.take().is_none() && !work.waits_for_limit {
        return Ok(());
    }
    let mut transaction = lane.begin().await?;
    holds::lift_campaign(&mut transaction, work.campaign, HoldKind::DailyLimit).await?;
    commit(transaction).await?;
    tracing::info!(campaign_id = %work.campaign, "the messaging limit has room again");
    Ok(())
}

async fn wait(
    lane: &Lane,
    open: &mut Open,
    work: &Work,
    portfolio: &str,
    grant: &Grant,
) -> Result<(), LaneError> {
    let reason = reason(portfolio, grant);
    let mut transaction = lane.begin().await?;
    let is_news = holds::raise_campaign(
        &mut transaction,
        work.campaign,
        HoldKind::DailyLimit,
        &reason,
        "sender-svc",
        grant.next_room_at,
    )
    .await?;
    commit(transaction).await?;
    if is_news && open.waiting.is_none() {
        tracing::warn!(campaign_id = %work.campaign, reason, "the campaign waits");
        metrics::counter!("messaging_limit_waits_total").increment(1);
    }
    let soon = grant
        .next_room_at
        .and_then(|at| (at - chrono::Utc::now()).to_std().ok());
    open.waiting = Some(Waiting {
        looks_again_at: Instant::now() + soon.unwrap_or(LOOK_EVERY).min(LOOK_EVERY),
    });
    Ok(())
}

fn reason(portfolio: &str, grant: &Grant) -> String {
    let limit = grant.limit.unwrap_or_default();
    format!("waiting: 24 h messaging limit of portfolio {portfolio} reached ({limit} people)")
}

fn show(portfolio: &str, grant: &Grant) {
    let label = || portfolio.to_owned();
    metrics::gauge!("portfolio_recipients", "portfolio" => label()).set(grant.used as f64);
    if let Some(limit) = grant.limit {
        metrics::gauge!("portfolio_messaging_limit", "portfolio" => label()).set(limit as f64);
    }
}
