//! What a send's end means, as steps for the lane. Pure: one outcome and one attempt in, steps out.
//!
//! | end | entry | attempt spent | token |
//! |---|---|---|---|
//! | accepted | leaves | yes | – |
//! | refused for good | leaves, FAILED (and suppressed, where the person said so) | yes | – |
//! | refused for now | parked; DEFERRED if the wait is over a minute; FAILED after the last attempt | yes | – |
//! | … while everything is refused | parked | no | – |
//! | too fast | parked, and the lane goes on slower | no | – |
//! | the account, number or template is at fault | parked for a second, and the owner is told | no | – |
//! | never written | parked, due at once | no | returned |
//! | unknown | leaves, UNCERTAIN | yes | – |
//!
//! A token is returned only if nothing was written: what WhatsApp refused has used its rate.

use crate::error_note::{note, note_with_advice};
use crate::retry::{self, PARKED_MAX};
use crate::troubles::called_for;
use campaign_core::contracts::{ErrorNote, MessageOutcome, OptOut, Outcome, OutcomeSource, Trouble};
use campaign_core::ids::{CampaignId, Generation, MessageKey, Seq};
use campaign_core::message::{MessageState, SkipReason};
use campaign_core::phone::CanonicalPhone;
use campaign_streams::StreamId;
use campaign_streams::lane::Step;
use chrono::{DateTime, Utc};
use std::time::Duration;
use whatsapp_api::{Action, Decision, GraphError, SendOutcome};

/// What may be malformed in a way nobody knows is tried a few times only.
const RETRY_FEW_ATTEMPTS_MAX: i32 = 3;
/// How long a message waits while its trouble is being told, and after a rate error.
const HELD_BACK: Duration = Duration::from_secs(1);

/// One message in hand, and the circumstances of its attempt.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) campaign: CampaignId,
    pub(crate) id: StreamId,
    /// 1 the first time.
    pub(crate) number: i32,
    pub(crate) attempts_max: i32,
    /// WhatsApp refuses everything for now: what it refuses says nothing of this message.
    pub(crate) is_spared: bool,
    pub(crate) at: DateTime<Utc>,
    /// 0 to 1, for jitter.
    pub(crate) chance: f64,
    /// Trace context, or empty.
    pub(crate) trace: String,
}

/// What is to be done about a message, and what its end says about the lane.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// The metric label.
    pub(crate) class: &'static str,
    pub(crate) steps: Vec<Step>,
    pub(crate) signal: Signal,
}

/// What one message's end says about its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    /// WhatsApp answers.
    Answered,
    /// WhatsApp answers that it cannot now.
    Refused,
    /// WhatsApp answers that the lane is too fast.
    TooFast,
    /// WhatsApp answers that something larger is wrong.
    Trouble(Trouble),
    /// The message never left.
    NotSent,
    /// There was no answer, or none that says anything.
    Lost,
}

impl Attempt {
    /// Names the message, to WhatsApp and to the ledger. The owner feeds no other ids; were there one, its
    /// outcome could not be read and would become a dead letter.
    pub(crate) fn key(&self) -> MessageKey {
        let (generation, seq) = self.id.message().unwrap_or((Generation(0), Seq(0)));
        MessageKey {
            campaign: self.campaign,
            generation,
            seq,
        }
    }

    /// Given back unsent: due after `wait`, the attempt not spent, the token returned.
    pub(crate) fn hand_back(&self, wait: Duration) -> Vec<Step> {
        vec![self.parked(wait, self.number - 1), Step::Refund { tokens: 1 }]
    }

    /// Will never be sent, for this reason. The token of someone who opted out was returned by the take.
    pub(crate) fn skipped(&self, reason: SkipReason) -> Vec<Step> {
        let mut outcome = self.outcome(MessageState::Skipped);
        outcome.skip = Some(reason);
        outcome.attempts = None;
        let mut steps = vec![self.settled(outcome)];
        if reason != SkipReason::OptedOut {
            steps.push(Step::Refund { tokens: 1 });
        }
        steps
    }

    /// Cannot be made into a message; nothing was written.
    pub(crate) fn unsendable(&self, note: ErrorNote) -> Vec<Step> {
        let mut outcome = self.outcome(MessageState::Failed);
        outcome.error = Some(note);
        outcome.attempts = Some(self.number - 1);
        vec![self.settled(outcome), Step::Refund { tokens: 1 }]
    }

    fn outcome(&self, state: MessageState) -> MessageOutcome {
        MessageOutcome {
            attempts: Some(self.number),
            ..MessageOutcome::new(self.key(), state, self.at, OutcomeSource::Send)
        }
    }

    fn failed(&self, state: MessageState, note: ErrorNote) -> Step {
        let mut outcome = self.outcome(state);
        outcome.error = Some(note);
        self.settled(outcome)
    }

    fn settled(&self, outcome: MessageOutcome) -> Step {
        Step::Settled {
            campaign: self.campaign,
            id: self.id,
            outcome: Outcome::Message(outcome),
            trace: self.trace.clone(),
        }
    }

