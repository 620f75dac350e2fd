//! The names of things, each its own type so that one cannot stand for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

uuid_id! {
    /// A campaign. UUIDv7, so that the ledger's partitions follow time.
    CampaignId
}
uuid_id! {
    /// One version of a template.
    TemplateId
}
uuid_id! {
    /// A WhatsApp Business Account as this engine knows it (not Meta's own number).
    AccountId
}
uuid_id! {
    /// A key for the REST API.
    ApiKeyId
}
uuid_id! {
    /// A request to the ledger.
    RequestId
}
uuid_id! {
    /// One process, from start to end. Random, so that a restarted process is never mistaken for the
    /// one before it.
    InstanceId
}

/// A lane: one business phone number, named by Meta's `phone_number_id` (digits).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LaneId(String);

/// Longest `phone_number_id` that is taken. Meta's have 15 to 17 digits.
pub const LANE_ID_MAX_DIGITS: usize = 32;

/// Why a text is not a [`LaneId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a phone number id has 1 to {LANE_ID_MAX_DIGITS} digits, as in 106540352242922, and nothing else")]
pub struct InvalidLaneId;

impl LaneId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LaneId {
    type Error = InvalidLaneId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let valid =
            (1..=LANE_ID_MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if valid { Ok(Self(text)) } else { Err(InvalidLaneId) }
    }
}

impl From<LaneId> for String {
    fn from(lane: LaneId) -> Self {
        lane.0
    }
}

impl FromStr for LaneId {
    type Err = InvalidLaneId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The position of a message in its campaign's audience, from 1, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

/// A round of a campaign, from 1. What was fed in one round never comes back in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub i32);

impl fmt::Display for Seq {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Names one attempt round of one message: what `biz_opaque_callback_data` carries to Meta and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageKey {
    /// The campaign.
    pub campaign: CampaignId,
    /// The round it was fed in.
    pub generation: Generation,
    /// Its position in the audience.
    pub seq: Seq,
}

/// Why a text is not a [`MessageKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("callback data reads <campaign uuid>:<generation>:<seq>, both numbers from 1")]
pub struct InvalidMessageKey;

impl fmt::Display for MessageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}", self.campaign, self.generation, self.seq)
    }
}

impl FromStr for MessageKey {
    type Err = InvalidMessageKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().ok_or(InvalidMessageKey);
        let campaign = next()?.parse().map_err(|_| InvalidMessageKey)?;
        let generation = next()?.parse().map_err(|_| InvalidMessageKey)?;
        let seq = next()?.parse().map_err(|_| InvalidMessageKey)?;
        if generation < 1 || seq < 1 {
            return Err(InvalidMessageKey);
        }
        Ok(Self {
            campaign,
            generation: Generation(generation),
            seq: Seq(seq),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callback_data_survives_the_journey() {
        let key = MessageKey {
            campaign: CampaignId(Uuid::now_v7()),
            generation: Generation(3),
            seq: Seq(41),
        };
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn foreign_callback_data_is_refused() {
        let id = Uuid::nil();
        for text in [
            "",
            "x",
            &format!("{id}"),
            &format!("{id}:0:1"),
            &format!("{id}:1:0"),
            &format!("{id}:1:1:1"),
        ] {
            assert_eq!(text.parse::<MessageKey>(), Err(InvalidMessageKey), "{text}");
        }
    }

    #[test]
    fn a_lane_is_digits() {
        assert!("106540352242922".parse::<LaneId>().is_ok());
        for text in ["", "12a", "+55", "{12}", &"1".repeat(LANE_ID_MAX_DIGITS + 1)] {
            assert_eq!(text.parse::<LaneId>(), Err(InvalidLaneId), "{text}");
        }
    }
}
