//! What is larger than one message, and is being told to the lane's owner.
//!
//! Until the owner has set its hold, the lane goes on handing out messages that would all be refused for the
//! same reason. So a trouble is told once a second, and meanwhile nothing that it concerns is written.

use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{ErrorNote, Trouble, TroubleScope};
use campaign_core::ids::CampaignId;
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use whatsapp_api::{Decision, Hold, Scope};

/// How long a trouble keeps back what it concerns, and how often it is told.
pub(crate) const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Most campaigns that are remembered: a lane has far fewer running.
const CAMPAIGNS_MAX: usize = 1_000;

/// The trouble that an error calls for, if it is about more than a message. One of an unknown campaign is none.
pub(crate) fn called_for(
    decision: Decision,
    campaign: Option<CampaignId>,
    error: ErrorNote,
    at: DateTime<Utc>,
) -> Option<Trouble> {
    let scope = match decision.scope {
        Scope::Account => TroubleScope::Account,
        Scope::Lane => TroubleScope::Lane,
        Scope::Template | Scope::Message | Scope::Recipient | Scope::Pair | Scope::Unknown => {
            TroubleScope::Campaign(campaign?)
        }
    };
    let hold = match decision.hold? {
        Hold::Account => HoldKind::Account,
        Hold::Number => HoldKind::Number,
        Hold::Quality => HoldKind::Quality,
        Hold::Template => HoldKind::Template,
        Hold::Stopped => HoldKind::Stopped,
    };
    Some(Trouble {
        scope,
        hold,
        error,
        at,
    })
}

/// One lane's troubles of the last second.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    lane: Option<Instant>,
    campaigns: HashMap<CampaignId, Instant>,
}

impl Troubles {
    /// Whether this trouble is to be told now.
    pub(crate) fn is_news(&self, scope: TroubleScope, now: Instant) -> bool {
        let mut told = self.lock();
        let last = match scope {
            TroubleScope::Lane | TroubleScope::Account => told.lane,
            TroubleScope::Campaign(campaign) => told.campaigns.get(&campaign).copied(),
        };
        if last.is_some_and(|last| is_recent(last, now)) {
            return false;
        }
        match scope {
            TroubleScope::Lane | TroubleScope::Account => told.lane = Some(now),
            TroubleScope::Campaign(campaign) => {
                if told.campaigns.len() >= CAMPAIGNS_MAX {
                    told.campaigns.retain(|_, last| is_recent(*last, now));
                }
                told.campaigns.insert(campaign, now);
            }
        }
        true
    }

    /// Whether a message of this campaign would only meet a trouble that was told just now.
    pub(crate) fn concern(&self, campaign: CampaignId, now: Instant) -> bool {
        let told = self.lock();
        let last = [told.lane, told.campaigns.get(&campaign).copied()];
        last.into_iter().flatten().any(|last| is_recent(last, now))
    }

    /// Each change is one assignment, so a panic elsewhere leaves it right.
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_recent(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) < TOLD_EVERY
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_trouble_is_told_once_a_second_and_keeps_back_what_it_concerns() {
        let troubles = Troubles::default();
        let (one, other) = (CampaignId(Uuid::from_u128(1)), CampaignId(Uuid::from_u128(2)));
        let now = Instant::now();
        assert!(!troubles.concern(one, now));
        assert!(troubles.is_news(TroubleScope::Campaign(one), now));
        assert!(!troubles.is_news(TroubleScope::Campaign(one), now));
        assert!(troubles.concern(one, now) && !troubles.concern(other, now));
        assert!(troubles.is_news(TroubleScope::Lane, now));
        assert!(troubles.concern(other, now), "the lane is every campaign's");
        let later = now + TOLD_EVERY;
        assert!(!troubles.concern(one, later));
        assert!(troubles.is_news(TroubleScope::Campaign(one), later));
    }
}
