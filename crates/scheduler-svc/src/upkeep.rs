//! What has to be done now and then: the numbers about campaigns, old idempotency keys, coming partitions.

use campaign_core::campaign::CampaignStatus;
use campaign_runtime::{HealthHandle, Shutdown};
use campaign_store::{Store, StoreError, campaigns, ensure_partitions, idempotency, require_migrated};
use chrono::Utc;
use metrics::gauge;
use std::time::Duration;

/// How often campaigns are counted, which also shows whether Postgres answers.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How often old keys are forgotten and partitions made.
const CLEAN_EVERY: Duration = Duration::from_hours(1);
/// How long the answer to an `Idempotency-Key` is kept.
const IDEMPOTENCY_KEPT_HOURS: i64 = 24;
/// Keys that are forgotten in one statement.
const FORGET_BATCH: i64 = 1_000;
/// Such statements in one go; the rest waits for the next.
const FORGET_BATCHES_MAX: usize = 1_000;

/// Counts campaigns by status, and says whether Postgres is there with the right schema.
pub(crate) async fn count_campaigns(
    store: Store,
    health: HealthHandle,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut migrated = false;
    loop {
        match store.in_time(count(&store, &mut migrated)).await {
            Ok(()) => health.ready(),
            Err(error) => {
                tracing::warn!(%error, "campaigns could not be counted");
                health.unready(error.to_string());
            }
        }
        let pause = if migrated {
            COUNT_EVERY
        } else {
            Duration::from_millis(500)
        };
        if !shutdown.sleep(pause).await {
            return Ok(());
        }
    }
}

async fn count(store: &Store, migrated: &mut bool) -> Result<(), StoreError> {
    let mut connection = store.connection().await?;
    if !*migrated {
        require_migrated(&mut connection).await?;
        *migrated = true;
    }
    let counts = campaigns::count_by_status(&mut connection).await?;
    for status in CampaignStatus::ALL {
        let of = |paused| {
            counts
                .iter()
                .filter(|row| row.0 == *status && row.1 == paused)
                .map(|row| row.2)
                .sum::<i64>()
        };
        gauge!("campaigns", "status" => status.as_str(), "held" => "false").set(of(false) as f64);
        gauge!("campaigns", "status" => status.as_str(), "held" => "true").set(of(true) as f64);
    }
    Ok(())
}

/// Forgets old answers and makes the coming months' partitions.
pub(crate) async fn clean(store: Store, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        if let Err(error) = clean_once(&store).await {
            tracing::warn!(%error, "cleaning failed; the next hour tries again");
        }
        if !shutdown.sleep(CLEAN_EVERY).await {
            return Ok(());
        }
    }
}

async fn clean_once(store: &Store) -> Result<(), StoreError> {
    let mut connection = store.connection().await?;
    let older_than = Utc::now() - chrono::Duration::hours(IDEMPOTENCY_KEPT_HOURS);
    let mut forgotten = 0;
    for _ in 0..FORGET_BATCHES_MAX {
        let batch = idempotency::forget(&mut connection, older_than, FORGET_BATCH).await?;
        forgotten += batch;
        if batch < FORGET_BATCH.unsigned_abs() {
            break;
        }
    }
    let partitions = ensure_partitions(&mut connection).await?;
    tracing::info!(forgotten, partitions, "cleaned");
    Ok(())
}
