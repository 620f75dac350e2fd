//! Lists come in pages.

use crate::api::{Answer, Query};
use crate::failure::Failure;
use crate::output::Output;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Which part of a list is shown.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PageArgs {
    /// How many to show at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200), value_name = "COUNT")]
    limit: u32,

    /// Where to go on, as the page before said
    #[arg(long)]
    cursor: Option<String>,
}

impl PageArgs {
    /// As parameters of the query.
    pub(crate) fn query(&self) -> Query {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.cursor.clone().map(|cursor| ("cursor", cursor)));
        query
    }
}

/// Some items of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// Shows a page, and how to get the next.
pub(crate) fn show<T: DeserializeOwned>(
    output: &Output,
    answer: &Answer,
    table: impl FnOnce(&Output, Vec<T>) -> String,
) -> Result<(), Failure> {
    output.answer(answer, |output, page: Page<T>| {
        let table = table(output, page.items);
        match page.next_cursor {
            Some(cursor) => format!("{table}\nmore: --cursor {cursor}"),
            None => table,
        }
    })
}
