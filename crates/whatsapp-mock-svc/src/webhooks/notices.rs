//! What Meta reports beside messages: about templates, numbers and accounts.
//!
//! Source: the webhook reference pages of `message_template_status_update`, `phone_number_quality_update`
//! and `account_update`, read 2026-11.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::limits::MessagingLimit;
use crate::templates::Template;

/// One change that is not about a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    pub(crate) account_id: String,
    pub(crate) field: &'static str,
    pub(crate) value: Value,
}

/// What happened to the quality, the limit or the throughput of a number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QualityEvent {
    /// It is being registered.
    Onboarding,
    /// Its quality is low.
    Flagged,
    /// Its quality is good again.
    Unflagged,
    /// Its limit went up.
    Upgrade,
    /// Its limit went down.
    Downgrade,
    /// It may send faster.
    ThroughputUpgrade,
}

/// What happened to an account.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountEvent {
    /// It was approved.
    VerifiedAccount,
    /// It broke a rule.
    AccountViolation,
    /// It may not do everything for some time.
    AccountRestriction,
    /// It was disabled, or is again able to send.
    DisabledUpdate,
    /// It was deleted.
    AccountDeleted,
}

/// What a `DISABLED_UPDATE` says.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BanState {
    /// It will be disabled, unless it appeals.
    ScheduleForDisable,
    /// It is disabled.
    #[default]
    Disable,
    /// It is able to send again.
    Reinstate,
}

impl Notice {
    /// A template changed: `event` is mostly its new status.
    pub(crate) fn of_template(
        account_id: &str,
        template: &Template,
        event: &str,
        reason: Option<&str>,
    ) -> Self {
        let id: u64 = template.id.parse().unwrap_or_default();
        let mut value = json!({
            "event": event,
            "message_template_id": id,
            "message_template_name": template.name,
            "message_template_language": template.language,
            "message_template_category": template.category,
            "reason": reason.unwrap_or("NONE"),
        });
        if event == "PAUSED" {
            value["other_info"] = json!({
                "title": "FIRST_PAUSE",
                "description": "Your WhatsApp message template has been paused for 3 hours because it had issues.",
            });
        }
        Self {
            account_id: account_id.to_owned(),
            field: "message_template_status_update",
            value,
        }
    }

    pub(crate) fn of_quality(
        account_id: &str,
        display_phone_number: &str,
        event: QualityEvent,
        limit: MessagingLimit,
    ) -> Self {
        Self {
            account_id: account_id.to_owned(),
            field: "phone_number_quality_update",
            value: json!({
                "display_phone_number": display_phone_number,
                "event": event,
                "current_limit": limit,
                "max_daily_conversations_per_business": limit,
            }),
        }
    }

    /// An account changed; `ban_state` is what a `DISABLED_UPDATE` is about.
    pub(crate) fn of_account(account_id: &str, event: AccountEvent, ban_state: BanState) -> Self {
        let mut value = json!({ "event": event });
        match event {
            AccountEvent::AccountViolation => value["violation_info"] = json!({"violation_type": "SPAM"}),
            AccountEvent::AccountRestriction => {
                value["restriction_info"] =
                    json!([{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING"}]);
            }
            AccountEvent::DisabledUpdate => value["ban_info"] = json!({ "waba_ban_state": ban_state }),
            AccountEvent::VerifiedAccount | AccountEvent::AccountDeleted => {}
        }
        Self {
            account_id: account_id.to_owned(),
            field: "account_update",
            value,
        }
    }
}
