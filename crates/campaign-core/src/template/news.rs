//! What Meta's word on a template means for the campaigns that send it.
//!
//! Meta reports a status twice: as an `event` of a webhook and as the `status` of the listing. A status belongs to
//! a name and language. A version that is under review says nothing about the version that was sent before it,
//! but Meta pauses, disables and deletes the template as a whole.

use super::{Button, Component, Template, TemplateStatus};

/// What an event of `message_template_status_update` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateEvent {
    /// Where the template stands now.
    Status(TemplateStatus),
    /// Recipients complain: it will be paused or disabled if that goes on. It is still `APPROVED` in the listing.
    Flagged,
    /// A word that is not known here: only the listing can say what it means.
    Unknown,
}

impl TemplateEvent {
    /// Reads the `event` of a webhook.
    pub fn read(event: &str) -> Self {
        match event {
            "FLAGGED" => Self::Flagged,
            "REINSTATED" | "UNPAUSED" => Self::Status(TemplateStatus::Approved),
            other => match other.parse() {
                Ok(TemplateStatus::Unknown) | Err(_) => Self::Unknown,
                Ok(status) => Self::Status(status),
            },
        }
    }
}

impl TemplateStatus {
    /// Reads the `status` of the listing. A word that is not known here is [`Self::Unknown`].
    pub fn read(status: &str) -> Self {
        status.parse().unwrap_or(Self::Unknown)
    }

    /// Whether it holds campaigns that are being sent. What is only under review does not: the review is of what
    /// was changed, and Meta refuses by itself what it does not send.
    pub const fn stops_what_runs(self) -> bool {
        match self {
            Self::Rejected
            | Self::Paused
            | Self::Disabled
            | Self::PendingDeletion
            | Self::Deleted
            | Self::Archived => true,
            Self::Approved | Self::Pending | Self::InAppeal | Self::LimitExceeded | Self::Unknown => false,
        }
    }

    /// Whether it holds for the versions before the newest too: Meta stops and reinstates a template as a whole,
    /// and reviews what is new.
    pub const fn concerns_all_versions(self) -> bool {
        match self {
            Self::Approved
            | Self::Paused
            | Self::Disabled
            | Self::PendingDeletion
            | Self::Deleted
            | Self::Archived => true,
            Self::Pending | Self::Rejected | Self::InAppeal | Self::LimitExceeded | Self::Unknown => false,
        }
    }

    /// Whether a campaign may wait for it to become `APPROVED`.
    pub const fn may_be_approved(self) -> bool {
        match self {
            Self::Pending | Self::InAppeal | Self::Paused | Self::LimitExceeded | Self::Unknown => true,
            Self::Approved
            | Self::Rejected
            | Self::Disabled
            | Self::PendingDeletion
            | Self::Deleted
            | Self::Archived => false,
        }
    }
}

/// How the reason of a hold begins that a template's status calls for.
const STATUS_REASON: &str = "the template is ";
/// Error codes of the Cloud API that say the same: not there (or not yet), paused, disabled.
const STATUS_CODES: [&str; 3] = ["132001: ", "132015: ", "132016: "];

/// The reason of a hold that a template's status calls for. `detail`: what Meta adds.
pub fn status_hold_reason(status: TemplateStatus, detail: Option<&str>) -> String {
    let detail = detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{STATUS_REASON}{status}{detail}; sending goes on when WhatsApp approves it")
}

/// Whether approval is what a hold of kind `template` waits for. One that stands because the values do not fit the
/// template is for a person: the status was never the trouble.
pub fn is_lifted_by_approval(reason: &str) -> bool {
    reason.starts_with(STATUS_REASON) || STATUS_CODES.iter().any(|code| reason.starts_with(code))
}

impl Template {
    /// Whether both make the same message: examples and status do not matter, nor the label that Meta chooses.
    pub fn makes_the_same_message(&self, other: &Self) -> bool {
        let plain = |template: &Self| {
            template
                .components
                .iter()
                .map(without_examples)
                .collect::<Vec<_>>()
        };
        self.category == other.category
            && self.parameter_format == other.parameter_format
            && plain(self) == plain(other)
    }
}

