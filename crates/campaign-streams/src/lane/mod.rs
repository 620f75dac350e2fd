//! The lane: everything that is queued for one business phone number.
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{pn:X}:header` | hash | Redis identity, owner's epoch, rate, pace, token bucket, virtual time, roster version |
//! | `{pn:X}:members` | hash | instances that may take, with the identity they were admitted on |
//! | `{pn:X}:running` | sorted set | campaigns by virtual time |
//! | `{pn:X}:messages:<campaign>` | stream | messages fed and not settled, ids `<generation>-<seq>` |
//! | `{pn:X}:alarms:<campaign>` | sorted set | parked entries by due time |
//! | `{pn:X}:snapshot:<campaign>` | hash | template, generation, weight, held, expiry |
//! | `{pn:X}:optouts` | sorted set | phones that opted out since the oldest queued message |
//! | `{pn:X}:outcomes` | stream | what the members report |
//!
//! There are two sides. [`LaneOwner`] is held by the one `sender-svc` that has the lane's lease: it feeds,
//! surveys, holds and builds, always with its epoch. [`LaneMember`] is held by every `message-svc`: it
//! takes and settles, always as itself. Every step is one script, so there is nothing between a look and
//! an act; every script that gives or moves an entry first compares the identity of the Redis it runs on
//! with the one the lane was built on.

mod member;
mod opt_outs;
mod outcomes;
mod owner;
mod pace;
mod reporter;
mod script;
mod steps;
mod survey;

pub use member::{Answers, LaneMember, Settled, Snapshot, Take, TakenEntry, Wait};
pub use opt_outs::{tell_optout, tell_optouts};
pub use outcomes::{OutcomeBatch, OutcomeEntry, OutcomeReader};
pub(crate) use outcomes::{ask_for_ends, waiting};
pub use owner::{Fed, FeedEntry, LaneControls, LaneOwner, OpenCampaign, Opened, OwnerReply};
pub use pace::Pace;
pub use reporter::OutcomeReporter;
pub use steps::Step;
pub use survey::{Survey, Surveyed};

use crate::{Result, Streams};
use campaign_core::ids::LaneId;

/// The consumer that holds entries which wait for their alarm.
pub(crate) const PARKED_CONSUMER: &str = "parked";

/// The lanes that have an owner, in order.
pub async fn directory(streams: &Streams) -> Result<Vec<LaneId>> {
    let mut connection = streams.pooled().await?;
    let lanes: Vec<String> = redis::cmd("SMEMBERS")
        .arg(streams.keys().lanes())
        .query_async(&mut connection)
        .await?;
    let mut lanes: Vec<LaneId> = lanes.iter().filter_map(|lane| lane.parse().ok()).collect();
    lanes.sort();
    Ok(lanes)
}
