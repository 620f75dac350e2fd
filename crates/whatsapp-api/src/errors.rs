//! What every error code of the Cloud API means, and what to do about it: one table.
//!
//! The key is the `code`, never the HTTP status or the title: Meta dropped the HTTP column from its own
//! table, and providers differ. The same codes arrive as the answer to a send and, later, inside a
//! `failed` status webhook; both are decided here. Source: WhatsApp Business Platform, Cloud API, "Error
//! codes", read 2026-09; sharpened by what real clients met.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

use crate::lenient;

/// An error as the Graph API writes it: `{"error": {…}}` in an answer, an element of `errors[]` in a
/// webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphError {
    /// The key of everything; a number in most places, a string in some webhooks. An error without a code
    /// is not read as one: 0 is a code (the token is bad) and would stop a phone number.
    #[serde(deserialize_with = "lenient::deserialize_integer")]
    pub code: i64,
    /// For developers; may quote the request, so it is not for logs.
    #[serde(default)]
    pub message: String,
    /// Such as `OAuthException`.
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Webhooks have a title beside the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The part of the error that says what was wrong this time.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "deserialize_error_data"
    )]
    pub error_data: Option<ErrorData>,
    /// Rarely present.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::deserialize_optional_integer"
    )]
    pub error_subcode: Option<i64>,
    /// What Meta's support asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fbtrace_id: Option<String>,
    /// Decides codes that the table does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_transient: Option<bool>,
}

impl GraphError {
    /// An error with this code and message, and nothing else.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            kind: "OAuthException".into(),
            ..Self::default()
        }
    }

    /// Adds what was wrong this time.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.error_data = Some(ErrorData {
            messaging_product: "whatsapp".into(),
            details: details.into(),
        });
        self
    }

    /// What was wrong this time, in the words that say most.
    pub fn details(&self) -> &str {
        let details = self.error_data.as_ref().map(|data| data.details.as_str());
        details
            .filter(|details| !details.is_empty())
            .or(self.title.as_deref())
            .unwrap_or(&self.message)
    }
}

/// `error_data` of a [`GraphError`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorData {
    /// `whatsapp`
    pub messaging_product: String,
    /// What was wrong, for people.
    pub details: String,
}

/// The body of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: GraphError,
}

/// Who a refusal is about: what else would be refused for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This message as it was written.
    Message,
    /// This person, whatever is sent.
    Recipient,
    /// This person from this phone number, just now.
    Pair,
    /// The business phone number.
    Lane,
    /// The template.
    Template,
    /// The business account or the app.
    Account,
    /// The code does not say.
    Unknown,
}

impl Scope {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Recipient => "recipient",
            Self::Pair => "pair",
            Self::Lane => "lane",
            Self::Template => "template",
            Self::Account => "account",
            Self::Unknown => "unknown",
        }
    }
}

/// What to do about a refusal. Every refusal is certain: the message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// This message will never be accepted.
    Fail,
    /// This message fails, and nothing like it may go to the same person within [`FAILED_FOR`].
    FailForADay,
    /// The same message may be accepted later; back off.
    RetryTransient,
    /// The same, but only a few times: it may be malformed in a way that Meta does not name.
    RetryFew,
    /// Retry, and slow the phone number down first.
    SlowLane,
    /// Retry for this recipient only, after 4ⁿ seconds.
    RetryPair,
    /// Hand the message back and hold what [`Scope`] names until the cause is gone.
    HoldCampaign,
    /// Hand the message back and stop the campaign: nothing of it can be accepted as it is, until a person
    /// has changed something.
    StopCampaign,
    /// Hand the message back and stop the phone number.
    StopLane,
    /// Hand the message back and stop every phone number of the account.
    StopAccount,
    /// Fail, and never write marketing to this person again.
    FailAndSuppress,
}