fn without_examples(component: &Component) -> Component {
    let mut component = component.clone();
    match &mut component {
        Component::Header { example, .. } | Component::Body { example, .. } => *example = None,
        Component::Footer { .. } => {}
        Component::Buttons { buttons } => {
            for button in buttons {
                match button {
                    Button::Url { example, .. } => *example = None,
                    Button::CopyCode { text, example } => (*text, *example) = (None, None),
                    Button::QuickReply { .. } | Button::PhoneNumber { .. } => {}
                }
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::tests::offer;
    use crate::template::{ParameterFormat, TemplateCategory};
    use serde_json::json;

    #[test]
    fn an_event_is_a_status_a_warning_or_a_question() {
        for (event, meaning) in [
            ("APPROVED", TemplateEvent::Status(TemplateStatus::Approved)),
            ("REINSTATED", TemplateEvent::Status(TemplateStatus::Approved)),
            ("PAUSED", TemplateEvent::Status(TemplateStatus::Paused)),
            ("DISABLED", TemplateEvent::Status(TemplateStatus::Disabled)),
            ("FLAGGED", TemplateEvent::Flagged),
            ("UNKNOWN", TemplateEvent::Unknown),
            ("LOCKED", TemplateEvent::Unknown),
        ] {
            assert_eq!(TemplateEvent::read(event), meaning, "{event}");
        }
        assert_eq!(TemplateStatus::read("SOMETHING_NEW"), TemplateStatus::Unknown);
    }

    #[test]
    fn what_stops_cannot_be_sent_and_what_waits_is_not_stopped_for_good() {
        for &status in TemplateStatus::ALL {
            assert!(!(status.stops_what_runs() && status.can_be_sent()), "{status}");
            assert!(!(status.may_be_approved() && status.can_be_sent()), "{status}");
        }
        assert!(TemplateStatus::Paused.stops_what_runs() && TemplateStatus::Paused.may_be_approved());
        assert!(!TemplateStatus::Disabled.may_be_approved());
        assert!(
            !TemplateStatus::Pending.stops_what_runs() && !TemplateStatus::Pending.concerns_all_versions()
        );
    }

    #[test]
    fn only_a_hold_about_the_status_is_lifted_by_approval() {
        for &status in TemplateStatus::ALL {
            assert!(
                is_lifted_by_approval(&status_hold_reason(status, Some("x"))),
                "{status}"
            );
        }
        assert!(is_lifted_by_approval("132015: Template is paused"));
        assert!(!is_lifted_by_approval(
            "132000: the number of parameters does not match"
        ));
        assert!(!is_lifted_by_approval("132012: a parameter's format"));
    }

    #[test]
    fn examples_and_status_make_no_new_message_and_a_word_does() {
        let ours = offer();
        let mut theirs = ours.clone();
        theirs.status = TemplateStatus::Paused;
        for component in &mut theirs.components {
            if let Component::Body { example, .. } = component {
                *example = Some(json!({"body_text": [["Ana"]]}));
            }
        }
        assert!(ours.makes_the_same_message(&theirs));
        for component in &mut theirs.components {
            if let Component::Body { text, .. } = component {
                text.push('!');
            }
        }
        assert!(!ours.makes_the_same_message(&theirs));
        let mut dearer = ours.clone();
        dearer.category = TemplateCategory::Authentication;
        assert!(!ours.makes_the_same_message(&dearer), "it costs something else");
        let mut renamed = ours.clone();
        renamed.parameter_format = match ours.parameter_format {
            ParameterFormat::Named => ParameterFormat::Positional,
            ParameterFormat::Positional => ParameterFormat::Named,
        };
        assert!(
            !ours.makes_the_same_message(&renamed),
            "its values are named otherwise"
        );
    }
}
