//! What lies in a lane: queued messages, and the snapshot they are rendered from.

use crate::ids::{CampaignId, LaneId};
use crate::phone::CanonicalPhone;
use crate::template::Template;
use serde::{Deserialize, Serialize};

/// One message waiting in its campaign's stream. Its entry id is `<generation>-<seq>`, so neither is
/// repeated in the fields; the text is rendered from the campaign's [`SnapshotTemplate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Who receives it.
    pub phone: CanonicalPhone,
    /// The template's values, in the order of its placeholders.
    pub variables: Vec<String>,
    /// When it was fed, in milliseconds since 1970.
    pub fed_at_ms: i64,
    /// The feeder's trace context, or empty.
    pub trace: String,
}

/// Why an entry of a lane could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a queued message has the fields p (phone), v (JSON array of values), f (fed at, ms), t (trace); {problem}"
)]
pub struct UndecodableMessage {
    /// What was wrong.
    pub problem: String,
}

impl QueuedMessage {
    /// The names of the fields, in the order in which every entry has them: Redis stores the names of a
    /// stream node only once if all entries agree.
    pub const FIELDS: [&'static str; 4] = ["p", "v", "f", "t"];

    /// The values of [`Self::FIELDS`].
    pub fn to_values(&self) -> [String; 4] {
        let variables = serde_json::to_string(&self.variables).expect("a list of strings is always JSON");
        [
            self.phone.to_string(),
            variables,
            self.fed_at_ms.to_string(),
            self.trace.clone(),
        ]
    }

    /// Reads the fields back. Unknown fields are passed over; a missing trace is an empty one.
    pub fn from_fields<'a>(
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<Self, UndecodableMessage> {
        let (mut phone, mut variables, mut fed_at_ms, mut trace) = (None, None, None, String::new());
        for (name, value) in fields {
            let text = std::str::from_utf8(value).map_err(|_| undecodable("a field is not UTF-8"))?;
            match name {
                b"p" => phone = Some(text.parse().map_err(|_| undecodable("p is not a phone number"))?),
                b"v" => {
                    let values =
                        serde_json::from_str(text).map_err(|error| undecodable(&format!("v: {error}")))?;
                    variables = Some(values);
                }
                b"f" => fed_at_ms = Some(text.parse().map_err(|_| undecodable("f is not a number"))?),
                b"t" => text.clone_into(&mut trace),
                _ => {}
            }
        }
        Ok(Self {
            phone: phone.ok_or_else(|| undecodable("p is missing"))?,
            variables: variables.ok_or_else(|| undecodable("v is missing"))?,
            fed_at_ms: fed_at_ms.ok_or_else(|| undecodable("f is missing"))?,
            trace,
        })
    }
}

fn undecodable(problem: &str) -> UndecodableMessage {
    UndecodableMessage {
        problem: problem.to_owned(),
    }
}

/// What `message-svc` needs of a campaign to send its messages: frozen when the campaign starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotTemplate {
    /// The campaign.
    pub campaign: CampaignId,
    /// The template as approved.
    pub template: Template,
    /// The quick-reply buttons, from 0, of which each message says what pressing them sends back. Absent in
    /// snapshots of versions that knew no payloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payload_buttons: Vec<usize>,
}

/// What the lane must know of its phone number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneProfile {
    /// The number.
    pub lane: LaneId,
    /// Messages a second, over all replicas. At least 1.
    pub rate_per_second: u32,
}
