//! The campaigns' templates, compiled once and not for every message.

use campaign_core::ids::CampaignId;
use campaign_core::template::CompiledTemplate;
use campaign_streams::lane::LaneMember;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most campaigns of one lane that are remembered; a lane has far fewer running.
const CAMPAIGNS_MAX: usize = 256;
/// How long a template is believed: the owner may put a campaign into the lane anew.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// A template, or why nothing can be rendered from it.
pub(crate) type Prepared = Arc<Result<CompiledTemplate, String>>;

/// One lane's templates.
#[derive(Default)]
pub(crate) struct TemplateCache {
    templates: HashMap<CampaignId, (Instant, Prepared)>,
}

impl TemplateCache {
    /// The campaign's template; none if the campaign is no longer in the lane.
    pub(crate) async fn get(
        &mut self,
        member: &mut LaneMember,
        campaign: CampaignId,
        now: Instant,
    ) -> campaign_streams::Result<Option<Prepared>> {
        if let Some(fresh) = self.fresh(campaign, now) {
            return Ok(Some(fresh));
        }
        let Some(snapshot) = member.snapshot(campaign).await? else {
            self.templates.remove(&campaign);
            return Ok(None);
        };
        let compiled = snapshot
            .template
            .template
            .compile_for_sending()
            .map(|compiled| compiled.with_payloads(&snapshot.template.payload_buttons))
            .map_err(|errors| {
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                errors.join("; ")
            });
        let prepared = Arc::new(compiled);
        self.remember(campaign, Arc::clone(&prepared), now);
        Ok(Some(prepared))
    }

    fn fresh(&self, campaign: CampaignId, now: Instant) -> Option<Prepared> {
        let (read_at, prepared) = self.templates.get(&campaign)?;
        (now.saturating_duration_since(*read_at) < FRESH_FOR).then(|| Arc::clone(prepared))
    }

    fn remember(&mut self, campaign: CampaignId, prepared: Prepared, now: Instant) {
        if self.templates.len() >= CAMPAIGNS_MAX && !self.templates.contains_key(&campaign) {
            self.templates
                .retain(|_, (read_at, _)| now.saturating_duration_since(*read_at) < FRESH_FOR);
            if self.templates.len() >= CAMPAIGNS_MAX {
                self.templates.clear();
            }
        }
        self.templates.insert(campaign, (now, prepared));
    }

    /// Forgets everything: the lane may be built anew.
    pub(crate) fn clear(&mut self) {
        self.templates.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn it_is_bounded_and_forgets_what_is_old() {
        let mut cache = TemplateCache::default();
        let now = Instant::now();
        let prepared: Prepared = Arc::new(Err("no body".to_owned()));
        for number in 0..=CAMPAIGNS_MAX as u128 {
            let campaign = CampaignId(Uuid::from_u128(number));
            cache.remember(campaign, Arc::clone(&prepared), now);
            assert!(cache.fresh(campaign, now).is_some());
            assert!(cache.fresh(campaign, now + FRESH_FOR).is_none());
        }
        assert!(cache.templates.len() <= CAMPAIGNS_MAX);
        cache.clear();
        assert!(cache.templates.is_empty());
    }
}
