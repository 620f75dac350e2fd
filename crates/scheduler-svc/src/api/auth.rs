//! Who asks, and whether they may.
//!
//! A handler's first argument is [`Viewer`], [`Supervisor`] or [`Admin`]: it cannot know who asks without
//! saying who may, and nobody's body is read before.

use crate::api::Api;
use crate::api::change::Idempotency;
use crate::api::problems::Stop;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use campaign_core::ids::ApiKeyId;
use campaign_runtime::Problem;
use campaign_store::api_keys::{self, ApiRole, KEY_PREFIX};
use subtle::ConstantTimeEq;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The key that was used.
    pub(crate) key: ApiKeyId,
    /// The key's name, which the audit log shows.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: ApiRole,
    /// What names this request, where the caller gave it a name.
    pub(crate) idempotency: Option<Idempotency>,
}

impl Caller {
    /// Whether phone numbers are shown in full.
    pub(crate) fn sees_phones(&self) -> bool {
        self.role >= ApiRole::Supervisor
    }
}

macro_rules! at_least {
    ($(#[$doc:meta] $name:ident = $role:expr;)+) => {$(
        #[$doc]
        #[derive(Debug, Clone)]
        pub(crate) struct $name(pub(crate) Caller);

        impl FromRequestParts<Api> for $name {
            type Rejection = Stop;

            async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Stop> {
                authorize(parts, api, $role).await.map(Self)
            }
        }
    )+};
}

at_least! {
    /// A caller who may read.
    Viewer = ApiRole::Viewer;
    /// A caller who may also decide about campaigns.
    Supervisor = ApiRole::Supervisor;
    /// A caller who may also manage keys, accounts, templates and phone numbers.
    Admin = ApiRole::Admin;
}

async fn authorize(parts: &Parts, api: &Api, needed: ApiRole) -> Result<Caller, Stop> {
    let key = bearer(parts)?;
    let hash = api_keys::hash_key(key);
    let mut connection = api.store.connection().await?;
    let known = api_keys::by_hash(&mut connection, &hash).await?;
    // The index found it by comparing hashes already; this comparison does not tell by its time how far a
    // guess came.
    let known = known
        .filter(|known| bool::from(known.key_hash.as_slice().ct_eq(&hash)))
        .ok_or_else(|| Problem::unauthorized("this API key is not known, or was revoked"))?;
    if known.role < needed {
        let detail = format!(
            "this needs the role {}; the key {:?} has {}",
            needed.as_str(),
            known.name,
            known.role.as_str()
        );
        return Err(Problem::forbidden(detail)
            .extension("role", known.role.as_str())
            .extension("needed", needed.as_str())
            .into());
    }
    let idempotency = parts.extensions.get::<Idempotency>().cloned();
    Ok(Caller {
        key: known.id,
        name: known.name,
        role: known.role,
        idempotency,
    })
}

fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let expected = format!("expected the header `Authorization: Bearer {KEY_PREFIX}…`");
    let header = parts
        .headers
        .get(AUTHORIZATION)
        .ok_or_else(|| Problem::unauthorized(expected.clone()))?;
    let (scheme, key) = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .unwrap_or_default();
    let key = key.trim();
    if scheme.eq_ignore_ascii_case("bearer") && key.starts_with(KEY_PREFIX) {
        Ok(key)
    } else {
        Err(Problem::unauthorized(expected))
    }
}
