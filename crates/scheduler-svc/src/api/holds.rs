//! Holds, as people see, raise and lift them.

use crate::api::problems::{Faults, Stop};
use campaign_core::campaign::HoldKind;
use campaign_store::holds::{Hold, HoldScope};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest reason that a person gives.
const REASON_MAX_CHARS: usize = 500;
/// The reason where none is given.
const REASON_DEFAULT: &str = "paused by a person";

/// Why something is not sent at the moment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HoldView {
    /// `campaign`, or `lane`: everything that is sent from the number.
    scope: &'static str,
    /// Its cause, such as `person`, `erp` or `template`.
    kind: String,
    reason: String,
    raised_by: String,
    since: DateTime<Utc>,
    /// When its cause is expected to be over, where that is known.
    until: Option<DateTime<Utc>>,
}

impl From<Hold> for HoldView {
    fn from(hold: Hold) -> Self {
        Self {
            scope: match hold.scope {
                HoldScope::Campaign => "campaign",
                HoldScope::Lane => "lane",
            },
            kind: hold.kind.to_string(),
            reason: hold.reason,
            raised_by: hold.raised_by,
            since: hold.since,
            until: hold.until,
        }
    }
}

/// Why something is to be paused.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pause {
    /// For the people who wonder later.
    #[serde(default)]
    reason: Option<String>,
}

impl Pause {
    pub(crate) fn reason(&self) -> Result<String, Stop> {
        reason(self.reason.as_deref(), REASON_DEFAULT)
    }
}

/// A reason that a person gave, or `default`.
pub(crate) fn reason(given: Option<&str>, default: &str) -> Result<String, Stop> {
    let mut faults = Faults::default();
    let reason = given.map_or_else(
        || Some(default.to_owned()),
        |text| faults.text("/reason", text, REASON_MAX_CHARS),
    );
    faults.finish()?;
    Ok(reason.unwrap_or_default())
}

/// Which holds are to be lifted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldKinds {
    /// Kinds such as `person` or `template`.
    #[serde(default)]
    kinds: Option<Vec<String>>,
}

impl HoldKinds {
    /// The kinds that were asked for, or `default`.
    pub(crate) fn kinds_or(&self, default: &[HoldKind]) -> Result<Vec<HoldKind>, Stop> {
        let Some(asked) = &self.kinds else {
            return Ok(default.to_vec());
        };
        let mut faults = Faults::default();
        if asked.is_empty() || asked.len() > HoldKind::ALL.len() {
            faults.add(
                "/kinds",
                format!("{} kinds", asked.len()),
                format!("1 to {} kinds", HoldKind::ALL.len()),
            );
        }
        let bounded = asked.iter().take(HoldKind::ALL.len()).enumerate();
        let kinds = bounded
            .filter_map(|(index, kind)| faults.name(&format!("/kinds/{index}"), kind))
            .collect();
        faults.finish()?;
        Ok(kinds)
    }
}
