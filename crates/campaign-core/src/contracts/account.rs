//! What WhatsApp reports about accounts, their templates and their numbers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// On [`ACCOUNT_EVENTS_STREAM`](super::ACCOUNT_EVENTS_STREAM): something larger than a message changed. In Meta's
/// words, which grow; what they mean is decided where they are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEvent {
    /// WhatsApp Business Account id.
    pub waba_id: String,
    /// What changed.
    pub change: AccountChange,
    /// When it was reported.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub at: DateTime<Utc>,
}

/// What changed about an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AccountChange {
    /// A template was approved, paused, disabled, ….
    Template {
        /// Its name.
        name: String,
        /// With an underscore, as in `pt_BR`.
        language: String,
        /// `APPROVED`, `PAUSED`, `FLAGGED`, ….
        event: String,
        /// Why, where Meta says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A number's quality or limit changed.
    Quality {
        /// The number as people write it; absent if Meta names none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        display_number: Option<String>,
        /// `FLAGGED`, `UNFLAGGED`, `DOWNGRADE`, ….
        event: String,
        /// Its messaging limit, such as `TIER_10K`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<String>,
    },
    /// The account as a whole.
    Account {
        /// `ACCOUNT_RESTRICTION`, `DISABLED_UPDATE`, ….
        event: String,
        /// Why, where Meta says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// What a report means for what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Sending stops, before the account suffers.
    Hold,
    /// What stopped it is over.
    Lift,
    /// Nothing is sent differently.
    Nothing,
}

/// What `phone_number_quality_update` means: a number whose quality is low is held until it is better. A change of
/// its limit alone is no reason.
pub fn meaning_of_quality(event: &str) -> Meaning {
    match event {
        "FLAGGED" | "RED" => Meaning::Hold,
        "UNFLAGGED" | "GREEN" | "YELLOW" => Meaning::Lift,
        _ => Meaning::Nothing,
    }
}

/// What `account_update` means. `reason` is the violation, the restriction, or the state of a ban.
pub fn meaning_of_account(event: &str, reason: Option<&str>) -> Meaning {
    match (event, reason) {
        ("DISABLED_UPDATE", Some("REINSTATE")) | ("ACCOUNT_REINSTATED", _) => Meaning::Lift,
        ("DISABLED_UPDATE" | "ACCOUNT_RESTRICTION" | "ACCOUNT_VIOLATION" | "ACCOUNT_DELETED", _) => {
            Meaning::Hold
        }
        _ => Meaning::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_holds_its_end_lifts_and_news_do_neither() {
        for (event, meaning) in [
            ("FLAGGED", Meaning::Hold),
            ("RED", Meaning::Hold),
            ("UNFLAGGED", Meaning::Lift),
            ("DOWNGRADE", Meaning::Nothing),
            ("THROUGHPUT_UPGRADE", Meaning::Nothing),
        ] {
            assert_eq!(meaning_of_quality(event), meaning, "{event}");
        }
        for (event, reason, meaning) in [
            ("ACCOUNT_RESTRICTION", None, Meaning::Hold),
            ("ACCOUNT_VIOLATION", Some("SPAM"), Meaning::Hold),
            ("DISABLED_UPDATE", Some("SCHEDULE_FOR_DISABLE"), Meaning::Hold),
            ("DISABLED_UPDATE", Some("REINSTATE"), Meaning::Lift),
            ("VERIFIED_ACCOUNT", None, Meaning::Nothing),
        ] {
            assert_eq!(meaning_of_account(event, reason), meaning, "{event} {reason:?}");
        }
    }

    #[test]
    fn the_first_version_decodes() {
        let json = r#"{"waba_id":"1","change":{"kind":"template","name":"oferta","language":"pt_BR",
            "event":"PAUSED"},"at":1700000000000}"#;
        let event: AccountEvent = serde_json::from_str(json).expect("it decodes");
        assert!(matches!(
            event.change,
            AccountChange::Template { reason: None, .. }
        ));
    }
}
