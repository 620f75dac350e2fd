//! The state of one message, and the only rules by which it changes.
//!
//! States form a ladder ([`MessageState::rank`]). An event can only lift a message to a higher rung, so
//! replaying any event any number of times, in any order, ends in the same state. The one way down is a
//! new round ([`MessageState::may_reopen`]), which also raises the row's generation, so that what is left
//! over from the earlier round no longer counts. Evidence that WhatsApp accepted the message is the
//! exception: it counts from any round, because an accepted message stays accepted.

use crate::ids::Generation;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in JSON, in Postgres and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::message::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or_else(|| {
                    $crate::message::UnknownName {
                        found: text.chars().take(64).collect(),
                        known: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }
    };
}
pub(crate) use text_enum;

/// A name that is not one of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown name {found:?}; known: {known}")]
pub struct UnknownName {
    /// What was given, cut to 64 characters.
    pub found: String,
    /// What would be right, separated by commas.
    pub known: String,
}

text_enum! {
    /// Where a message stands.
    MessageState {
        /// Not settled yet: to be fed, in the lane, or being sent.
        Pending = "pending",
        /// Known not to be accepted; goes again in a later round.
        Deferred = "deferred",
        /// May or may not have been accepted. Evidence or a person decides.
        Uncertain = "uncertain",
        /// Refused for good, or written off by a person. Never accepted, as far as anyone knows.
        Failed = "failed",
        /// Never sent, for a [`SkipReason`].
        Skipped = "skipped",
        /// Its campaign was cancelled or expired before it was sent.
        Cancelled = "cancelled",
        /// WhatsApp took it.
        Accepted = "accepted",
        /// WhatsApp sent it on.
        Sent = "sent",
        /// Accepted, and later reported as failed.
        Undelivered = "undelivered",
        /// It reached the phone.
        Delivered = "delivered",
        /// It was opened.
        Read = "read",
    }
}

impl MessageState {
    /// The rung of the ladder. Equal rungs never replace each other.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Deferred => 1,
            Self::Uncertain => 2,
            Self::Failed | Self::Skipped | Self::Cancelled => 3,
            Self::Accepted => 4,
            Self::Sent => 5,
            Self::Undelivered => 6,
            Self::Delivered => 7,
            Self::Read => 8,
        }
    }

    /// Whether WhatsApp is known to have accepted the message.
    pub const fn is_accepted(self) -> bool {
        self.rank() >= Self::Accepted.rank()
    }

    /// Whether nothing more is to be done for this message (delivery statuses may still arrive).
    pub const fn is_final(self) -> bool {
        self.rank() >= Self::Failed.rank()
    }

    /// Whether a new round may send this message (again): never one that was accepted, was skipped for a
    /// reason, or belongs to a cancelled campaign.
    pub const fn may_reopen(self) -> bool {
        matches!(
            self,
            Self::Deferred | Self::Uncertain | Self::Failed | Self::Pending
        )
    }

    /// The state after an event that reports `reported`, or `None` if the event changes nothing.
    pub fn after(self, reported: Self, round: Round) -> Option<Self> {
        let counts = reported.is_accepted() || round == Round::Current;
        (counts && reported.rank() > self.rank()).then_some(reported)
    }
}

/// Whether an event belongs to the round that the row is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// From the row's generation, or a later one: a round that was rebuilt feeds rows that were never
    /// fed before without touching them first.
    Current,
    /// From a round that the row has left.
    Past,
}

impl Round {
    /// Compares an event's generation with the row's.
    pub fn of(event: Generation, row: Generation) -> Self {
        if event >= row { Self::Current } else { Self::Past }
    }
}

text_enum! {
    /// Why a recipient is not sent to.
    SkipReason {
        /// Not a phone number.
        InvalidPhone = "invalid_phone",
        /// A landline, which cannot receive.
        Landline = "landline",
        /// A variable has no value and no fallback.
        MissingVariable = "missing_variable",
        /// A variable's value may not be sent.
        InvalidVariable = "invalid_variable",
        /// The text would be longer than WhatsApp takes.
        TooLong = "too_long",
        /// Another recipient of this campaign has the same number.
        Duplicate = "duplicate",
        /// The person asked not to be messaged.
        OptedOut = "opted_out",
        /// The ERP knows of no consent to marketing.
        NoConsent = "no_consent",
        /// The customer is not active.
        Inactive = "inactive",
        /// The number is not on this environment's allow-list.
        NotAllowed = "not_allowed",
    }
}