    fn parked(&self, wait: Duration, attempts: i32) -> Step {
        let due_ms = if wait.is_zero() {
            0 // always due, whatever the difference between this clock and Redis's
        } else {
            self.at.timestamp_millis() + wait.as_millis() as i64
        };
        Step::Parked {
            campaign: self.campaign,
            id: self.id,
            due_ms,
            attempts,
        }
    }

    /// Goes again after `wait`: from where it lies, or in a later round if that is long.
    fn again(&self, wait: Duration, note: ErrorNote) -> Step {
        if wait <= PARKED_MAX {
            return self.parked(wait, self.number);
        }
        let mut outcome = self.outcome(MessageState::Deferred);
        outcome.error = Some(note);
        outcome.due = Some(self.at + wait);
        self.settled(outcome)
    }
}

/// Decides about a message that was handed to the transport.
pub(crate) fn classify(attempt: &Attempt, phone: &CanonicalPhone, end: SendOutcome) -> Verdict {
    match end {
        SendOutcome::Accepted { wamid, wa_id, .. } => {
            let mut outcome = attempt.outcome(MessageState::Accepted);
            outcome.wamid = Some(wamid);
            outcome.wa_id = wa_id.filter(|wa_id| wa_id.trim_start_matches('+') != &phone.as_str()[1..]);
            let step = Step::Accepted {
                campaign: attempt.campaign,
                id: attempt.id,
                outcome: Outcome::Message(outcome),
                trace: attempt.trace.clone(),
            };
            verdict("accepted", vec![step], Signal::Answered)
        }
        SendOutcome::Refused(error, decision, retry_after) => {
            refused(attempt, phone, &error, decision, retry_after)
        }
        SendOutcome::NotSent { .. } => {
            verdict("not_sent", attempt.hand_back(Duration::ZERO), Signal::NotSent)
        }
        SendOutcome::Unknown { reason } => {
            let note = ErrorNote::new(word_for_unknown(&reason), &reason);
            let step = attempt.failed(MessageState::Uncertain, note);
            verdict("unknown", vec![step], Signal::Lost)
        }
    }
}

fn refused(
    attempt: &Attempt,
    phone: &CanonicalPhone,
    error: &GraphError,
    decision: Decision,
    retry_after: Option<Duration>,
) -> Verdict {
    let note = note(error);
    let (steps, signal) = match decision.action {
        Action::Fail | Action::FailForADay => {
            (vec![attempt.failed(MessageState::Failed, note)], Signal::Answered)
        }
        Action::FailAndSuppress => {
            let suppress = Step::Event {
                outcome: Outcome::OptOut(OptOut {
                    phone: *phone,
                    stop: true,
                    source: format!("error_{}", error.code),
                    at: attempt.at,
                }),
                trace: attempt.trace.clone(),
            };
            let failed = attempt.failed(MessageState::Failed, note);
            (vec![failed, suppress], Signal::Answered)
        }
        Action::RetryTransient | Action::RetryFew => {
            let most = match decision.action {
                Action::RetryFew => attempt.attempts_max.min(RETRY_FEW_ATTEMPTS_MAX),
                _ => attempt.attempts_max,
            };
            let wait = retry::backoff(attempt.number, retry_after, attempt.chance);
            let step = if attempt.is_spared {
                attempt.parked(wait.min(PARKED_MAX), attempt.number - 1)
            } else if attempt.number >= most {
                attempt.failed(MessageState::Failed, note)
            } else {
                attempt.again(wait, note)
            };
            (vec![step], Signal::Refused)
        }
        Action::RetryPair => {
            let wait = retry::pair_backoff(attempt.number, retry_after);
            (vec![attempt.again(wait, note)], Signal::Answered)
        }
        Action::SlowLane => {
            let wait = HELD_BACK.max(retry_after.unwrap_or_default().min(PARKED_MAX));
            let wait = wait.mul_f64(1.0 + attempt.chance.clamp(0.0, 1.0) / 2.0);
            (vec![attempt.parked(wait, attempt.number - 1)], Signal::TooFast)
        }
        Action::HoldCampaign | Action::StopCampaign | Action::StopLane | Action::StopAccount => {
            let step = attempt.parked(HELD_BACK, attempt.number - 1);
            let told = note_with_advice(error, decision);
            let trouble = called_for(decision, Some(attempt.campaign), told, attempt.at);
            let trouble = trouble.expect("the table names a cause wherever something is held or stopped");
            (vec![step], Signal::Trouble(trouble))
        }
    };
    verdict(decision.action.as_str(), steps, signal)
}

fn verdict(class: &'static str, steps: Vec<Step>, signal: Signal) -> Verdict {
    Verdict { class, steps, signal }
}

/// The client says in prose why it knows nothing; the ledger wants one word.
fn word_for_unknown(reason: &str) -> &'static str {
    if reason.starts_with("HTTP ") {
        "unreadable"
    } else if reason.contains("timed out") || reason.contains("timeout") {
        "timeout"
    } else {
        "broken"
    }
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