impl Action {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::FailForADay => "fail_for_a_day",
            Self::RetryTransient => "retry_transient",
            Self::RetryFew => "retry_few",
            Self::SlowLane => "slow_lane",
            Self::RetryPair => "retry_pair",
            Self::HoldCampaign => "hold_campaign",
            Self::StopCampaign => "stop_campaign",
            Self::StopLane => "stop_lane",
            Self::StopAccount => "stop_account",
            Self::FailAndSuppress => "fail_and_suppress",
        }
    }
}

/// What is wrong where something larger than a message is held or stopped, and so what lifts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// The account, its token or its payment.
    Account,
    /// The phone number: its registration, its name, what it may do.
    Number,
    /// The phone number's quality.
    Quality,
    /// The template, until Meta approves it again.
    Template,
    /// The campaign as it was set up: only a change by a person helps.
    Stopped,
}

/// What the table says about one error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Who it is about.
    pub scope: Scope,
    /// What to do.
    pub action: Action,
    /// The cause, for the actions that hold or stop something.
    pub hold: Option<Hold>,
    /// What a person can do about it.
    pub advice: &'static str,
}

/// One line of the table: the codes `first..=last`.
#[derive(Clone, Copy, Debug)]
pub struct ErrorEntry {
    /// First code of the line.
    pub first: i64,
    /// Last code of the line, mostly the same.
    pub last: i64,
    /// Meta's name of the error.
    pub title: &'static str,
    /// What it means for us.
    pub decision: Decision,
}

const fn codes(
    first: i64,
    last: i64,
    scope: Scope,
    action: Action,
    title: &'static str,
    advice: &'static str,
) -> ErrorEntry {
    ErrorEntry {
        first,
        last,
        title,
        decision: Decision {
            scope,
            action,
            hold: None,
            advice,
        },
    }
}

impl ErrorEntry {
    const fn because(mut self, hold: Hold) -> Self {
        self.decision.hold = Some(hold);
        self
    }
}

const fn code(
    code: i64,
    scope: Scope,
    action: Action,
    title: &'static str,
    advice: &'static str,
) -> ErrorEntry {
    codes(code, code, scope, action, title, advice)
}

const NEW_TOKEN: &str = "The access token is invalid or expired: create a new system-user token and restart.";
const GRANT_PERMISSION: &str =
    "Give the token's system user whatsapp_business_messaging on this account and phone number.";
const APPEAL: &str =
    "See Business Support Home for the violation and appeal; sending stops until it is lifted.";
const WAIT: &str = "Nothing to do: it is tried again by itself. If it lasts, see Meta's status page.";
const SLOWED: &str =
    "Nothing to do: the lane slows down by itself. If it lasts, lower its throughput setting.";
const FIX_REQUEST: &str =
    "This message is malformed: see the details and check the template and the mapping.";
const FIX_MEDIA: &str = "Meta could not take the medium: check that its link is public and its type allowed.";
const FIX_TEMPLATE: &str = "Synchronise templates and check name, language and variables; if the campaign's version is outdated, clone it with the new one.";
const UNREACHABLE: &str = "This person cannot receive messages from a business now; nothing to do.";

