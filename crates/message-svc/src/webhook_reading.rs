//! What one update of a webhook means here. Pure.
//!
//! Statuses are joined to messages by our own callback data, never by the phone: a `wa_id` may differ from
//! the number that was sent to.

use crate::opt_out_words::OptOutWords;
use campaign_core::contracts::{
    AccountChange, AccountEvent, ErrorNote, MessageOutcome, OptOut, OutcomeSource,
};
use campaign_core::cost::{CATEGORY_MAX_CHARS, ReportedPricing};
use campaign_core::ids::{LaneId, MessageKey};
use campaign_core::message::MessageState;
use campaign_core::phone::{CanonicalPhone, Region, canonicalise};
use chrono::{DateTime, Utc};
use whatsapp_api::errors::entry;
use whatsapp_api::webhook::{
    DeliveryStatus, Inbound, InboundContent, Preference, PreferenceValue, Status, StatusPricing, Update,
};
use whatsapp_api::{Action, GraphError, decide};

/// Longest message id that is kept, in bytes. WhatsApp's have about 60 to 100; the ledger does not join by them.
const WAMID_MAX_BYTES: usize = 512;

/// What an update says.
#[derive(Debug, Default)]
pub struct Reading {
    /// The metric label.
    pub kind: &'static str,
    /// A message went further, and the lane it was sent from.
    pub status: Option<(LaneId, MessageOutcome)>,
    /// A person's wish, and the lane it was told to, where the webhook names one.
    pub opt_out: Option<(Option<LaneId>, OptOut)>,
    /// Something larger than a message changed, for the scheduler.
    pub account_event: Option<AccountEvent>,
    /// Why it concerns nothing here, if it should have.
    pub unknown: Option<&'static str>,
}

