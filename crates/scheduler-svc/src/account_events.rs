//! `account.events`: what WhatsApp reports about accounts, templates and numbers, and what is held because of it.
//!
//! `message-svc` receives the webhooks and has no database; whoever reads here decides. Taking an event twice does
//! what taking it once does.

use crate::app::Scheduler;
use crate::templates::news::{self, RAISED_BY, Said};
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{
    ACCOUNT_EVENTS_STREAM, AccountChange, AccountEvent, Meaning, SCHEDULER_GROUP, meaning_of_account,
    meaning_of_quality,
};
use campaign_core::ids::LaneId;
use campaign_core::template::{TemplateEvent, TemplateStatus};
use campaign_runtime::link_to;
use campaign_store::{StoreError, accounts, holds, phone_numbers, template_syncs};
use campaign_streams::{Consumer, ConsumerConfig, Delivery, Verdict};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// How soon an event comes back that could not be followed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// News of templates make an account's listing be read at most this often.
const SYNC_SPACING: Duration = Duration::from_mins(1);

/// Follows events until `stopping`.
pub(crate) async fn consume(scheduler: Arc<Scheduler>, stopping: CancellationToken) -> anyhow::Result<()> {
    let config = ConsumerConfig::sole(ACCOUNT_EVENTS_STREAM, SCHEDULER_GROUP);
    Consumer::new(scheduler.queues.streams(), config)
        .run(stopping, |delivery: Delivery<AccountEvent>| {
            let span = tracing::info_span!("account event", waba_id = %delivery.body.waba_id);
            link_to(&span, &delivery.trace);
            handle(scheduler.clone(), delivery).instrument(span)
        })
        .await;
    Ok(())
}

async fn handle(scheduler: Arc<Scheduler>, delivery: Delivery<AccountEvent>) -> Verdict {
    let event = delivery.body;
    match scheduler.store.in_time(follow(&scheduler, &event)).await {
        Ok(lanes) => {
            tracing::info!(change = ?event.change, lanes = lanes.len(), "WhatsApp reports a change");
            for lane in &lanes {
                scheduler.queues.wake_lane(lane).await;
            }
            scheduler.sync_bell.notify_one();
            Verdict::Done
        }
        Err(error) if error.is_data_error() => Verdict::Reject(error.to_string()),
        Err(error) => {
            tracing::warn!(%error, "what WhatsApp reports could not be followed; trying again");
            Verdict::Retry(RETRY_AFTER)
        }
    }
}

/// Holds and releases what the event concerns. Returns the numbers whose owners should look.
async fn follow(scheduler: &Scheduler, event: &AccountEvent) -> Result<BTreeSet<LaneId>, StoreError> {
    match &event.change {
        AccountChange::Template {
            name,
            language,
            event: word,
            reason,
        } => follow_template(scheduler, event, (name, language), word, reason.as_deref()).await,
        AccountChange::Quality {
            display_number,
            event: word,
            limit,
        } => {
            let meaning = meaning_of_quality(word);
            let limit = limit
                .as_deref()
                .map(|limit| format!(", limit {limit}"))
                .unwrap_or_default();
            let reason = format!("WhatsApp reports low quality of the number: {word}{limit}");
            let number = display_number.as_deref();
            follow_numbers(
                scheduler,
                &event.waba_id,
                number,
                HoldKind::Quality,
                meaning,
                &reason,
            )
            .await
        }
        AccountChange::Account { event: word, reason } => {
            let meaning = meaning_of_account(word, reason.as_deref());
            let why = reason
                .as_deref()
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default();
            let text = format!("WhatsApp reports of the account: {word}{why}");
            follow_numbers(scheduler, &event.waba_id, None, HoldKind::Account, meaning, &text).await
        }
    }
}

async fn follow_template(
    scheduler: &Scheduler,
    event: &AccountEvent,
    (name, language): (&str, &str),
    word: &str,
    reason: Option<&str>,
) -> Result<BTreeSet<LaneId>, StoreError> {
    let mut transaction = scheduler.store.begin().await?;
    let Some(account) = accounts::by_waba_id(&mut transaction, &event.waba_id).await? else {
        tracing::warn!(
            template = name,
            event = word,
            "a template of an account that is not known here"
        );
        return Ok(BTreeSet::new());
    };
    let lanes = match TemplateEvent::read(word) {
        TemplateEvent::Status(status) => {
            let said = Said {
                status,
                reason,
                meta_id: None,
            };
            let effect = news::follow(&mut transaction, account.id, name, language, said).await?;
            let mut lanes = effect.lanes;
            if status == TemplateStatus::Approved {
                lanes.extend(news::flag(&mut transaction, account.id, name, language, None).await?);
            }
            lanes
        }
        TemplateEvent::Flagged => {
            let text =
                format!("WhatsApp reports that recipients complain about the template {name} ({language})");
            news::flag(&mut transaction, account.id, name, language, Some(&text)).await?
        }
        TemplateEvent::Unknown => BTreeSet::new(),
    };
    // What the webhook does not carry, the text above all, is in the listing.
    template_syncs::ensure(&mut transaction).await?;
    template_syncs::ask_soon(&mut transaction, account.id, SYNC_SPACING).await?;
    campaign_store::commit(transaction).await?;
    Ok(lanes)
}

async fn follow_numbers(
    scheduler: &Scheduler,
    waba_id: &str,
    display_number: Option<&str>,
    kind: HoldKind,
    meaning: Meaning,
    reason: &str,
) -> Result<BTreeSet<LaneId>, StoreError> {
    let mut lanes = BTreeSet::new();
    if meaning == Meaning::Nothing {
        return Ok(lanes);
    }
    let mut transaction = scheduler.store.begin().await?;
    let numbers = phone_numbers::of_account(&mut transaction, waba_id, display_number).await?;
    if numbers.is_empty() {
        tracing::warn!(reason, "a number or account that is not known here");
    }
    for lane in numbers {
        let changed = match meaning {
            Meaning::Hold => {
                holds::raise_lane(&mut transaction, &lane, kind, reason, RAISED_BY, None).await?
            }
            Meaning::Lift => holds::lift_lane(&mut transaction, &lane, kind).await?,
            Meaning::Nothing => false,
        };
        if changed {
            lanes.insert(lane);
        }
    }
    campaign_store::commit(transaction).await?;
    Ok(lanes)
}
