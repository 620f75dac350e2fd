//! Statuses and messages on their way to the engine's webhook.
//!
//! `Outbox` holds what is still to be told, small and in the order it falls due; the pump in
//! `delivery` takes batches out of it and posts them, signed, until they are answered 200. Meta says the
//! same things late, twice, in the wrong order or never; the [`WebhookSettings`] say how often.

pub(crate) mod delivery;
mod inbound;
mod notices;
mod outbox;
mod rendering;
mod settings;

pub use inbound::{InboundContent, InboundRequest};
pub(crate) use notices::Notice;
pub use notices::{AccountEvent, BanState, QualityEvent};
pub(crate) use outbox::{Batch, Event, Message, Outbox, StatusKind};
pub use outbox::{MAX_INBOUND, MAX_PENDING, OutboxReport};
pub use settings::{SigningSecret, WebhookSettings};
