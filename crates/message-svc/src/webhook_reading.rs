//! What one update of a webhook means here. Pure.
//!
//! Statuses are joined to messages by our own callback data, never by the phone: a `wa_id` may differ from
//! the number that was sent to.

use crate::error_note::{note, note_with_advice};
use crate::opt_out_words::OptOutWords;
use crate::troubles::called_for;
use campaign_core::contracts::{
    AccountChange, AccountEvent, ErrorNote, MessageOutcome, OptOut, OutcomeSource, Trouble,
};
use campaign_core::cost::{CATEGORY_MAX_CHARS, ReportedPricing};
use campaign_core::ids::{LaneId, MessageKey};
use campaign_core::message::MessageState;
use campaign_core::phone::{CanonicalPhone, Region, canonicalise};
use chrono::{DateTime, Utc};
use whatsapp_api::webhook::{
    DeliveryStatus, Inbound, InboundContent, Preference, PreferenceValue, Status, StatusPricing, Update,
};
use whatsapp_api::{Action, GraphError, decide};

/// Longest text that is set aside, in characters.
const ASIDE_MAX_CHARS: usize = 200;
/// Longest message id that is kept, in bytes. WhatsApp's have about 60 to 100; the ledger does not join by them.
const WAMID_MAX_BYTES: usize = 512;

/// What an update says.
#[derive(Debug, Default)]
pub struct Reading {
    /// The metric label.
    pub kind: &'static str,
    /// A message went further, and the lane it was sent from.
    pub status: Option<(LaneId, MessageOutcome)>,
    /// Something larger than the message is wrong, and the lane it was sent from.
    pub trouble: Option<(LaneId, Trouble)>,
    /// A person's wish, and the lane it was told to, where the webhook names one.
    pub opt_out: Option<(Option<LaneId>, OptOut)>,
    /// Something larger than a message changed, for the scheduler.
    pub account_event: Option<AccountEvent>,
    /// Why it concerns nothing here, if it should have.
    pub unknown: Option<&'static str>,
    /// What of it is kept for a person to look at.
    pub aside: Option<Aside>,
}

/// An update that should concern somebody here, and nobody can tell whom.
#[derive(Debug, PartialEq, Eq)]
pub struct Aside {
    /// A person wants no more messages: someone must find out who it is.
    pub is_wish: bool,
    /// WhatsApp's id of the message, or nothing.
    pub wamid: String,
    /// What was said, by name.
    pub fields: Vec<(String, String)>,
}

impl Aside {
    fn new<const N: usize>(is_wish: bool, wamid: &str, fields: [(&str, Option<&str>); N]) -> Self {
        let cut = |text: &str| text.chars().take(ASIDE_MAX_CHARS).collect::<String>();
        let told = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        Self {
            is_wish,
            wamid: cut(wamid),
            fields: told.map(|(name, value)| (name.to_owned(), cut(value))).collect(),
        }
    }

    /// A status of a message that was not sent from here, or not as it says.
    pub fn of_status(status: &Status, is_wish: bool) -> Self {
        let timestamp = status.timestamp_s.map(|seconds| seconds.to_string());
        let code = status.errors.first().map(|error| error.code.to_string());
        Self::new(
            is_wish,
            &status.wamid,
            [
                ("phone_number_id", Some(&status.phone_number_id)),
                ("status", Some(status.status.as_str())),
                ("biz_opaque_callback_data", status.callback_data.as_deref()),
                ("recipient_id", status.recipient_id.as_deref()),
                ("error_code", code.as_deref()),
                ("timestamp", timestamp.as_deref()),
            ],
        )
    }
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
    let failed = state == MessageState::Undelivered;
    if failed {
        reading.trouble = lane.clone().zip(trouble(&status, at));
    }
    let stopped = failed.then(|| stop_of_marketing(&status)).flatten();
    if let Some(error) = stopped {
        reading.opt_out = suppression(&status, error, at).map(|opt_out| (lane.clone(), opt_out));
    }
    let callback = status.callback_data.as_deref();
    let key: Option<MessageKey> = callback.and_then(|data| data.parse().ok());
    let (Some(key), Some(lane)) = (key, lane) else {
        reading.unknown = Some(if callback.is_none() {
            "no_callback_data"
        } else {
            "foreign_callback_data"
        });
        let is_wish = stopped.is_some() && reading.opt_out.is_none();
        reading.aside = Some(Aside::of_status(&status, is_wish));
        return reading;
    };
    let mut outcome = MessageOutcome::new(key, state, at, OutcomeSource::Webhook);
    outcome.suppress = stopped.is_some();
    outcome.pricing = status.pricing.map(reported);
    if failed {
        outcome.error = Some(
            status
                .errors
                .first()
                .map_or_else(|| ErrorNote::new("unknown", "the webhook named no error"), note),
        );
    }
    outcome.wamid = Some(status.wamid).filter(|wamid| wamid.len() <= WAMID_MAX_BYTES);
    reading.status = Some((lane, outcome));
    reading
}

