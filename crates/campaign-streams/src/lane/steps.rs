//! The steps of a settle: what they are, and how the script is told of them.
//!
//! Accepted messages are by far the most. Those of one campaign that stand side by side are told as one step, as many as
//! an entry of outcomes holds: each argument of a script is parsed, copied and hashed.

use super::outcomes::OUTCOMES_EACH;
use crate::entry::{encode, number, text};
use crate::{Result, StreamId, StreamsError};
use campaign_core::contracts::Outcome;
use campaign_core::ids::CampaignId;
use redis::{ScriptInvocation, Value};
use std::time::Duration;

/// One step of a settle.
#[derive(Debug, Clone)]
pub enum Step {
    /// The message is accepted: published whoever owns the entry.
    Accepted {
        /// Its campaign.
        campaign: CampaignId,
        /// Its id.
        id: StreamId,
        /// What to publish.
        outcome: Outcome,
        /// Trace context, or empty.
        trace: String,
    },
    /// Any other final word on the entry: published only by its owner.
    Settled {
        /// Its campaign.
        campaign: CampaignId,
        /// Its id.
        id: StreamId,
        /// What to publish.
        outcome: Outcome,
        /// Trace context, or empty.
        trace: String,
    },
    /// The entry stays in its stream and comes back.
    Parked {
        /// Its campaign.
        campaign: CampaignId,
        /// Its id.
        id: StreamId,
        /// When, in milliseconds since 1970 by Redis's clock as far as known.
        due_ms: i64,
        /// Attempts that count so far.
        attempts: i32,
    },
    /// An outcome that concerns no entry.
    Event {
        /// What to publish.
        outcome: Outcome,
        /// Trace context, or empty.
        trace: String,
    },
    /// Tokens that were not used.
    Refund {
        /// How many.
        tokens: u32,
    },
    /// Nothing is taken from the lane for a while, by anyone.
    Slow {
        /// How long.
        pause: Duration,
    },
    /// WhatsApp refused a message because of the rate: the lane goes on slower, once for each burst.
    TooFast {
        /// When the message was taken ([`TakenEntry::taken_us`](super::TakenEntry::taken_us)).
        taken_us: i64,
    },
}

impl Step {
    pub(super) fn campaign(&self) -> Option<CampaignId> {
        match self {
            Self::Accepted { campaign, .. }
            | Self::Settled { campaign, .. }
            | Self::Parked { campaign, .. } => Some(*campaign),
            Self::Event { .. } | Self::Refund { .. } | Self::Slow { .. } | Self::TooFast { .. } => None,
        }
    }

    /// The outcome that this step publishes, and its trace context.
    pub fn outcome(&self) -> Option<(&Outcome, &str)> {
        match self {
            Self::Accepted { outcome, trace, .. }
            | Self::Settled { outcome, trace, .. }
            | Self::Event { outcome, trace } => Some((outcome, trace)),
            Self::Parked { .. } | Self::Refund { .. } | Self::Slow { .. } | Self::TooFast { .. } => None,
        }
    }

    /// The id of its entry.
    fn entry(&self) -> Option<StreamId> {
        match self {
            Self::Accepted { id, .. } | Self::Settled { id, .. } | Self::Parked { id, .. } => Some(*id),
            Self::Event { .. } | Self::Refund { .. } | Self::Slow { .. } | Self::TooFast { .. } => None,
        }
    }

    fn is_told_with(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Accepted { campaign, .. }, Self::Accepted { campaign: others, .. })
            if campaign == others)
    }
}

/// What the script takes as one step.
fn together(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    let alike = steps.chunk_by(Step::is_told_with);
    alike.flat_map(|run| run.chunks(OUTCOMES_EACH))
}

/// Appends the arguments that tell the script of `steps`; `campaigns` are sorted.
pub(super) fn tell(call: &mut ScriptInvocation<'_>, steps: &[Step], campaigns: &[CampaignId]) {
    for alike in together(steps) {
        let step = &alike[0];
        let index = step
            .campaign()
            .and_then(|campaign| campaigns.binary_search(&campaign).ok());
        let id = step.entry().map(|id| id.to_string()).unwrap_or_default();
        let mut say = |kind: &str, id: &str, first: &str, second: &str| {
            call.arg(kind)
                .arg(index.unwrap_or(0))
                .arg(id)
                .arg(first)
                .arg(second);
        };
        match step {
            Step::Accepted { .. } => {
                let (bodies, traces) = lines(alike);
                say("accepted", &alike.len().to_string(), &bodies, &traces);
                for id in alike.iter().filter_map(Step::entry) {
                    call.arg(id.to_string());
                }
            }
            Step::Settled { outcome, trace, .. } => say("settled", &id, &encode(outcome), trace),
            Step::Parked { due_ms, attempts, .. } => {
                say("parked", &id, &due_ms.to_string(), &attempts.to_string());
            }
            Step::Event { outcome, trace } => say("event", "", &encode(outcome), trace),
            Step::Refund { tokens } => say("refund", "", &tokens.to_string(), ""),
            Step::Slow { pause } => say("slow", "", &pause.as_millis().to_string(), ""),
            Step::TooFast { taken_us } => say("too_fast", "", &taken_us.to_string(), ""),
        }
    }
}

/// Their outcomes, a line each, and their traces, if there are any.
fn lines(steps: &[Step]) -> (String, String) {
    let told = || steps.iter().filter_map(Step::outcome);
    let bodies: Vec<String> = told().map(|(outcome, _)| encode(outcome)).collect();
    if told().all(|(_, trace)| trace.is_empty()) {
        return (bodies.join("\n"), String::new());
    }
    let traces: Vec<&str> = told().map(|(_, trace)| trace).collect();
    (bodies.join("\n"), traces.join("\n"))
}

/// For each step the id of the entry that holds its outcome. `ids` are those of the entries in order and `counts` how
/// many outcomes each holds; `unpublished` are the steps, as the script took them (from 0), that published nothing.
pub(super) fn published(
    steps: &[Step],
    ids: &[Value],
    counts: &[Value],
    unpublished: &[Value],
) -> Result<Vec<Option<StreamId>>> {
    let numbers = |values: &[Value]| -> Result<Vec<i64>> {
        values
            .iter()
            .map(|value| number(value.clone(), "settle"))
            .collect()
    };
    let ids = ids.iter().map(|id| {
        let id = text(id.clone(), "outcome id")?;
        id.parse()
            .map_err(|error| StreamsError::undecodable("outcome id", error))
    });
    let ids = ids.collect::<Result<Vec<StreamId>>>()?;
    let entries = ids.into_iter().zip(numbers(counts)?);
    let mut places = entries.flat_map(|(id, count)| std::iter::repeat_n(id, count as usize));
    let unpublished = numbers(unpublished)?;
    let mut published = Vec::with_capacity(steps.len());
    for (number, alike) in (0..).zip(together(steps)) {
        let is_published = alike[0].outcome().is_some() && !unpublished.contains(&number);
        for _ in alike {
            let missing = || StreamsError::undecodable("settle", "fewer places than outcomes");
            let place = is_published.then(|| places.next().ok_or_else(missing));
            published.push(place.transpose()?);
        }
    }
    Ok(published)
}
