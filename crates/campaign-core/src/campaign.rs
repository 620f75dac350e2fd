//! The life of a campaign: its states, the table of legal changes, holds, and the policies people choose.

use crate::ids::{AccountId, CampaignId, LaneId, TemplateId};
use crate::message::text_enum;
use crate::segment::Segment;
use crate::variables::VariableMapping;
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

text_enum! {
    /// Where a campaign stands. People also see `PAUSED`, which is any running state under a hold.
    CampaignStatus {
        /// Being written; nothing is planned.
        Draft = "DRAFT",
        /// Waits for its time.
        Scheduled = "SCHEDULED",
        /// Its audience is being fetched and its messages enqueued.
        Sending = "SENDING",
        /// Every message has been enqueued; sending may go on until `finished_at`.
        Completed = "COMPLETED",
        /// A person stopped it, or it expired.
        Cancelled = "CANCELLED",
        /// It could not be sent at all.
        Failed = "FAILED",
    }
}

impl CampaignStatus {
    /// The states that may follow this one.
    pub const fn allowed(self) -> &'static [Self] {
        match self {
            Self::Draft => &[Self::Scheduled, Self::Cancelled],
            Self::Scheduled => &[Self::Draft, Self::Sending, Self::Cancelled, Self::Failed],
            Self::Sending => &[Self::Completed, Self::Cancelled, Self::Failed],
            // Enqueued is not sent: what still waits in the lane can be cancelled.
            Self::Completed => &[Self::Cancelled],
            Self::Cancelled | Self::Failed => &[],
        }
    }

    /// Whether this state may be followed by `next`.
    pub fn allows(self, next: Self) -> bool {
        self.allowed().contains(&next)
    }

    /// Whether a lane may have work for a campaign in this state (until `finished_at`).
    pub const fn is_started(self) -> bool {
        matches!(
            self,
            Self::Sending | Self::Completed | Self::Cancelled | Self::Failed
        )
    }
}

/// A change of state that the table does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a campaign that is {from} cannot become {to}; {}", allowed_now(*from))]
pub struct IllegalTransition {
    /// The state it is in.
    pub from: CampaignStatus,
    /// The state that was asked for.
    pub to: CampaignStatus,
}

fn allowed_now(from: CampaignStatus) -> String {
    match from.allowed() {
        [] => "nothing may follow".to_owned(),
        allowed => {
            let names: Vec<_> = allowed.iter().map(|status| status.as_str()).collect();
            format!("allowed now: {}", names.join(", "))
        }
    }
}

text_enum! {
    /// Why a campaign, or a lane, is not sent at the moment. Each is lifted only by its own cause.
    HoldKind {
        /// A person paused it.
        Person = "person",
        /// The ERP refuses to name the customers. Lifted when it answers again.
        Erp = "erp",
        /// The template is paused or not approved. Lifted by its approval or a person.
        Template = "template",
        /// WhatsApp refuses everything of the campaign as it is set up. Lifted by a person, once that was changed.
        Stopped = "stopped",
        /// The number's quality fell, or too many messages are marked as spam.
        Quality = "quality",
        /// The account is restricted, or its token or payment does not work.
        Account = "account",
        /// The number is not registered, not permitted or gone.
        Number = "number",
        /// Too many of its last messages ended in a final error. Lifted by a person.
        Errors = "errors",
        /// The money set aside is spent.
        Budget = "budget",
        /// The portfolio's limit of recipients within 24 hours is reached.
        DailyLimit = "daily_limit",
        /// Its time passed while the engine was down, and its policy is to ask.
        Misfire = "misfire",
        /// Postgres and Redis contradict each other. A person must look.
        Contradiction = "contradiction",
    }
}

text_enum! {
    /// What happens to a campaign that is scheduled with a template that is not approved.
    IfUnapproved {
        /// It is not scheduled.
        Refuse = "refuse",
        /// It is scheduled, and held until the template is approved.
        Wait = "wait",
    }
}

text_enum! {
    /// What happens to a campaign whose time passed while the engine was down.
    MisfirePolicy {
        /// Start now, if less than [`MISFIRE_START_LIMIT_HOURS`] late; otherwise wait for a person.
        Start = "start",
        /// Do not send: it becomes CANCELLED.
        Skip = "skip",
        /// Wait for a person.
        Wait = "wait",
    }
}

/// A campaign that is later than this no longer starts by itself.
pub const MISFIRE_START_LIMIT_HOURS: i64 = 24;

/// A start within this time of the schedule is no misfire: ticks come each minute.
pub const ON_TIME_SECONDS: i64 = 90;

/// What to do with a campaign that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueDecision {
    /// It starts.
    Start,
    /// It is cancelled, unsent.
    Skip,
    /// It starts under a hold of kind [`HoldKind::Misfire`].
    Wait,
}

