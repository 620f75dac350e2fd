//! The Redis Streams driver. Every Redis command of the services is in this crate.
//!
//! There are two kinds of traffic, and they are kept apart:
//!
//! - **Control and event streams** ([`Producer`], [`Consumer`]): few entries, ordinary consumer groups.
//!   A handler answers done, retry or reject; the driver acknowledges, comes back or writes a dead letter.
//! - **Lanes** ([`lane`]): the messages themselves. One lane is one business phone number; all its keys
//!   share the hash tag `{pn:<id>}`, and every step that must be atomic is a script over declared keys.
//!
//! Around them: [`ticks`] (one tick a minute whatever the number of replicas), [`wake`] (hints that save
//! waiting, never needed for correctness), [`dead_letters`] and [`depths`] for people.

mod connection;
mod consumer;
pub mod dead_letters;
pub mod depths;
mod entry;
mod error;
mod keys;
pub mod lane;
mod producer;
mod requirements;
mod roots;
mod stream_id;
pub mod ticks;
pub mod wake;

pub use connection::{RedisConfig, Streams};
pub use consumer::{Consumer, ConsumerConfig, Delivery, Verdict};
pub use entry::Traced;
pub use error::StreamsError;
pub use keys::{Keys, LaneKeys};
pub use producer::Producer;
pub use requirements::require_safe_settings;
pub use stream_id::StreamId;

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, StreamsError>;
