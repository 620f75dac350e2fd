//! Bodies that may be left out, and fields that may be removed.

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

/// A field of an edit. To be read with `#[serde(default)]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Edit<T> {
    /// It is not there: what was decided stays.
    #[default]
    Keep,
    /// It is null: what was decided is removed.
    Remove,
    /// It has a value.
    Set(T),
}

impl<T> Edit<T> {
    /// The value after the edit.
    pub(crate) fn apply_to(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Remove => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Edit<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Option::deserialize(deserializer)?;
        Ok(given.map_or(Self::Remove, Self::Set))
    }
}
