//! Reading columns whose type Postgres does not share with this program.

use crate::{Result, StoreError};
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::str::FromStr;

/// A text column (or an enum read as text) that names one of a closed set.
pub(crate) fn text<T: FromStr>(row: &PgRow, column: &'static str) -> Result<T> {
    let found: String = row.try_get(column)?;
    found
        .parse()
        .map_err(|_| StoreError::Unreadable { column, found })
}

/// A `jsonb` column.
pub(crate) fn json<T: DeserializeOwned>(row: &PgRow, column: &'static str) -> Result<T> {
    let found: serde_json::Value = row.try_get(column)?;
    T::deserialize(&found).map_err(|error| StoreError::Unreadable {
        column,
        found: error.to_string(),
    })
}

/// Turns a model into what a `jsonb` column takes.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).expect("models of this program are always JSON")
}
