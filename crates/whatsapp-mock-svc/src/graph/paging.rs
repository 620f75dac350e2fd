//! Pages with cursors, as the Graph API has them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::answer::Refusal;

/// Items of a page that nothing was said about.
const DEFAULT_LIMIT: usize = 25;
/// Most items of a page.
const MAX_LIMIT: usize = 1_000;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Items of a page, 1 to 1000; 25 if nothing is said.
    limit: Option<String>,
    /// The cursor of the last item seen.
    after: Option<String>,
    /// The cursor of the first item seen, to go back.
    before: Option<String>,
}

/// Where the page begins and ends, and what lies beyond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Paging {
    cursors: Cursors,
    /// Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Absent on the first page.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

/// The first and the last item of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Cursors {
    before: String,
    after: String,
}

/// The page of `ids` (in the order of the list) that is asked for, as a range; `url` is the list's. An
/// empty page has no paging.
pub(super) fn page(
    ids: &[&str],
    query: &PageQuery,
    url: &str,
) -> Result<(std::ops::Range<usize>, Option<Paging>), Refusal> {
    let limit = query.limit.as_deref().map_or(Ok(DEFAULT_LIMIT), str::parse).ok();
    let limit = limit
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| Refusal::parameter("limit must be a number from 1 to 1000"))?;
    let place = |cursor: &str| {
        let id = read_cursor(cursor).ok_or_else(|| Refusal::parameter("Invalid cursor"))?;
        ids.iter()
            .position(|known| *known == id)
            .ok_or_else(|| Refusal::parameter("the item of this cursor is there no more: begin again"))
    };
    let range = match (&query.after, &query.before) {
        (Some(after), _) => {
            let begin = place(after)? + 1;
            begin..ids.len().min(begin + limit)
        }
        (None, Some(before)) => {
            let end = place(before)?;
            end.saturating_sub(limit)..end
        }
        (None, None) => 0..ids.len().min(limit),
    };
    let [first, .., last] = &ids[range.clone()] else {
        let only = ids.get(range.start).filter(|_| !range.is_empty());
        let paging = only.map(|only| paging(only, only, ids.len(), &range, limit, url));
        return Ok((range, paging));
    };
    let paging = paging(first, last, ids.len(), &range, limit, url);
    Ok((range, Some(paging)))
}

fn paging(
    first: &str,
    last: &str,
    count: usize,
    range: &std::ops::Range<usize>,
    limit: usize,
    url: &str,
) -> Paging {
    let cursors = Cursors {
        before: cursor(first),
        after: cursor(last),
    };
    let link = |name: &str, cursor: &str| {
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}limit={limit}&{name}={cursor}")
    };
    Paging {
        next: (range.end < count).then(|| link("after", &cursors.after)),
        previous: (range.start > 0).then(|| link("before", &cursors.before)),
        cursors,
    }
}

/// Nobody's business what it means, so it does not read like an id.
fn cursor(id: &str) -> String {
    id.bytes()
        .rev()
        .map(|digit| char::from(digit - b'0' + b'A'))
        .collect()
}

fn read_cursor(cursor: &str) -> Option<String> {
    let is_ours = |sign: u8| (b'A'..=b'J').contains(&sign);
    cursor
        .bytes()
        .rev()
        .map(|sign| is_ours(sign).then(|| char::from(sign - b'A' + b'0')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit: usize, after: Option<String>, before: Option<String>) -> PageQuery {
        PageQuery {
            limit: Some(limit.to_string()),
            after,
            before,
        }
    }

    #[test]
    fn pages_lead_through_the_list_and_back() {
        let ids: Vec<String> = (10..17).map(|id| id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut after = None;
        let mut seen = Vec::new();
        let mut last = None;
        loop {
            let (range, paging) = page(&ids, &query(3, after, None), "u").expect("right");
            seen.push(range);
            let paging = paging.expect("not empty");
            after = paging.next.as_ref().map(|_| paging.cursors.after.clone());
            last = Some(paging.cursors.before).or(last);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, [0..3, 3..6, 6..7]);
        let (range, paging) = page(&ids, &query(3, None, last), "u").expect("right");
        assert_eq!(range, 3..6);
        assert!(paging.is_some_and(|paging| paging.previous.is_some() && paging.next.is_some()));
    }

    #[test]
    fn wrong_limits_and_cursors_are_refused() {
        let bad = |query: PageQuery| page(&["1"], &query, "u").map_err(|refusal| refusal.code);
        assert_eq!(bad(query(0, None, None)), Err(100));
        assert_eq!(bad(query(1_001, None, None)), Err(100));
        assert_eq!(bad(query(1, Some("!".into()), None)), Err(100));
        assert_eq!(bad(query(1, Some(cursor("2")), None)), Err(100));
        assert_eq!(bad(query(1, Some(cursor("1")), None)), Ok((1..1, None)));
        assert_eq!(page(&[], &query(1, None, None), "u"), Ok((0..0, None)));
    }
}
