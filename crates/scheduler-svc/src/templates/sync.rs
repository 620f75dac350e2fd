//! Reads the templates of every account from WhatsApp: on a schedule, when news came, and when a person asks.
//!
//! Replicas share the work by claims in Postgres, so one account is read by one of them. A template whose message
//! changed becomes a new version; campaigns keep the version that they were scheduled with. A failure waits longer
//! each time, and as long as WhatsApp says. One of the account's numbers asks, since a number can have a server, a
//! version and a token of its own.

use super::news::{self, Effect, Said};
use crate::streams::Queues;
use campaign_core::ids::{AccountId, LaneId, TemplateId};
use campaign_core::template::{ParameterFormat, Template, TemplateStatus};
use campaign_runtime::Shutdown;
use campaign_store::template_syncs::{self, Claim, SyncOutcome};
use campaign_store::templates::StoredTemplate;
use campaign_store::{Store, StoreError, phone_numbers, templates};
use serde_json::json;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;
use whatsapp_api::CloudApi;
use whatsapp_api::templates::{ListedTemplate, ListingError, Usage};

/// How often it is looked whether an account is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an account is ours to read; a listing that takes longer is given up before.
const LEASE: Duration = Duration::from_mins(5);
/// The longest that one listing may take.
const LISTING_MAX: Duration = Duration::from_mins(4);
/// Pages of one listing: Meta allows an account 6,000 templates.
const PAGES_MAX: usize = 100;
/// Pause after the first failure; doubles up to [`FAILURE_PAUSE_MAX`].
const FAILURE_PAUSE_MIN: Duration = Duration::from_secs(15);
/// Longest pause after failures.
const FAILURE_PAUSE_MAX: Duration = Duration::from_hours(1);
/// Doublings of the pause; more would pass [`FAILURE_PAUSE_MAX`].
const FAILURE_DOUBLINGS_MAX: u32 = 8;
/// Longest time that WhatsApp's word on when to ask again is believed.
const TOLD_PAUSE_MAX: Duration = Duration::from_hours(24);
/// Pause before the next reading where somebody asked while one was under way.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Usage of Meta's allowance, in percent, above which the next reading waits at least [`SPARING_PAUSE`].
const SPARING_PERCENT: u32 = 80;
/// Pause while the allowance is nearly used up.
const SPARING_PAUSE: Duration = Duration::from_hours(1);
/// Templates that were passed over, as many as are named.
const PASSED_OVER_SHOWN_MAX: usize = 50;

/// Reads templates.
pub(crate) struct TemplateSync {
    pub(crate) store: Store,
    pub(crate) queues: Queues,
    pub(crate) whatsapp: CloudApi,
    pub(crate) every: Duration,
    /// Rung when somebody asks.
    pub(crate) bell: Arc<Notify>,
}

/// Why an account could not be read.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error(transparent)]
    Listing(#[from] ListingError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the listing has more than {PAGES_MAX} pages")]
    TooLong,
    #[error("the listing took longer than {} s", LISTING_MAX.as_secs())]
    TooSlow,
}

