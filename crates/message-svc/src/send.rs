//! One message from hand to wire: check, render, write once, and say what is to be done about it.

use crate::classify::{Attempt, Signal, Verdict, classify};
use crate::lane::Lane;
use crate::lease::TakenAt;
use crate::measures;
use crate::render::render;
use crate::retry::PARKED_MAX;
use crate::template_cache::Prepared;
use crate::troubles::TOLD_EVERY;
use campaign_core::contracts::{ErrorNote, Outcome, QueuedMessage, TroubleScope};
use campaign_core::message::SkipReason;
use campaign_runtime::{current_trace_context, link_to};
use campaign_streams::lane::{Step, TakenEntry};
use chrono::Utc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{Instrument, Span};
use whatsapp_api::{MessageRequest, SendOutcome};

/// How long a lane pauses whose number or account is at fault: until its owner holds it.
const TROUBLED_PAUSE: Duration = Duration::from_millis(500);
/// How long a message waits whose campaign is being taken out of the lane.
const GONE_WAIT: Duration = Duration::from_secs(1);
const _: () = assert!(GONE_WAIT.as_secs() < PARKED_MAX.as_secs());

/// A message in hand, with what is needed to send it.
pub(crate) struct InHand {
    pub(crate) entry: TakenEntry,
    /// None: the campaign is no longer in the lane.
    pub(crate) template: Option<Prepared>,
    pub(crate) taken: TakenAt,
    /// One of the process's hands; free again when the steps are handed in.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Sees one message through.
pub(crate) async fn deliver(lane: Arc<Lane>, in_hand: InHand) {
    let InHand {
        entry,
        template,
        taken,
        permit,
    } = in_hand;
    let span = span_of(&lane, &entry);
    let steps = conclude(&lane, &entry, template, taken).instrument(span).await;
    lane.desk.settle(steps).await;
    drop(permit);
}

/// A span only where the queued message's trace is sampled: at full speed there is none to pay for.
fn span_of(lane: &Lane, entry: &TakenEntry) -> Span {
    match &entry.message {
        Ok(message) if !message.trace.is_empty() => {
            let seq = entry.id.low;
            let span = tracing::info_span!("send", lane = %lane.id, campaign_id = %entry.campaign, seq);
            link_to(&span, &message.trace);
            span
        }
        _ => Span::none(),
    }
}

async fn conclude(lane: &Lane, entry: &TakenEntry, template: Option<Prepared>, taken: TakenAt) -> Vec<Step> {
    let mut attempt = Attempt {
        campaign: entry.campaign,
        id: entry.id,
        number: entry.attempt,
        attempts_max: lane.service.attempts_max,
        is_spared: false,
        at: Utc::now(),
        chance: rand::random(),
        trace: current_trace_context().unwrap_or_default(),
    };
    let (message, request) = match prepare(lane, entry, template.as_ref(), &attempt) {
        Ok(ready) => ready,
        Err(unsent) => return unsent_steps(lane, unsent),
    };
    // The last look before the write: nothing may be sent that the owner can have given up.
    if lane.service.shutdown.is_stopping() {
        return unsent_steps(lane, Unsent::handed_back("stopping", &attempt, Duration::ZERO));
    }
    if !taken.may_write(lane.service.entry_lease, TakenAt::now()) {
        return unsent_steps(lane, Unsent::handed_back("lease", &attempt, Duration::ZERO));
    }
    let started = Instant::now();
    let end = lane.service.transport.send(&lane.id, &request).await;
    measures::send_took(started.elapsed());
    attempt.at = Utc::now();
    attempt.is_spared = lane.breaker.is_open();
    log_end(&attempt, &end, started.elapsed());
    match &end {
        SendOutcome::NotSent { reason } => lane.progress.not_sent(reason),
        SendOutcome::Accepted { .. } => lane.pacing.answered(started.elapsed()),
        SendOutcome::Refused(..) | SendOutcome::Unknown { .. } => {}
    }
    heed(lane, entry.taken_us, classify(&attempt, &message.phone, end))
}

/// A message that is not written.
struct Unsent {
    class: &'static str,
    /// Comes back; otherwise it is settled.
    comes_back: bool,
    steps: Vec<Step>,
}

impl Unsent {
    fn handed_back(class: &'static str, attempt: &Attempt, wait: Duration) -> Self {
        Self {
            class,
            comes_back: true,
            steps: attempt.hand_back(wait),
        }
    }

