//! What follows once a batch of outcomes is in Postgres: the lane, the outside and people hear of it, and the batch
//! leaves the lane.

use super::apply::{self, Applied};
use super::{Lane, LaneError};
use crate::wishes::Wishes;
use campaign_core::contracts::{DeadLetter, MessageOutcome, WEBHOOK_ORIGIN};
use campaign_streams::dead_letters::{self, Letters};
use campaign_streams::lane::{OutcomeEntry, OutcomeReader, directory, tell_optouts};
use chrono::Utc;

/// A batch that is in Postgres, and of which nobody was told.
pub(super) struct Untold {
    pub(super) entries: Vec<OutcomeEntry>,
    pub(super) applied: Applied,
}

/// Tells of a batch and deletes it. Each part may be repeated: if any fails, the batch is read, applied and told again.
pub(super) async fn tell(lane: &Lane, reader: &mut OutcomeReader, untold: Untold) -> Result<(), LaneError> {
    let Untold { entries, applied } = untold;
    for (campaign, ends) in &applied.ends {
        lane.shares.note(*campaign, ends);
    }
    apply::break_off(lane, &applied.over_budget).await?;
    tell_wishes(lane, applied.wishes).await?;
    keep_strays(lane, &applied.strays).await?;
    for (instance, identity) in &applied.members {
        // An unverified lane admits its members when it is verified.
        if let Err(error @ LaneError::Superseded) =
            LaneError::check(lane.owner.set_member(*instance, identity.as_deref()).await?)
        {
            return Err(error);
        }
    }
    let published = lane.sender.publish(applied.events).await;
    drop_if_full(published, "message_events_dropped_total")?;
    Ok(reader.delete(&entries).await?)
}

/// The lanes first: what is queued for a person waits for nobody.
async fn tell_wishes(lane: &Lane, wishes: Wishes) -> Result<(), LaneError> {
    if wishes.standing.is_empty() {
        return Ok(());
    }
    let sender = &lane.sender;
    let lanes = directory(&sender.streams).await?;
    tell_optouts(&sender.streams, &lanes, &wishes.standing, Utc::now()).await?;
    let published = sender.publish_suppressions(wishes.events).await;
    drop_if_full(published, "suppression_events_dropped_total")
}

async fn keep_strays(lane: &Lane, strays: &[MessageOutcome]) -> Result<(), LaneError> {
    let letters: Vec<DeadLetter> = strays.iter().map(stray).collect();
    let kept = dead_letters::keep_all(&lane.sender.streams, Letters::Stray, &letters).await;
    drop_if_full(kept, "strays_dropped_total")
}

/// An outcome whose contents Postgres refuses is kept for a person.
pub(super) async fn set_aside(lane: &Lane, entry: &OutcomeEntry, reason: &str) -> Result<(), LaneError> {
    tracing::error!(id = %entry.id, reason, "an outcome could not be recorded as it is");
    let streams = &lane.sender.streams;
    let body = serde_json::to_string(&entry.outcome).unwrap_or_default();
    let letter = DeadLetter {
        stream: streams.keys().lane(&lane.lease.lane).outcomes(),
        id: entry.id.to_string(),
        reason: reason.to_owned(),
        fields: vec![("body".to_owned(), body)],
    };
    match dead_letters::keep(streams, &letter).await {
        // The log has it; it must not keep Redis from draining.
        Err(error) if error.is_out_of_memory() => Ok(()),
        kept => Ok(kept?),
    }
}

/// The outcomes must go, or nothing ever frees memory: what a full Redis does not take is not told.
fn drop_if_full(told: campaign_streams::Result<()>, counter: &'static str) -> Result<(), LaneError> {
    match told {
        Err(error) if error.is_out_of_memory() => {
            tracing::warn!("Redis is out of memory; the outside is not told");
            metrics::counter!(counter).increment(1);
            Ok(())
        }
        told => Ok(told?),
    }
}

fn stray(outcome: &MessageOutcome) -> DeadLetter {
    let mut fields = vec![
        ("biz_opaque_callback_data".to_owned(), outcome.key.to_string()),
        ("status".to_owned(), outcome.state.to_string()),
        ("timestamp".to_owned(), outcome.at.timestamp().to_string()),
    ];
    fields.extend(
        outcome
            .error
            .as_ref()
            .map(|error| ("error_code".to_owned(), error.code.clone())),
    );
    DeadLetter {
        stream: WEBHOOK_ORIGIN.to_owned(),
        id: outcome.wamid.clone().unwrap_or_default(),
        reason: "no such message in the ledger".to_owned(),
        fields,
    }
}