/// Every code that Meta documents for sending, in ascending order; see [`decide`] for the rest.
#[rustfmt::skip]
pub const ERROR_TABLE: &[ErrorEntry] = {
    use Action::{
        Fail, FailAndSuppress, FailForADay, HoldCampaign, RetryFew, RetryPair, RetryTransient, SlowLane, StopAccount,
        StopCampaign, StopLane,
    };
    use Hold as Because;
    use Scope::{Account, Lane, Message, Pair, Recipient, Template, Unknown};
    &[
        code(0, Lane, StopLane, "AuthException", NEW_TOKEN).because(Because::Account),
        code(1, Unknown, RetryFew, "API unknown", "Tried again a few times. If it lasts, the request may be malformed: see the details."),
        code(2, Unknown, RetryTransient, "API service", WAIT),
        code(3, Lane, StopLane, "API method", GRANT_PERMISSION).because(Because::Number),
        code(4, Account, SlowLane, "API too many calls", SLOWED),
        code(10, Lane, StopLane, "Permission denied", GRANT_PERMISSION).because(Because::Number),
        code(33, Lane, StopLane, "Parameter value is not valid", "The business phone number was deleted or its id is wrong: check the phone number's setting.").because(Because::Number),
        code(100, Message, Fail, "Invalid parameter", FIX_REQUEST),
        code(190, Lane, StopLane, "Access token has expired", NEW_TOKEN).because(Because::Account),
        codes(200, 299, Lane, StopLane, "API permission", GRANT_PERMISSION).because(Because::Number),
        code(368, Account, StopAccount, "Temporarily blocked for policy violations", APPEAL).because(Because::Account),
        code(80_007, Account, SlowLane, "Rate limit issues", SLOWED),
        code(130_403, Recipient, Fail, "Recipient cannot be messaged", UNREACHABLE),
        code(130_429, Lane, SlowLane, "Rate limit hit", SLOWED),
        code(130_472, Recipient, Fail, "User's number is part of an experiment", "Meta withholds marketing from this person as an experiment; nothing to do."),
        code(130_497, Recipient, Fail, "Business account is restricted from messaging users in this country", "Leave this country out of the segment, or see the account's restrictions."),
        code(131_000, Unknown, RetryTransient, "Something went wrong", WAIT),
        code(131_005, Lane, StopLane, "Access denied", GRANT_PERMISSION).because(Because::Number),
        code(131_008, Message, Fail, "Required parameter is missing", FIX_REQUEST),
        code(131_009, Message, Fail, "Parameter value is not valid", FIX_REQUEST),
        code(131_016, Account, RetryTransient, "Service unavailable", WAIT),
        code(131_021, Message, Fail, "Recipient cannot be sender", "Leave the business's own number out of the segment."),
        code(131_026, Recipient, Fail, "Message undeliverable", "The number is not on WhatsApp, or its app is too old, or its terms are not accepted."),
        code(131_030, Recipient, Fail, "Recipient phone number not in allowed list", "The sending number is a test number: add the recipient to its allowed list."),
        code(131_031, Account, StopAccount, "Account has been locked", APPEAL).because(Because::Account),
        code(131_037, Lane, StopLane, "Display name approval needed", "The phone number's display name is not approved: request the approval in WhatsApp Manager.").because(Because::Number),
        code(131_042, Account, HoldCampaign, "Business eligibility payment issue", "Settle the account's payment method or balance in Meta Billing, then resume.").because(Because::Account),
        code(131_045, Lane, StopLane, "Incorrect certificate", "Register the phone number again.").because(Because::Number),
        code(131_047, Recipient, Fail, "Re-engagement message", "More than 24 hours since this person wrote: only a template can be sent."),
        code(131_048, Lane, HoldCampaign, "Spam rate limit hit", "Too many people blocked or reported this number: see its quality before resuming.").because(Because::Quality),
        code(131_049, Recipient, FailForADay, "Not delivered to maintain healthy ecosystem engagement", "Meta's limit of marketing for this person is reached: not again within 24 hours, and then only what matters to them."),
        code(131_050, Recipient, FailAndSuppress, "User has stopped marketing messages", "This person opted out of marketing; they are suppressed from now on."),
        code(131_051, Message, Fail, "Unsupported message type", FIX_REQUEST),
        code(131_052, Message, Fail, "Media download error", FIX_MEDIA),
        code(131_053, Message, Fail, "Media upload error", FIX_MEDIA),
        code(131_056, Pair, RetryPair, "Pair rate limit hit", "Nothing to do: too many messages to one person in a short time; tried again later."),
        code(131_057, Account, RetryTransient, "Account in maintenance mode", WAIT),
        code(131_063, Template, StopCampaign, "Marketing templates must use the Marketing Messages API", "Switch the number to the marketing endpoint (WHATSAPP_MARKETING_MESSAGES, or marketing_messages in WHATSAPP_NUMBERS_FILE), restart message-svc, then lift the hold `stopped`.").because(Because::Stopped),
        code(131_064, Account, HoldCampaign, "Limited for template misclassification", "Correct the category of the account's templates; Meta lifts the limit by itself.").because(Because::Account),
        code(132_000, Template, StopCampaign, "Template parameter count mismatch", FIX_TEMPLATE).because(Because::Stopped),
        code(132_001, Template, StopCampaign, "Template does not exist", FIX_TEMPLATE).because(Because::Stopped),
        code(132_005, Template, StopCampaign, "Template hydrated text too long", "Shorten the values or the template: translated and filled, it is too long.").because(Because::Stopped),
        code(132_007, Template, StopCampaign, "Template format character policy violated", "The template breaks a policy: correct it and have it approved again.").because(Because::Stopped),
        code(132_012, Template, StopCampaign, "Template parameter format mismatch", FIX_TEMPLATE).because(Because::Stopped),
        code(132_015, Template, HoldCampaign, "Template is paused", "Low quality paused the template: wait until it is approved again, or use another.").because(Because::Template),
        code(132_016, Template, StopCampaign, "Template is disabled", "The template was paused too often and is disabled for good: use another.").because(Because::Stopped),
        code(132_018, Message, Fail, "Template parameter text is not valid", "A value is empty or holds a newline, a tab or more than 4 spaces in a row: see the mapping."),
        code(133_004, Account, RetryTransient, "Server temporarily unavailable", WAIT),
        code(133_010, Lane, StopLane, "Phone number not registered", "Register the phone number with the Cloud API.").because(Because::Number),
        code(135_000, Message, Fail, "Generic user error", FIX_REQUEST),
    ]
};