impl Reading {
    fn of(kind: &'static str) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }
}

/// Reads one update. `now` stands where the update has no time of its own.
pub fn read(update: Update, words: &OptOutWords, now: DateTime<Utc>) -> Reading {
    match update {
        Update::Status(status) => read_status(status, now),
        Update::Inbound(inbound) => read_inbound(&inbound, words, now),
        Update::Preference(preference) => read_preference(&preference, now),
        Update::TemplateStatus(template) => {
            let change = AccountChange::Template {
                name: template.name,
                language: template.language,
                event: template.event,
                reason: template.reason,
            };
            account_event("template_status", template.account_id, change, now)
        }
        Update::Quality(quality) => {
            let change = AccountChange::Quality {
                display_number: quality.display_phone_number,
                event: quality.event,
                limit: quality.current_limit,
            };
            account_event("quality", quality.account_id, change, now)
        }
        Update::Account(account) => {
            let change = AccountChange::Account {
                event: account.event,
                reason: account.reason,
            };
            account_event("account", account.account_id, change, now)
        }
        Update::Unknown(_) => Reading::of("other_field"),
    }
}

fn account_event(kind: &'static str, waba_id: String, change: AccountChange, now: DateTime<Utc>) -> Reading {
    let mut reading = Reading::of(kind);
    reading.account_event = Some(AccountEvent {
        waba_id,
        change,
        at: now,
    });
    reading
}

fn read_status(status: Status, now: DateTime<Utc>) -> Reading {
    let (kind, state) = match status.status {
        DeliveryStatus::Sent => ("sent", MessageState::Sent),
        DeliveryStatus::Delivered => ("delivered", MessageState::Delivered),
        DeliveryStatus::Read => ("read", MessageState::Read),
        DeliveryStatus::Failed => ("failed", MessageState::Undelivered),
        DeliveryStatus::Played => return Reading::of("played"),
        DeliveryStatus::Other(_) => return Reading::of("other_status"),
    };
    let mut reading = Reading::of(kind);
    let at = time(status.timestamp_s, now);
    let lane: Option<LaneId> = status.phone_number_id.parse().ok();
    if state == MessageState::Undelivered {
        reading.opt_out = suppression(&status, at).map(|opt_out| (lane.clone(), opt_out));
    }
    let callback = status.callback_data.as_deref();
    let key: Option<MessageKey> = callback.and_then(|data| data.parse().ok());
    let (Some(key), Some(lane)) = (key, lane) else {
        reading.unknown = Some(if callback.is_none() {
            "no_callback_data"
        } else {
            "foreign_callback_data"
        });
        return reading;
    };
    let mut outcome = MessageOutcome::new(key, state, at, OutcomeSource::Webhook);
    outcome.wamid = Some(status.wamid).filter(|wamid| wamid.len() <= WAMID_MAX_BYTES);
    outcome.pricing = status.pricing.map(reported);
    if state == MessageState::Undelivered {
        outcome.error = Some(
            status
                .errors
                .first()
                .map_or_else(|| ErrorNote::new("unknown", "the webhook named no error"), note),
        );
    }
    reading.status = Some((lane, outcome));
    reading
}

/// Some versions say only what kind of price it is.
fn reported(pricing: StatusPricing) -> ReportedPricing {
    let is_free = pricing
        .kind
        .as_deref()
        .is_some_and(|kind| kind.starts_with("free"));
    ReportedPricing {
        billable: pricing.billable.unwrap_or(!is_free),
        category: pricing
            .category
            .filter(|category| category.len() <= CATEGORY_MAX_CHARS)
            .map(|category| category.to_uppercase()),
    }
}

fn note(error: &GraphError) -> ErrorNote {
    let title = entry(error.code).map(|entry| entry.title);
    let title = error.title.as_deref().or(title).unwrap_or(&error.message);
    let text = match error.details() {
        details if details.is_empty() || details == title => title.to_owned(),
        details => format!("{title}: {details}"),
    };
    ErrorNote::new(error.code.to_string(), text)
}

/// The error that says that the person stopped marketing.
fn suppression(status: &Status, at: DateTime<Utc>) -> Option<OptOut> {
    let error = status
        .errors
        .iter()
        .find(|error| decide(error).action == Action::FailAndSuppress)?;
    Some(OptOut {
        phone: person(status.recipient_id.as_deref()?)?,
        stop: true,
        source: format!("error_{}", error.code),
        at,
    })
}

fn read_inbound(inbound: &Inbound, words: &OptOutWords, now: DateTime<Utc>) -> Reading {
    let (kind, said) = match &inbound.content {
        InboundContent::Text(text) => ("inbound_text", Some(text)),
        InboundContent::Button { text, payload } => {
            ("inbound_button", Some(payload.as_ref().unwrap_or(text)))
        }
        InboundContent::Interactive { text, payload } => {
            ("inbound_interactive", Some(payload.as_ref().unwrap_or(text)))
        }
        InboundContent::Other(_) => ("inbound_other", None),
    };
    let mut reading = Reading::of(kind);
    if !said.is_some_and(|said| words.contain(said)) {
        return reading;
    }
    match inbound.from.as_deref().and_then(person) {
        None => reading.unknown = Some("person"),
        Some(phone) => {
            let opt_out = OptOut {
                phone,
                stop: true,
                source: "keyword".to_owned(),
                at: time(inbound.timestamp_s, now),
            };
            reading.opt_out = Some((inbound.phone_number_id.parse().ok(), opt_out));
        }
    }
    reading
}

fn read_preference(preference: &Preference, now: DateTime<Utc>) -> Reading {
    let mut reading = Reading::of("preference");
    if preference.category != "marketing_messages" {
        reading.unknown = Some("category");
        return reading;
    }
    let Some(phone) = person(&preference.wa_id) else {
        reading.unknown = Some("person");
        return reading;
    };
    let opt_out = OptOut {
        phone,
        stop: preference.value == PreferenceValue::Stop,
        source: "preference".to_owned(),
        at: time(preference.timestamp_s, now),
    };
    let lane = preference.phone_number_id.as_deref();
    reading.opt_out = Some((lane.and_then(|lane| lane.parse().ok()), opt_out));
    reading
}

/// A `wa_id` has no `+`, and an old Brazilian one no ninth digit.
fn person(wa_id: &str) -> Option<CanonicalPhone> {
    canonicalise(
        &format!("+{}", wa_id.trim_start_matches('+')),
        Region::International,
    )
    .ok()
}

fn time(timestamp_s: Option<i64>, now: DateTime<Utc>) -> DateTime<Utc> {
    timestamp_s
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .unwrap_or(now)
}

#[cfg(test)]
#[path = "webhook_reading_tests.rs"]
mod tests;
