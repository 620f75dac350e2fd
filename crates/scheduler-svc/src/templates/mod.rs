//! What WhatsApp says of templates: read by schedule and on demand ([`sync`]), told by webhooks
//! ([`account_events`](crate::account_events)), and what follows for campaigns ([`news`]).

pub(crate) mod news;
pub(crate) mod sync;
