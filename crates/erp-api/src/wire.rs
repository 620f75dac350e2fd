//! The ERP's HTTP contract: paths, pages and errors.

use campaign_core::customer::Customer;
use serde::{Deserialize, Serialize};

/// Where customers are listed.
pub const CUSTOMERS_PATH: &str = "/v1/customers";
/// Query parameter: where the page starts, as the page before said.
pub const CURSOR_PARAMETER: &str = "cursor";
/// Query parameter: how many customers at most, from 1 to [`MAX_PAGE_SIZE`].
pub const LIMIT_PARAMETER: &str = "limit";
/// Most customers on one page.
pub const MAX_PAGE_SIZE: u16 = 5_000;
/// [`ErpProblem::code`] of a cursor that was good once.
pub const CURSOR_EXPIRED: &str = "cursor_expired";

/// Some customers of a segment, in an order that does not change while paging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerPage {
    /// The customers; at most as many as were asked for. Fewer, or none, does not mean the end.
    pub customers: Vec<Customer>,
    /// Where the next page starts; opaque. None after the last page.
    #[serde(default)]
    pub next_cursor: Option<String>,
    /// About how many customers the whole segment has, if the ERP can tell cheaply.
    #[serde(default)]
    pub total_estimate: Option<u64>,
}

/// What is read of an error answer: problem details (RFC 9457) with a `code` for programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ErpProblem {
    /// What was wrong this time, and what would be right.
    pub detail: String,
    /// The kind of error for programs, such as [`CURSOR_EXPIRED`].
    pub code: Option<String>,
}
