//! Pages: so many items, and an opaque cursor to where the next page starts.

use crate::api::problems::Stop;
use campaign_runtime::Problem;
use serde::Serialize;
use std::fmt::Display;
use std::str::FromStr;
use utoipa::ToSchema;

/// Most items of a page.
pub(crate) const PAGE_LIMIT_MAX: u32 = 200;
/// Items of a page where nothing is asked for.
pub(crate) const PAGE_LIMIT_DEFAULT: u32 = 50;

/// Some items of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// Where the next page starts: `?cursor=…`. Absent after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// Checks a page's size.
pub(crate) fn limit(asked: Option<u32>) -> Result<usize, Stop> {
    match asked.unwrap_or(PAGE_LIMIT_DEFAULT) {
        limit @ 1..=PAGE_LIMIT_MAX => Ok(limit as usize),
        other => Err(Problem::bad_request("a query parameter is wrong")
            .field("limit", other.to_string(), format!("1 to {PAGE_LIMIT_MAX}"))
            .into()),
    }
}

/// How many rows to ask for, to see whether there are more.
pub(crate) fn one_more(limit: usize) -> i64 {
    limit as i64 + 1
}

/// A page of at most `limit` of the rows, which were asked for with [`one_more`]. `position` names a row.
pub(crate) fn page<R, T, P: Display>(
    mut rows: Vec<R>,
    limit: usize,
    position: impl Fn(&R) -> P,
    view: impl FnMut(R) -> T,
) -> Page<T> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| more).map(|last| cursor(position(last)));
    Page {
        items: rows.into_iter().map(view).collect(),
        next_cursor,
    }
}

/// Makes a cursor of a position.
pub(crate) fn cursor(position: impl Display) -> String {
    hex::encode(position.to_string())
}

/// Reads a cursor back.
pub(crate) fn position<P: FromStr>(cursor: Option<&str>) -> Result<Option<P>, Stop> {
    let Some(cursor) = cursor else { return Ok(None) };
    let read = hex::decode(cursor)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    read.map(Some).ok_or_else(|| {
        Problem::bad_request("a query parameter is wrong")
            .field(
                "cursor",
                "not a cursor of this list",
                "the next_cursor of the page before, unchanged",
            )
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_no_cursor() {
        let numbers = |rows: Vec<i64>| page(rows, 2, |row| *row, |row| row);
        let first = numbers(vec![5, 4, 3]);
        assert_eq!(first.items, [5, 4]);
        let next = first.next_cursor.expect("there are more");
        assert_eq!(position::<i64>(Some(&next)).expect("our own cursor"), Some(4));
        assert_eq!(numbers(vec![3, 2]).next_cursor, None);
    }

    #[test]
    fn limits_and_cursors_are_checked() {
        assert!(limit(Some(0)).is_err());
        assert!(limit(Some(PAGE_LIMIT_MAX + 1)).is_err());
        assert_eq!(limit(Some(PAGE_LIMIT_MAX)).ok(), Some(PAGE_LIMIT_MAX as usize));
        assert!(position::<i64>(Some("zz")).is_err());
        assert!(position::<i64>(Some(&hex::encode("many"))).is_err());
    }
}