impl TemplateSync {
    /// Reads what is due until the scheduler stops.
    pub(crate) async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        loop {
            match Box::pin(self.read_due(&shutdown)).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "templates could not be read; trying again"),
            }
            tokio::select! {
                goes_on = shutdown.sleep(LOOK_EVERY) => if !goes_on { return Ok(()) },
                () = self.bell.notified() => {}
            }
        }
    }

    async fn read_due(&self, shutdown: &Shutdown) -> Result<(), StoreError> {
        while let Some(claim) = self.store.in_time(self.claim()).await? {
            let listing = Box::pin(self.read(&claim));
            let read = shutdown.run_until_stopping(tokio::time::timeout(LISTING_MAX, listing));
            let Some(read) = read.await else {
                // Somebody else reads it at once.
                return self
                    .finish(&claim, &Err(SyncError::TooSlow), Duration::ZERO)
                    .await;
            };
            let read = read.unwrap_or(Err(SyncError::TooSlow));
            let pause = self.pause_after(&read, claim.failures);
            report(&claim, &read);
            self.finish(&claim, &read, pause).await?;
        }
        Ok(())
    }

    async fn claim(&self) -> Result<Option<Claim>, StoreError> {
        let mut connection = self.store.connection().await?;
        template_syncs::ensure(&mut connection).await?;
        template_syncs::claim(&mut connection, LEASE).await
    }

    async fn finish(
        &self,
        claim: &Claim,
        read: &Result<(SyncOutcome, Usage), SyncError>,
        pause: Duration,
    ) -> Result<(), StoreError> {
        let why = read.as_ref().err().map(ToString::to_string);
        let found = match (read, &why) {
            (_, Some(why)) => Err(why.as_str()),
            (Ok((outcome, _)), None) => Ok(outcome),
            (Err(_), None) => unreachable!("a failure says why"),
        };
        let asked_after = if found.is_ok() { ASKED_AGAIN_AFTER } else { pause };
        self.store
            .in_time(async {
                let mut connection = self.store.connection().await?;
                template_syncs::finish(&mut connection, claim, found, pause, asked_after).await
            })
            .await
    }

    fn pause_after(&self, read: &Result<(SyncOutcome, Usage), SyncError>, failures: i32) -> Duration {
        match read {
            Ok((_, usage)) => pause_by_usage(self.every, *usage),
            Err(error) => pause_by_failures(failures, told(error)),
        }
    }

    /// Reads one account, page by page, and then looks for what is gone.
    async fn read(&self, claim: &Claim) -> Result<(SyncOutcome, Usage), SyncError> {
        let asks = self.store.in_time(self.spokesman(claim.account_id)).await?;
        let mut outcome = SyncOutcome::default();
        let mut listed = HashSet::new();
        let mut after: Option<String> = None;
        let mut unreadable = 0;
        for _ in 0..PAGES_MAX {
            let page = self
                .whatsapp
                .templates_page(
                    &claim.waba_id,
                    asks.as_ref().map(LaneId::as_str),
                    after.as_deref(),
                )
                .await?;
            unreadable += page.unreadable;
            for template in page.templates {
                outcome.listed += 1;
                self.take_in(claim, &template, &mut outcome).await?;
                listed.insert((template.name, template.language));
            }
            after = page.after;
            if after.is_none() {
                if unreadable == 0 {
                    self.miss(claim, &listed, &mut outcome).await?;
                }
                return Ok((outcome, page.usage));
            }
        }
        Err(SyncError::TooLong)
    }

    async fn spokesman(&self, account: AccountId) -> Result<Option<LaneId>, StoreError> {
        let mut connection = self.store.connection().await?;
        phone_numbers::spokesman(&mut connection, account).await
    }

    /// One template of the listing, in a transaction of its own.
    async fn take_in(
        &self,
        claim: &Claim,
        listed: &ListedTemplate,
        outcome: &mut SyncOutcome,
    ) -> Result<(), StoreError> {
        let status = TemplateStatus::read(&listed.status);
        let said = Said {
            status,
            reason: match status {
                TemplateStatus::Unknown => Some(listed.status.as_str()),
                _ => listed.rejected_reason.as_deref(),
            },
            meta_id: Some(&listed.id),
        };
        let readable = readable(listed, status);
        if let Err(why) = &readable
            && outcome.passed_over.len() < PASSED_OVER_SHOWN_MAX
        {
            outcome
                .passed_over
                .push(format!("{} ({}): {why}", listed.name, listed.language));
        }
        let effect = self
            .store
            .in_time(self.write(claim, listed, readable.ok(), said, outcome))
            .await?;
        self.wake(&effect.lanes).await;
        Ok(())
    }

    async fn write(
        &self,
        claim: &Claim,
        listed: &ListedTemplate,
        template: Option<Template>,
        said: Said<'_>,
        outcome: &mut SyncOutcome,
    ) -> Result<Effect, StoreError> {
        let mut transaction = self.store.begin().await?;
        let account = claim.account_id;
        let mut versions =
            templates::lock_versions(&mut transaction, account, &listed.name, &listed.language).await?;
        if said_since(&versions, claim) {
            return Ok(Effect::default());
        }
        let newest = versions.first();
        let changed = template
            .filter(|template| newest.is_none_or(|newest| !newest.template.makes_the_same_message(template)));
        let mut superseded = BTreeSet::new();
        if let Some(template) = changed {
            let id = TemplateId(Uuid::now_v7());
            templates::create(&mut transaction, id, account, &template).await?;
            versions.insert(0, templates::get(&mut transaction, id).await?);
            outcome.written += 1;
            superseded = news::supersede(&mut transaction, &versions).await?;
        }
        let mut effect = news::follow_versions(&mut transaction, &versions, said).await?;
        effect.lanes.append(&mut superseded);
        outcome.changed += u64::from(effect.changed);
        campaign_store::commit(transaction).await?;
        Ok(effect)
    }

    /// What Meta had and does not list any more was deleted there. What people wrote here and never sent to Meta is
    /// not Meta's to delete.
    async fn miss(
        &self,
        claim: &Claim,
        listed: &HashSet<(String, String)>,
        outcome: &mut SyncOutcome,
    ) -> Result<(), StoreError> {
        let mut known = {
            let mut connection = self.store.connection().await?;
            templates::known_to_meta(&mut connection, claim.account_id).await?
        };
        known.retain(|template| !listed.contains(template));
        for (name, language) in known {
            let buried = self.store.in_time(self.bury(claim, &name, &language)).await?;
            if let Some(effect) = buried {
                outcome.gone += 1;
                self.wake(&effect.lanes).await;
            }
        }
        Ok(())
    }

    async fn bury(&self, claim: &Claim, name: &str, language: &str) -> Result<Option<Effect>, StoreError> {
        let mut transaction = self.store.begin().await?;
        let versions = templates::lock_versions(&mut transaction, claim.account_id, name, language).await?;
        if said_since(&versions, claim) {
            return Ok(None);
        }
        let said = Said {
            status: TemplateStatus::Deleted,
            reason: Some("WhatsApp no longer lists it"),
            meta_id: None,
        };
        let effect = news::follow_versions(&mut transaction, &versions, said).await?;
        campaign_store::commit(transaction).await?;
        Ok(Some(effect))
    }

    async fn wake(&self, lanes: &BTreeSet<LaneId>) {
        for lane in lanes {
            self.queues.wake_lane(lane).await;
        }
    }
}