/// One row of the ledger, as far as events can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Where it stands.
    pub state: MessageState,
    /// The round it is in.
    pub generation: Generation,
    /// How often it was offered to WhatsApp, as far as reported.
    pub attempts: i32,
    /// WhatsApp's id of the message.
    pub wamid: Option<String>,
    /// The `wa_id` that came back, when it differs from the number sent to.
    pub wa_id: Option<String>,
    /// Cloud API error code, or one of our own words.
    pub error_code: Option<String>,
    /// What the error said.
    pub error_text: Option<String>,
    /// When it left the state pending for one that is not evidence of acceptance.
    pub settled_at: Option<DateTime<Utc>>,
    /// When WhatsApp accepted it.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When it was reported sent.
    pub sent_at: Option<DateTime<Utc>>,
    /// When it was reported delivered.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When it was reported read.
    pub read_at: Option<DateTime<Utc>>,
}

/// What an event reports of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The round that the event comes from.
    pub generation: Generation,
    /// The state it reports.
    pub state: MessageState,
    /// When that was.
    pub at: DateTime<Utc>,
    /// Attempts made so far, where the reporter knows.
    pub attempts: Option<i32>,
    /// WhatsApp's id of the message, where known.
    pub wamid: Option<String>,
    /// The recipient's `wa_id`, where known and different.
    pub wa_id: Option<String>,
    /// Error code and text, where there is one.
    pub error: Option<(String, String)>,
}

impl MessageRow {
    /// Applies what was reported. Returns whether anything changed.
    ///
    /// The time of a rung that was skipped (a `sent` that arrives after `delivered`) is still recorded.
    pub fn apply(&mut self, report: &Report) -> bool {
        let before = self.clone();
        let round = Round::of(report.generation, self.generation);
        if let Some(next) = self.state.after(report.state, round) {
            self.state = next;
            if let Some((code, text)) = &report.error {
                self.error_code = Some(code.clone());
                self.error_text = Some(text.clone());
            } else {
                self.error_code = None;
                self.error_text = None;
            }
            if !next.is_accepted() {
                self.settled_at = Some(report.at);
            }
        }
        if report.state.is_accepted() {
            self.record_evidence(report);
        }
        if round == Round::Current
            && let Some(attempts) = report.attempts
        {
            self.attempts = self.attempts.max(attempts);
        }
        *self != before
    }

