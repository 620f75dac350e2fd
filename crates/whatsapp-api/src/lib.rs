//! Meta's wire types, the error table and the client of the WhatsApp Cloud API.
//!
//! One description of the protocol, used from both sides: `message-svc` sends and reads webhooks with
//! it, the mock answers and writes webhooks with it. What one side writes, the other must read, so a
//! type here is `Serialize` and `Deserialize` wherever both sides need it.
//!
//! - [`send`]: the body of `POST /{version}/{phone_number_id}/messages` and its answer;
//! - [`errors`]: what every error code means, and what to do about it, in one table;
//! - [`client`]: sends one message and says what is *known* about the result;
//! - [`limits`]: what a business phone number may do now;
//! - [`templates`]: the listing of an account's templates;
//! - [`webhook`]: what Meta reports later; [`signature`] proves who reported it;
//! - [`settings`]: how a service that calls Meta is told where, and with whose right.

pub mod client;
mod client_config;
pub mod errors;
mod lenient;
pub mod limits;
#[cfg(feature = "settings")]
mod numbers_file;
mod request_check;
pub mod send;
#[cfg(feature = "settings")]
pub mod settings;
pub mod signature;
pub mod templates;
pub mod webhook;
mod write_once;

pub use client::{CloudApi, SendOutcome};
pub use client_config::{ClientConfig, ClientError, MarketingEndpoint, NumberConfig};
pub use errors::{Action, Decision, GraphError, Hold, Scope, decide};
pub use request_check::RequestProblem;
pub use send::{MessageRequest, ProductPolicy, SendResponse};