impl MisfirePolicy {
    /// Decides by how late the campaign is at `now`.
    pub fn decide(self, scheduled_at: DateTime<Utc>, now: DateTime<Utc>) -> DueDecision {
        let late = now - scheduled_at;
        if late <= Duration::seconds(ON_TIME_SECONDS) {
            return DueDecision::Start;
        }
        match self {
            Self::Start if late < Duration::hours(MISFIRE_START_LIMIT_HOURS) => DueDecision::Start,
            Self::Start | Self::Wait => DueDecision::Wait,
            Self::Skip => DueDecision::Skip,
        }
    }
}

text_enum! {
    /// What happens to a message that may or may not have been accepted, once its grace is over.
    OnUncertain {
        /// It waits for a person.
        Hold = "hold",
        /// It goes again, but only while the webhooks of its number are complete.
        Resend = "resend",
    }
}

text_enum! {
    /// How large a share of its lane a campaign gets while others run.
    Priority {
        /// Share 1.
        Low = "low",
        /// Share 4.
        Normal = "normal",
        /// Share 16.
        High = "high",
    }
}

impl Priority {
    /// The weight in the lane's fair sharing.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 16,
        }
    }
}

/// Where a campaign's recipients come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Audience {
    /// The customers of the ERP that match.
    Segment {
        /// The criteria.
        segment: Segment,
    },
    /// A test: the first customer of the segment lends its values, the given numbers receive.
    Test {
        /// Lends the values.
        segment: Segment,
        /// Who receives, as given. At most [`TEST_NUMBERS_MAX`].
        phones: Vec<String>,
    },
}

/// Most numbers that one test send takes.
pub const TEST_NUMBERS_MAX: usize = 10;

/// A campaign as people decided it, and where it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Its name, for people.
    pub name: String,
    /// The version of the template it sends.
    pub template_id: TemplateId,
    /// The account that owns template and number.
    pub account_id: AccountId,
    /// The business phone number it is sent from.
    pub phone_number_id: LaneId,
    /// Who receives it.
    pub audience: Audience,
    /// How each variable of the template is filled.
    pub mapping: VariableMapping,
    /// Its share of the lane.
    pub priority: Priority,
    /// When it starts.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// The IANA zone that its time was given in.
    pub time_zone: String,
    /// What was not sent by then is cancelled.
    pub expires_at: Option<DateTime<Utc>>,
    /// What happens if its time passes while the engine is down.
    pub misfire_policy: MisfirePolicy,
    /// What happens to uncertain messages.
    pub on_uncertain: OnUncertain,
    /// Where it stands.
    pub status: CampaignStatus,
    /// Why it failed or was cancelled.
    pub status_reason: Option<String>,
    /// When nothing was left to do.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// By which API key.
    pub created_by: String,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it became `SENDING`.
    pub started_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::CampaignStatus::{Cancelled, Completed, Draft, Failed, Scheduled, Sending};
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn every_pair_of_the_table_holds() {
        let legal = [
            (Draft, Scheduled),
            (Draft, Cancelled),
            (Scheduled, Draft),
            (Scheduled, Sending),
            (Scheduled, Cancelled),
            (Scheduled, Failed),
            (Sending, Completed),
            (Sending, Cancelled),
            (Sending, Failed),
            (Completed, Cancelled),
        ];
        for &from in CampaignStatus::ALL {
            for &to in CampaignStatus::ALL {
                assert_eq!(from.allows(to), legal.contains(&(from, to)), "{from} to {to}");
            }
        }
    }

    #[test]
    fn an_illegal_transition_says_what_is_allowed() {
        let error = IllegalTransition {
            from: Scheduled,
            to: Completed,
        };
        assert_eq!(
            error.to_string(),
            "a campaign that is SCHEDULED cannot become COMPLETED; allowed now: DRAFT, SENDING, CANCELLED, FAILED"
        );
        assert!(
            IllegalTransition {
                from: Failed,
                to: Draft
            }
            .to_string()
            .ends_with("nothing may follow")
        );
    }

    #[test]
    fn a_late_campaign_follows_its_policy() {
        let due = Utc
            .with_ymd_and_hms(2026, 3, 1, 12, 0, 0)
            .single()
            .expect("a valid time");
        let decide = |policy: MisfirePolicy, late: Duration| policy.decide(due, due + late);
        for &policy in MisfirePolicy::ALL {
            assert_eq!(
                decide(policy, Duration::seconds(ON_TIME_SECONDS)),
                DueDecision::Start,
                "{policy}"
            );
        }
        let late = Duration::seconds(ON_TIME_SECONDS + 1);
        assert_eq!(decide(MisfirePolicy::Start, late), DueDecision::Start);
        assert_eq!(decide(MisfirePolicy::Skip, late), DueDecision::Skip);
        assert_eq!(decide(MisfirePolicy::Wait, late), DueDecision::Wait);
        assert_eq!(
            decide(MisfirePolicy::Start, Duration::hours(MISFIRE_START_LIMIT_HOURS)),
            DueDecision::Wait
        );
    }
}