    fn record_evidence(&mut self, report: &Report) {
        let time = match report.state {
            MessageState::Sent => &mut self.sent_at,
            MessageState::Delivered => &mut self.delivered_at,
            MessageState::Read => &mut self.read_at,
            MessageState::Undelivered => &mut self.settled_at,
            _ => &mut self.accepted_at,
        };
        time.get_or_insert(report.at);
        if self.wamid.is_none() {
            self.wamid.clone_from(&report.wamid);
        }
        if self.wa_id.is_none() {
            self.wa_id.clone_from(&report.wa_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MessageState::{
        Accepted, Cancelled, Deferred, Delivered, Failed, Pending, Read, Sent, Skipped, Uncertain,
        Undelivered,
    };
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    /// The whole table for events of the current round, one row a state, one column a reported state in
    /// the order of `MessageState::ALL`: does the report replace the state?
    const TABLE: [(MessageState, &str); 11] = [
        //             pend defer uncer fail skip canc acc sent und deliv read
        (Pending, "no yes yes yes yes yes yes yes yes yes yes"),
        (Deferred, "no no yes yes yes yes yes yes yes yes yes"),
        (Uncertain, "no no no yes yes yes yes yes yes yes yes"),
        (Failed, "no no no no no no yes yes yes yes yes"),
        (Skipped, "no no no no no no yes yes yes yes yes"),
        (Cancelled, "no no no no no no yes yes yes yes yes"),
        (Accepted, "no no no no no no no yes yes yes yes"),
        (Sent, "no no no no no no no no yes yes yes"),
        (Undelivered, "no no no no no no no no no yes yes"),
        (Delivered, "no no no no no no no no no no yes"),
        (Read, "no no no no no no no no no no no"),
    ];

    #[test]
    fn every_pair_of_the_table_holds() {
        assert_eq!(TABLE.map(|(state, _)| state).as_slice(), MessageState::ALL);
        for (state, row) in TABLE {
            let cells: Vec<_> = row.split(' ').collect();
            assert_eq!(cells.len(), MessageState::ALL.len());
            for (&reported, cell) in MessageState::ALL.iter().zip(cells) {
                let expected = (cell == "yes").then_some(reported);
                assert_eq!(
                    state.after(reported, Round::Current),
                    expected,
                    "{state} on {reported}"
                );
                let from_past = expected.filter(|state| state.is_accepted());
                assert_eq!(
                    state.after(reported, Round::Past),
                    from_past,
                    "{state} on {reported} of a past round"
                );
            }
        }
    }

    #[test]
    fn only_what_was_never_accepted_can_be_sent_again() {
        let reopen: Vec<_> = MessageState::ALL
            .iter()
            .copied()
            .filter(|state| state.may_reopen())
            .collect();
        assert_eq!(reopen, [Pending, Deferred, Uncertain, Failed]);
    }

    #[test]
    fn names_survive_the_journey() {
        for state in MessageState::ALL {
            assert_eq!(state.as_str().parse::<MessageState>().as_ref(), Ok(state));
            assert_eq!(
                serde_json::to_value(state).expect("a state is JSON"),
                state.as_str()
            );
        }
        let error = "lost".parse::<MessageState>().expect_err("not a state");
        assert!(error.to_string().contains("pending"), "{error}");
    }

    fn row() -> MessageRow {
        MessageRow {
            state: Pending,
            generation: Generation(2),
            attempts: 0,
            wamid: None,
            wa_id: None,
            error_code: None,
            error_text: None,
            settled_at: None,
            accepted_at: None,
            sent_at: None,
            delivered_at: None,
            read_at: None,
        }
    }

    /// Of an acceptance the ids are kept that came first, whatever is reported later.
    #[test]
    fn the_ids_that_came_back_first_are_kept() {
        let accepted = |wamid: &str, wa_id: Option<&str>| Report {
            generation: Generation(2),
            state: Accepted,
            at: Utc.timestamp_opt(1, 0).single().expect("a valid second"),
            attempts: None,
            wamid: Some(wamid.to_owned()),
            wa_id: wa_id.map(str::to_owned),
            error: None,
        };
        let mut row = row();
        row.apply(&accepted("wamid.A", None));
        assert_eq!(
            (row.wamid.as_deref(), row.wa_id.as_deref()),
            (Some("wamid.A"), None)
        );
        for wa_id in ["553187654321", "5531987654321"] {
            row.apply(&accepted("wamid.B", Some(wa_id)));
            assert_eq!(
                (row.wamid.as_deref(), row.wa_id.as_deref()),
                (Some("wamid.A"), Some("553187654321"))
            );
        }
    }

    fn report() -> impl Strategy<Value = Report> {
        (0..MessageState::ALL.len(), 1..4i32, 0..3i64).prop_map(|(state, generation, second)| Report {
            generation: Generation(generation),
            state: MessageState::ALL[state],
            at: Utc.timestamp_opt(second, 0).single().expect("a valid second"),
            attempts: None,
            wamid: None,
            wa_id: None,
            error: None,
        })
    }

    proptest! {
        /// Statuses arrive twice and in any order: what counts is the set of them.
        #[test]
        fn the_state_is_the_same_whatever_the_order(
            reports in prop::collection::vec(report(), 0..12),
            shuffled_by in any::<prop::sample::Index>(),
        ) {
            let mut straight = row();
            for report in &reports { straight.apply(report); }
            let mut turned = row();
            let mut other = reports.clone();
            if !other.is_empty() { let by = shuffled_by.index(other.len()); other.rotate_left(by); other.reverse(); }
            for report in other.iter().chain(&reports) { turned.apply(report); }
            prop_assert_eq!(straight.state.rank(), turned.state.rank());
            if straight.state.is_accepted() { prop_assert_eq!(straight.state, turned.state); }
        }

        #[test]
        fn replaying_changes_nothing(reports in prop::collection::vec(report(), 0..12)) {
            let mut once = row();
            for report in &reports { once.apply(report); }
            let mut again = once.clone();
            for report in &reports {
                prop_assert!(!again.apply(report), "{report:?} changed {once:?}");
            }
        }
    }
}
