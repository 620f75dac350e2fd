//! The recipients of a campaign: in pages, or all of them as CSV.
//!
//! The ledger has no index by state (updates stay cheap that way), so looking for a state walks the rows in
//! order, a bounded stretch at a time. A page may therefore hold fewer rows than asked for and still have a
//! `next_cursor`.

use super::advice;
use super::view::mask;
use crate::api::Api;
use crate::api::auth::Viewer;
use crate::api::change::ok;
use crate::api::paging::{self, Page};
use crate::api::problems::{Answer, Faults, Stop};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::MessageState;
use campaign_runtime::{Path, Problem, Query};
use campaign_store::reports::{self, RECIPIENTS_SCANNED_MAX, Recipient};
use campaign_store::{Connection, Store, StoreError, campaigns};
use chrono::{DateTime, Utc};
use futures::stream;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Stretches of [`RECIPIENTS_SCANNED_MAX`] rows that are walked for one page.
const STRETCHES_MAX: usize = 20;
/// Rows of a CSV that are in memory at once.
const CSV_BATCH: i64 = 2_000;
/// The media type of the export.
const CSV: &str = "text/csv; charset=utf-8";
/// The columns of the export.
const CSV_HEADER: &str = "seq,customer_id,phone,phone_as_given,state,attempts,error_code,error_text,wamid,accepted_at,\
     sent_at,delivered_at,read_at,settled_at,duplicate_of,advice\r\n";

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(messages))
        .routes(routes!(uncertain))
}

/// A recipient, and what became of the message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecipientView {
    /// Position in the audience, from 1.
    seq: i64,
    /// The ERP's id of the customer.
    customer_id: String,
    /// As it is sent to; masked for viewers.
    phone: Option<String>,
    /// As the ERP has it; masked for viewers.
    phone_as_given: Option<String>,
    /// The row that has the phone, for a duplicate.
    duplicate_of: Option<i64>,
    /// `pending`, `deferred`, `uncertain`, `failed`, `skipped`, `cancelled`, `accepted`, `sent`, `undelivered`,
    /// `delivered` or `read`.
    state: &'static str,
    /// How often it was offered to WhatsApp.
    attempts: i32,
    /// Cloud API error code, or why it was skipped.
    error_code: Option<String>,
    error_text: Option<String>,
    /// What a person can do about it.
    advice: Option<&'static str>,
    wamid: Option<String>,
    settled_at: Option<DateTime<Utc>>,
    accepted_at: Option<DateTime<Utc>>,
    sent_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    read_at: Option<DateTime<Utc>>,
}