/// What a webhook or a person said of a template while the listing was on its way is newer than the listing.
fn said_since(versions: &[StoredTemplate], claim: &Claim) -> bool {
    let newest = versions.first();
    newest.is_some_and(|newest| newest.updated_at > claim.claimed_at)
}

/// The template as this engine sends it, or why it cannot.
fn readable(listed: &ListedTemplate, status: TemplateStatus) -> Result<Template, String> {
    let category = listed
        .category
        .parse()
        .map_err(|error| format!("category: {error}"))?;
    let parameter_format = listed
        .parameter_format
        .as_deref()
        .map_or(Ok(ParameterFormat::Positional), str::parse)
        .map_err(|error| format!("parameter_format: {error}"))?;
    let components = serde_json::from_value(listed.components.clone());
    let template = Template {
        name: listed.name.clone(),
        language: listed.language.clone(),
        category,
        parameter_format,
        components: components.map_err(|error| format!("components: {error}"))?,
        status,
    };
    match template.compile_for_sending() {
        Ok(_) => Ok(template),
        Err(problems) => Err(problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")),
    }
}

fn told(error: &SyncError) -> Option<Duration> {
    match error {
        SyncError::Listing(ListingError::Refused { retry_after, .. }) => *retry_after,
        _ => None,
    }
}

fn pause_by_usage(every: Duration, usage: Usage) -> Duration {
    let sparing = if usage.percent >= SPARING_PERCENT {
        SPARING_PAUSE
    } else {
        Duration::ZERO
    };
    every.max(sparing).max(usage.regained_in.min(TOLD_PAUSE_MAX))
}

fn pause_by_failures(failures: i32, told: Option<Duration>) -> Duration {
    let doublings = u32::try_from(failures)
        .unwrap_or_default()
        .min(FAILURE_DOUBLINGS_MAX);
    let pause = (FAILURE_PAUSE_MIN * 2_u32.pow(doublings)).min(FAILURE_PAUSE_MAX);
    pause.max(told.unwrap_or_default().min(TOLD_PAUSE_MAX))
}

fn report(claim: &Claim, read: &Result<(SyncOutcome, Usage), SyncError>) {
    let result = if read.is_ok() { "ok" } else { "failed" };
    metrics::counter!("template_syncs_total", "result" => result).increment(1);
    match read {
        Ok((outcome, usage)) => tracing::info!(
            account_id = %claim.account_id,
            outcome = %json!(outcome),
            usage_percent = usage.percent,
            "templates were read"
        ),
        Err(error) => {
            tracing::warn!(account_id = %claim.account_id, failures = claim.failures + 1, %error, "templates were not read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_each_time_and_as_long_as_told() {
        let pauses: Vec<u64> = (0..10)
            .map(|failures| pause_by_failures(failures, None).as_secs())
            .collect();
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        let told = Some(Duration::from_mins(3));
        assert_eq!(pause_by_failures(0, told), Duration::from_mins(3));
        assert_eq!(pause_by_failures(i32::MAX, Some(Duration::MAX)), TOLD_PAUSE_MAX);
    }

    #[test]
    fn an_allowance_nearly_used_up_is_spared() {
        let every = Duration::from_mins(10);
        let usage = |percent, regained_in| Usage { percent, regained_in };
        assert_eq!(pause_by_usage(every, usage(79, Duration::ZERO)), every);
        assert_eq!(pause_by_usage(every, usage(80, Duration::ZERO)), SPARING_PAUSE);
        let long = Duration::from_hours(2);
        assert_eq!(pause_by_usage(every, usage(0, long)), long);
    }
}
