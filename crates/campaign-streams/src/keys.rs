//! Every key there is. See `docs/STREAMS.md` for who writes and who reads each.

use campaign_core::ids::{CampaignId, LaneId};

/// Names keys, with the prefix that keeps installations (and tests) that share a Redis apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// `prefix` stands before every key as it is; empty for none.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// A control or event stream.
    pub fn stream(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The set of lanes that have an owner.
    pub fn lanes(&self) -> String {
        format!("{}lanes", self.prefix)
    }

    /// The channel on which message services hear that a lane has work.
    pub fn wake_messages(&self) -> String {
        format!("{}wake:messages", self.prefix)
    }

    /// The channel on which senders hear that people decided something.
    pub fn wake_senders(&self) -> String {
        format!("{}wake:senders", self.prefix)
    }

    /// The channel on which schedulers hear that a campaign was scheduled.
    pub fn wake_schedulers(&self) -> String {
        format!("{}wake:schedulers", self.prefix)
    }

    /// The keys of one lane.
    pub fn lane(&self, lane: &LaneId) -> LaneKeys {
        LaneKeys {
            tag: format!("{}{{pn:{lane}}}", self.prefix),
        }
    }
}

/// The keys of one lane: all on one Redis Cluster slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneKeys {
    tag: String,
}

impl LaneKeys {
    /// Hash: identity, epoch, rate, bucket, virtual time, roster version.
    pub fn header(&self) -> String {
        format!("{}:header", self.tag)
    }

    /// Hash: instance to the identity it was admitted on.
    pub fn members(&self) -> String {
        format!("{}:members", self.tag)
    }

    /// Sorted set: running campaigns by virtual time.
    pub fn running(&self) -> String {
        format!("{}:running", self.tag)
    }

    /// Sorted set: canonical phones by the time (ms) of their opt-out.
    pub fn optouts(&self) -> String {
        format!("{}:optouts", self.tag)
    }

    /// Stream: what the message services report.
    pub fn outcomes(&self) -> String {
        format!("{}:outcomes", self.tag)
    }

    /// Stream: a campaign's messages.
    pub fn messages(&self, campaign: CampaignId) -> String {
        format!("{}:messages:{campaign}", self.tag)
    }

    /// Sorted set: parked entries by the time (ms) they are due.
    pub fn alarms(&self, campaign: CampaignId) -> String {
        format!("{}:alarms:{campaign}", self.tag)
    }

    /// Hash: template, generation, weight, held, expiry.
    pub fn snapshot(&self, campaign: CampaignId) -> String {
        format!("{}:snapshot:{campaign}", self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_of_a_lane_share_its_hash_tag() {
        let keys = Keys::new("test:").lane(&"106540352242922".parse().expect("a lane"));
        let campaign = CampaignId(uuid::Uuid::nil());
        for key in [
            keys.header(),
            keys.members(),
            keys.running(),
            keys.optouts(),
            keys.outcomes(),
            keys.messages(campaign),
            keys.alarms(campaign),
            keys.snapshot(campaign),
        ] {
            assert!(key.starts_with("test:{pn:106540352242922}:"), "{key}");
        }
    }
}
