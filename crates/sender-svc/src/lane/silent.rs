//! Members that have long been silent: refused at once, forgotten only when nothing of them is left.
//!
//! Whoever is forgotten is not waited for when Redis is lost, and none of what it took becomes uncertain then. So
//! everything that it took must have become uncertain *before*, and be in the ledger.

use super::error::LaneError;
use super::{Lane, rounds};
use campaign_core::ids::InstanceId;
use campaign_store::{commit, lanes};
use campaign_streams::StreamId;
use std::collections::BTreeSet;
use std::time::Instant;

/// Members silent for so many graces are refused.
const SILENT_GRACES: u32 = 5;

/// The silent members of a lane.
#[derive(Debug, Default)]
pub(super) struct SilentMembers(Option<Refused>);

/// They can take nothing any more, unless they join again.
#[derive(Debug)]
struct Refused {
    members: Vec<InstanceId>,
    at: Instant,
    /// The last outcome there was when nothing was left to reclaim of what they had taken.
    reclaimed_by: Option<StreamId>,
}

impl SilentMembers {
    /// Looks for silent members, unless some are being forgotten.
    pub(super) async fn refuse(&mut self, lane: &Lane) -> Result<(), LaneError> {
        if self.0.is_some() {
            return Ok(());
        }
        let at = Instant::now();
        let members = find(lane).await?;
        for instance in &members {
            LaneError::check(lane.owner.set_member(*instance, None).await?)?;
        }
        if !members.is_empty() {
            self.0 = Some(Refused {
                members,
                at,
                reclaimed_by: None,
            });
        }
        Ok(())
    }

    /// To be called after a look at every campaign, begun at `begun`, that found nothing to reclaim.
    pub(super) async fn forget(&mut self, lane: &Lane, begun: Instant) -> Result<(), LaneError> {
        let Some(refused) = &mut self.0 else { return Ok(()) };
        // What was taken just before the refusal is not old enough for that look.
        if begun.saturating_duration_since(refused.at) <= lane.sender.reclaim_idle {
            return Ok(());
        }
        let up_to = match refused.reclaimed_by {
            Some(outcome) => outcome,
            None => *refused.reclaimed_by.insert(lane.owner.outcomes_span().await?.1),
        };
        if !rounds::is_applied(lane, up_to).await? {
            return Ok(());
        }
        let mut transaction = lane.begin().await?;
        // One that joined again meanwhile is here to stay.
        let silent_since = refused.at.elapsed();
        lanes::forget_silent_members(&mut transaction, &lane.lease.lane, &refused.members, silent_since)
            .await?;
        commit(transaction).await?;
        let members = refused.members.len();
        tracing::info!(members, "members that were long silent are forgotten");
        self.0 = None;
        Ok(())
    }
}

async fn find(lane: &Lane) -> Result<Vec<InstanceId>, LaneError> {
    let silent_after = lane.sender.grace * SILENT_GRACES;
    let admitted = LaneError::check(lane.owner.members_seen().await?)?;
    let recorded = {
        let mut connection = lane.sender.store.connection().await?;
        lanes::members(&mut connection, &lane.lease.lane).await?
    };
    let silent = admitted
        .iter()
        .filter(|(_, seen)| seen.is_none_or(|ago| ago > silent_after))
        .map(|(instance, _)| *instance);
    let known: BTreeSet<InstanceId> = admitted.iter().map(|(instance, _)| *instance).collect();
    // Recorded and not admitted: it never came back for its answer, or was refused by an owner that ended then.
    let unanswered = recorded
        .iter()
        .filter(|member| !known.contains(&member.instance) && member.joined_ago > silent_after)
        .map(|member| member.instance);
    Ok(silent.chain(unanswered).collect())
}
