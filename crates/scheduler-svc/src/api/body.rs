//! Bodies that may be left out.

use crate::api::problems::Stop;
use axum::extract::{FromRequest, Request};
use campaign_runtime::{Bytes, Json};
use serde::de::DeserializeOwned;

/// A JSON body, or the default where there is none.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for OptionalJson<T> {
    type Rejection = Stop;

    async fn from_request(request: Request, state: &S) -> Result<Self, Stop> {
        let (parts, body) = request.into_parts();
        let Bytes(bytes) = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        let Json(given) = Json::from_request(Request::from_parts(parts, bytes.into()), state).await?;
        Ok(Self(given))
    }
}

/// Tells a field that is null from one that is not there: `Some(None)` and `None`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}