    fn settled(class: &'static str, steps: Vec<Step>) -> Self {
        Self {
            class,
            comes_back: false,
            steps,
        }
    }
}

fn unsent_steps(lane: &Lane, unsent: Unsent) -> Vec<Step> {
    lane.progress.is_answered();
    if unsent.comes_back {
        measures::handed_back(unsent.class, 1);
    } else {
        measures::sent(unsent.class);
    }
    unsent.steps
}

/// All that can be found out without WhatsApp.
fn prepare<'a>(
    lane: &Lane,
    entry: &'a TakenEntry,
    template: Option<&Prepared>,
    attempt: &Attempt,
) -> Result<(&'a QueuedMessage, MessageRequest), Unsent> {
    if entry.opted_out {
        return Err(Unsent::settled(
            "opted_out",
            attempt.skipped(SkipReason::OptedOut),
        ));
    }
    let message = entry.message.as_ref().map_err(|problem| {
        tracing::error!(campaign_id = %entry.campaign, id = %entry.id, problem, "a queued message cannot be read");
        let note = ErrorNote::new("undecodable", problem);
        Unsent::settled("undecodable", attempt.unsendable(note))
    })?;
    if !lane.service.allow_list.allows(&message.phone) {
        return Err(Unsent::settled(
            "not_allowed",
            attempt.skipped(SkipReason::NotAllowed),
        ));
    }
    let Some(template) = template else {
        return Err(Unsent::handed_back("campaign_gone", attempt, GONE_WAIT));
    };
    if lane.troubles.concern(entry.campaign, Instant::now()) {
        return Err(Unsent::handed_back("trouble", attempt, TOLD_EVERY));
    }
    let unrendered = |problem: String| {
        let note = ErrorNote::new("render", problem);
        Unsent::settled("render", attempt.unsendable(note))
    };
    let template = template
        .as_ref()
        .as_ref()
        .map_err(|problem| unrendered(problem.clone()))?;
    let marketing = lane.service.transport.marketing_policy(&lane.id);
    let request = render(
        template,
        &message.phone,
        &message.variables,
        attempt.key(),
        marketing,
    )
    .map_err(|problem| unrendered(problem.to_string()))?;
    Ok((message, request))
}

/// Draws from a message's end what it means for its lane, and completes its steps.
fn heed(lane: &Lane, taken_us: i64, verdict: Verdict) -> Vec<Step> {
    let Verdict {
        class,
        mut steps,
        signal,
    } = verdict;
    let now = Instant::now();
    measures::sent(class);
    if steps.iter().any(|step| matches!(step, Step::Parked { .. })) {
        measures::retried(class);
    }
    match signal {
        Signal::NotSent => lane.breaker.not_sent(now),
        Signal::Lost => lane.breaker.lost(now),
        Signal::Refused => {
            lane.breaker.refused(now);
            lane.progress.is_answered();
        }
        Signal::Answered | Signal::TooFast | Signal::Trouble(_) => {
            lane.breaker.answered();
            lane.progress.is_answered();
        }
    }
    match signal {
        Signal::TooFast => {
            tracing::debug!(lane = %lane.id, "too fast: the lane goes on slower");
            steps.push(Step::TooFast { taken_us });
        }
        Signal::Trouble(trouble) => {
            if lane.troubles.is_news(trouble.scope, now) {
                tracing::error!(
                    lane = %lane.id, scope = ?trouble.scope, hold = %trouble.hold, code = trouble.error.code,
                    "sending is held up; its owner is told"
                );
                if matches!(trouble.scope, TroubleScope::Lane | TroubleScope::Account) {
                    steps.push(Step::Slow {
                        pause: TROUBLED_PAUSE,
                    });
                }
                steps.push(Step::Event {
                    outcome: Outcome::Trouble(trouble),
                    trace: String::new(),
                });
            }
        }
        Signal::Answered | Signal::Refused | Signal::NotSent | Signal::Lost => {}
    }
    steps
}

/// The reasons hold no recipient; what an error says may quote the request and is left to the ledger.
fn log_end(attempt: &Attempt, end: &SendOutcome, elapsed: Duration) {
    let (campaign_id, seq) = (attempt.campaign, attempt.id.low);
    let duration_ms = elapsed.as_millis() as u64;
    match end {
        SendOutcome::Accepted { .. } => {
            tracing::trace!(%campaign_id, seq, duration_ms, "accepted");
        }
        SendOutcome::Refused(error, decision, _) => {
            let (code, action) = (error.code, decision.action.as_str());
            tracing::debug!(%campaign_id, seq, duration_ms, code, action, "refused");
        }
        SendOutcome::NotSent { reason } => {
            tracing::debug!(%campaign_id, seq, duration_ms, reason, "not sent; it comes back");
        }
        SendOutcome::Unknown { reason } => {
            tracing::warn!(%campaign_id, seq, duration_ms, reason, "it may have been accepted: uncertain");
        }
    }
}