/// What a late failure says about more than its message: the same as an answer would have said.
fn trouble(status: &Status, at: DateTime<Utc>) -> Option<Trouble> {
    let callback = status.callback_data.as_deref();
    let key: Option<MessageKey> = callback.and_then(|data| data.parse().ok());
    let campaign = key.map(|key| key.campaign);
    status.errors.iter().find_map(|error| {
        let decision = decide(error);
        called_for(decision, campaign, note_with_advice(error, decision), at)
    })
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

/// The error that says that the person stopped marketing.
fn stop_of_marketing(status: &Status) -> Option<&GraphError> {
    let mut errors = status.errors.iter();
    errors.find(|error| decide(error).action == Action::FailAndSuppress)
}

fn suppression(status: &Status, error: &GraphError, at: DateTime<Utc>) -> Option<OptOut> {
    Some(OptOut {
        phone: person(status.recipient_id.as_deref()?)?,
        stop: true,
        source: format!("error_{}", error.code),
        at,
    })
}

fn read_inbound(inbound: &Inbound, words: &OptOutWords, now: DateTime<Utc>) -> Reading {
    // Of a button both count: what the person saw, and what we gave it to say.
    let (kind, said) = match &inbound.content {
        InboundContent::Text(text) => ("inbound_text", [Some(text), None]),
        InboundContent::Button { text, payload } => ("inbound_button", [Some(text), payload.as_ref()]),
        InboundContent::Interactive { text, payload } => {
            ("inbound_interactive", [Some(text), payload.as_ref()])
        }
        InboundContent::Other(_) => ("inbound_other", [None, None]),
    };
    let mut reading = Reading::of(kind);
    let Some(word) = said.into_iter().flatten().find(|said| words.contain(said)) else {
        return reading;
    };
    if let Some(phone) = inbound.from.as_deref().and_then(person) {
        let opt_out = OptOut {
            phone,
            stop: true,
            source: "keyword".to_owned(),
            at: time(inbound.timestamp_s, now),
        };
        reading.opt_out = Some((inbound.phone_number_id.parse().ok(), opt_out));
    } else {
        reading.unknown = Some("person");
        let fields = [
            ("said", Some(word.as_str())),
            ("phone_number_id", Some(&inbound.phone_number_id)),
            ("from", inbound.from.as_deref()),
            ("from_user_id", inbound.from_user_id.as_deref()),
            ("answer_to", inbound.context_id.as_deref()),
        ];
        reading.aside = Some(Aside::new(true, &inbound.wamid, fields));
    }
    reading
}

fn read_preference(preference: &Preference, now: DateTime<Utc>) -> Reading {
    let mut reading = Reading::of("preference");
    if preference.category != "marketing_messages" {
        reading.unknown = Some("category");
        return reading;
    }
    let stop = preference.value == PreferenceValue::Stop;
    if let Some(phone) = preference.wa_id.as_deref().and_then(person) {
        let opt_out = OptOut {
            phone,
            stop,
            source: "preference".to_owned(),
            at: time(preference.timestamp_s, now),
        };
        let lane = preference.phone_number_id.as_deref();
        reading.opt_out = Some((lane.and_then(|lane| lane.parse().ok()), opt_out));
    } else {
        reading.unknown = Some("person");
        let fields = [
            ("preference", Some(if stop { "stop" } else { "resume" })),
            ("phone_number_id", preference.phone_number_id.as_deref()),
            ("wa_id", preference.wa_id.as_deref()),
            ("user_id", preference.user_id.as_deref()),
        ];
        reading.aside = Some(Aside::new(stop, "", fields));
    }
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

/// When it happened by Meta's clock, if that can be true: never later than now, or no later word of a person could
/// undo this one.
fn time(timestamp_s: Option<i64>, now: DateTime<Utc>) -> DateTime<Utc> {
    timestamp_s
        .filter(|seconds| *seconds > 0)
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map_or(now, |at| at.min(now))
}

#[cfg(test)]
#[path = "webhook_reading_tests.rs"]
mod tests;