const UNKNOWN_TRANSIENT: Decision = Decision {
    scope: Scope::Unknown,
    action: Action::RetryTransient,
    hold: None,
    advice: "Meta calls this error transient; it is tried again by itself.",
};
const UNKNOWN_FINAL: Decision = Decision {
    scope: Scope::Unknown,
    action: Action::Fail,
    hold: None,
    advice: "A code that is not in Meta's table: look it up with its details, and report it.",
};

/// How long a person is left alone after [`Action::FailForADay`].
pub const FAILED_FOR: Duration = Duration::from_hours(24);

/// What to do about a code alone: nothing is known of `is_transient`.
pub fn decide_code(code: i64) -> Decision {
    entry(code).map_or(UNKNOWN_FINAL, |entry| entry.decision)
}

/// The codes after which a person is left alone for [`FAILED_FOR`].
pub fn codes_failed_for_a_day() -> impl Iterator<Item = i64> {
    let entries = ERROR_TABLE.iter();
    let entries = entries.filter(|entry| entry.decision.action == Action::FailForADay);
    entries.flat_map(|entry| entry.first..=entry.last)
}

/// The table's line for a code.
pub fn entry(code: i64) -> Option<&'static ErrorEntry> {
    let after = ERROR_TABLE.partition_point(|entry| entry.last < code);
    ERROR_TABLE.get(after).filter(|entry| entry.first <= code)
}

/// What to do about an error. A code that the table does not know follows `is_transient`; without it the
/// message fails, because trying for ever what may be final helps no one.
pub fn decide(error: &GraphError) -> Decision {
    match (entry(error.code), error.is_transient) {
        (Some(entry), _) => entry.decision,
        (None, Some(true)) => UNKNOWN_TRANSIENT,
        (None, _) => UNKNOWN_FINAL,
    }
}

fn deserialize_error_data<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ErrorData>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(fields) => serde_json::from_value(Value::Object(fields)).ok(),
        Value::String(text) => Some(serde_json::from_str(&text).unwrap_or(ErrorData {
            messaging_product: String::new(),
            details: text,
        })),
        _ => None,
    })
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
