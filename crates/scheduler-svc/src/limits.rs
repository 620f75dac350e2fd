//! What WhatsApp reports of each number's throughput and its portfolio's messaging limit, read from time to time. The
//! lower of what is reported and what people decided holds; what is not said leaves the last report standing.

use crate::streams::Queues;
use campaign_runtime::Shutdown;
use campaign_store::phone_numbers::{self, PhoneNumber, THROUGHPUT_MAX_PER_SECOND};
use campaign_store::{Connection, Store, accounts, portfolios};
use std::time::Duration;
use whatsapp_api::CloudApi;
use whatsapp_api::limits::{MessagingLimit, NumberLimits};

/// Numbers read from Postgres at a time.
const PAGE: i64 = 200;
/// The pause between two requests: management calls are rationed.
const SPACING: Duration = Duration::from_millis(200);

/// The pause before what could not be forgotten is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Where limits are not read any more, what was read before must not hold for ever.
pub(crate) async fn forget_reports(store: Store, queues: Queues, shutdown: Shutdown) -> anyhow::Result<()> {
    loop {
        let forgotten = store.in_time(async {
            let mut transaction = store.begin().await?;
            let lanes = phone_numbers::forget_reports(&mut transaction).await?;
            portfolios::forget_reports(&mut transaction).await?;
            campaign_store::commit(transaction).await?;
            campaign_store::Result::Ok(lanes)
        });
        match forgotten.await {
            Ok(lanes) => {
                for lane in &lanes {
                    queues.wake_lane(lane).await;
                }
                return Ok(());
            }
            Err(error) => tracing::warn!(%error, "reported limits still hold"),
        }
        if !shutdown.sleep(AGAIN_AFTER).await {
            return Ok(());
        }
    }
}

/// Reads limits.
pub(crate) struct LimitSync {
    pub(crate) store: Store,
    pub(crate) queues: Queues,
    pub(crate) whatsapp: CloudApi,
    pub(crate) every: Duration,
}

impl LimitSync {
    /// Reads until the service stops.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        loop {
            if let Err(error) = self.read_all(&shutdown).await {
                tracing::warn!(%error, "the limits of the numbers could not be recorded");
            }
            if !shutdown.sleep(self.every).await {
                return Ok(());
            }
        }
    }

    async fn read_all(&self, shutdown: &Shutdown) -> campaign_store::Result<()> {
        let mut after = None;
        loop {
            let numbers = {
                let mut connection = self.store.connection().await?;
                phone_numbers::list(&mut connection, after.as_ref(), PAGE).await?
            };
            let Some(last) = numbers.last() else { return Ok(()) };
            after = Some(last.phone_number_id.clone());
            for number in numbers.iter().filter(|number| number.active) {
                self.read(number).await?;
                if !shutdown.sleep(SPACING).await {
                    return Ok(());
                }
            }
        }
    }

    async fn read(&self, number: &PhoneNumber) -> campaign_store::Result<()> {
        let lane = &number.phone_number_id;
        let limits = match self.whatsapp.limits(lane.as_str()).await {
            Ok(limits) => limits,
            Err(error) => {
                tracing::warn!(%lane, %error, "WhatsApp did not tell the limits of a number");
                metrics::counter!("limit_reads_failed_total").increment(1);
                return Ok(());
            }
        };
        let mut transaction = self.store.begin().await?;
        let changed = record(&mut transaction, number, limits).await?;
        campaign_store::commit(transaction).await?;
        if changed {
            tracing::info!(%lane, ?limits, "WhatsApp reports other limits");
            self.queues.wake_lane(lane).await;
        }
        Ok(())
    }
}

async fn record(
    connection: &mut Connection,
    number: &PhoneNumber,
    limits: NumberLimits,
) -> campaign_store::Result<bool> {
    let mut changed = false;
    if let Some(reported) = limits.throughput_per_second {
        let reported = i32::try_from(reported)
            .unwrap_or(THROUGHPUT_MAX_PER_SECOND)
            .min(THROUGHPUT_MAX_PER_SECOND);
        if number.reported_throughput_per_second != Some(reported) {
            phone_numbers::report_throughput(connection, &number.phone_number_id, Some(reported)).await?;
            changed = true;
        }
    }
    let Some(limit) = limits.messaging_limit else {
        return Ok(changed);
    };
    let account = accounts::get(connection, number.account_id).await?;
    let Some(portfolio_id) = account.portfolio_id else {
        return Ok(changed);
    };
    let limit = match limit {
        MessagingLimit::People(people) => Some(i64::try_from(people).unwrap_or(i64::MAX)),
        MessagingLimit::Unlimited => None,
    };
    if portfolios::get(connection, &portfolio_id).await?.reported_limit != limit {
        portfolios::report_limit(connection, &portfolio_id, limit).await?;
        changed = true;
    }
    Ok(changed)
}