impl RecipientView {
    fn new(row: Recipient, sees_phones: bool) -> Self {
        let shown = |phone: Option<String>| {
            if sees_phones {
                phone
            } else {
                phone.map(|phone| mask(&phone))
            }
        };
        Self {
            seq: row.seq.0,
            customer_id: row.customer_id,
            phone: shown(row.phone),
            phone_as_given: shown(row.phone_as_given),
            duplicate_of: row.duplicate_of.map(|seq| seq.0),
            state: row.state.as_str(),
            attempts: row.attempts,
            advice: row.error_code.as_deref().and_then(advice::for_recipient),
            error_code: row.error_code,
            error_text: row.error_text,
            wamid: row.wamid,
            settled_at: row.settled_at,
            accepted_at: row.accepted_at,
            sent_at: row.sent_at,
            delivered_at: row.delivered_at,
            read_at: row.read_at,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListMessages {
    /// Only recipients in this state.
    state: Option<String>,
    /// `json` (the default) or `csv`: then all recipients, without pages. `Accept: text/csv` asks for the same.
    format: Option<String>,
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListUncertain {
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Lists the recipients of a campaign, or exports them all as CSV.
#[utoipa::path(get, path = "/v1/campaigns/{id}/messages", tag = "campaigns",
    params(("id" = Uuid, Path), ListMessages),
    responses((status = 200, content((Page<RecipientView> = "application/json"), (String = "text/csv")))))]
async fn messages(
    Viewer(caller): Viewer,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    Query(query): Query<ListMessages>,
    headers: HeaderMap,
) -> Answer {
    let mut faults = Faults::default();
    let state = query
        .state
        .as_deref()
        .and_then(|state| faults.name("state", state));
    let csv = match query.format.as_deref() {
        None => accepts_csv(&headers),
        Some("json") => false,
        Some("csv") => true,
        Some(other) => {
            let short: String = other.chars().take(64).collect();
            faults.add("format", short, "json or csv");
            false
        }
    };
    faults.finish()?;
    if csv {
        return export(&api, id, state, caller.sees_phones()).await;
    }
    ok(&list(
        &api,
        id,
        state,
        query.limit,
        query.cursor.as_deref(),
        caller.sees_phones(),
    )
    .await?)
}

/// Lists the recipients of whom nobody knows whether the message was accepted.
#[utoipa::path(get, path = "/v1/campaigns/{id}/uncertain", tag = "campaigns",
    params(("id" = Uuid, Path), ListUncertain), responses((status = 200, body = Page<RecipientView>)))]
async fn uncertain(
    Viewer(caller): Viewer,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    Query(query): Query<ListUncertain>,
) -> Answer {
    let state = Some(MessageState::Uncertain);
    ok(&list(
        &api,
        id,
        state,
        query.limit,
        query.cursor.as_deref(),
        caller.sees_phones(),
    )
    .await?)
}

fn accepts_csv(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/csv"))
}

async fn list(
    api: &Api,
    id: CampaignId,
    state: Option<MessageState>,
    limit: Option<u32>,
    cursor: Option<&str>,
    sees_phones: bool,
) -> Result<Page<RecipientView>, Stop> {
    let limit = paging::limit(limit)?;
    let mut after = Seq(paging::position(cursor)?.unwrap_or(0));
    let mut connection = api.store.connection().await?;
    let total = reports::progress(&mut connection, id).await?;
    if state.is_some_and(|state| total.count(state) == 0) {
        return Ok(Page {
            items: Vec::new(),
            next_cursor: None,
        });
    }
    let mut items = Vec::with_capacity(limit);
    for _ in 0..STRETCHES_MAX {
        let missing = limit - items.len();
        let stretch = stretch(&mut connection, id, state, after, missing as i64).await?;
        items.extend(
            stretch
                .rows
                .into_iter()
                .map(|row| RecipientView::new(row, sees_phones)),
        );
        after = stretch.end;
        if items.len() == limit || after.0 >= total.total {
            break;
        }
    }
    let next_cursor = (after.0 < total.total).then(|| paging::cursor(after));
    Ok(Page { items, next_cursor })
}

/// Some rows, and how far they were looked for.
struct Stretch {
    rows: Vec<Recipient>,
    end: Seq,
}

async fn stretch(
    connection: &mut Connection,
    id: CampaignId,
    state: Option<MessageState>,
    after: Seq,
    limit: i64,
) -> Result<Stretch, StoreError> {
    let rows = reports::recipients(connection, id, state, after, limit).await?;
    let full = rows.len() as i64 == limit;
    let end = match rows.last() {
        Some(last) if full => last.seq,
        _ => Seq(after.0 + RECIPIENTS_SCANNED_MAX),
    };
    Ok(Stretch { rows, end })
}

/// Every recipient as CSV, read as fast as the caller takes it.
async fn export(api: &Api, id: CampaignId, state: Option<MessageState>, sees_phones: bool) -> Answer {
    let total = {
        let mut connection = api.store.connection().await?;
        campaigns::get(&mut connection, id).await?;
        reports::progress(&mut connection, id).await?.total
    };
    let export = Export {
        store: api.store.clone(),
        id,
        state,
        sees_phones,
        total,
        after: Seq(0),
        begun: false,
    };
    let body = Body::from_stream(stream::try_unfold(export, Export::next));
    let name = format!("attachment; filename=\"campaign-{id}.csv\"");
    let headers = [
        (header::CONTENT_TYPE, CSV.to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}

struct Export {
    store: Store,
    id: CampaignId,
    state: Option<MessageState>,
    sees_phones: bool,
    total: i64,
    after: Seq,
    begun: bool,
}

impl Export {
    /// The next piece of text. An error in the middle breaks the transfer, so that half an export is not
    /// taken for a whole one.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let mut text = String::new();
        if !self.begun {
            self.begun = true;
            text.push_str(CSV_HEADER);
        } else if self.after.0 >= self.total {
            return Ok(None);
        }
        let stretch = async {
            let mut connection = self.store.connection().await?;
            stretch(&mut connection, self.id, self.state, self.after, CSV_BATCH).await
        };
        let stretch = stretch.await.map_err(Problem::internal)?;
        for row in stretch.rows {
            write_row(&mut text, &RecipientView::new(row, self.sees_phones));
        }
        self.after = stretch.end;
        Ok(Some((Bytes::from(text), self)))
    }
}

/// RFC 4180: fields with a comma, a quote or a line break are quoted.
fn write_row(text: &mut String, row: &RecipientView) {
    let time = |at: Option<DateTime<Utc>>| at.map(|at| at.to_rfc3339()).unwrap_or_default();
    let word = |value: &Option<String>| value.as_deref().map(quoted).unwrap_or_default();
    let done = write!(
        text,
        "{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\r\n",
        row.seq,
        quoted(&row.customer_id),
        word(&row.phone),
        word(&row.phone_as_given),
        row.state,
        row.attempts,
        word(&row.error_code),
        word(&row.error_text),
        word(&row.wamid),
        time(row.accepted_at),
        time(row.sent_at),
        time(row.delivered_at),
        time(row.read_at),
        time(row.settled_at),
        row.duplicate_of.map(|seq| seq.to_string()).unwrap_or_default(),
        row.advice.map(quoted).unwrap_or_default(),
    );
    done.expect("a string takes all text");
}

/// A text that comes from outside. What spreadsheets would take for a formula starts with an apostrophe, except
/// phone numbers, whose `+` they leave alone.
fn quoted(value: &str) -> String {
    let is_formula = value.starts_with(['=', '-', '@', '\t', '\r'])
        || (value.starts_with('+') && !value[1..].bytes().all(|byte| byte.is_ascii_digit()));
    let guard = if is_formula { "'" } else { "" };
    if is_formula || value.contains([',', '"', '\r', '\n']) {
        format!("\"{guard}{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn fields_of_a_csv_cannot_break_out() {
        for (value, written) in [
            ("c-1", "c-1"),
            ("+5531987654321", "+5531987654321"),
            ("a,b", "\"a,b\""),
            ("say \"no\"", "\"say \"\"no\"\"\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("=1+1", "\"'=1+1\""),
            ("+55 31 98765-4321", "\"'+55 31 98765-4321\""),
        ] {
            assert_eq!(quoted(value), written);
        }
    }
}
