//! Phone numbers, accounts and statuses of templates; and what Meta reports about them.

use std::sync::Arc;

use axum::extract::State;
use campaign_runtime::{Json, Path, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::refuse;
use crate::accounts::{AccountReport, AccountSettings, MAX_ACCOUNTS};
use crate::limits::{MAX_PAIR_BURST, MAX_PAIR_INTERVAL_MS};
use crate::mock::Mock;
use crate::numbers::{MAX_NUMBERS, MAX_THROUGHPUT, NumberReport, NumberSettings, QualityRating};
use crate::templates::TemplateStatus;
use crate::webhooks::{AccountEvent, BanState, Notice, QualityEvent};

/// Longest name of a number.
const MAX_NAME_CHARS: usize = 256;

/// A field that is wrong: its name, what was wrong, what would be right.
type Problems = Vec<(String, String, &'static str)>;

pub(super) fn routes() -> OpenApiRouter<Arc<Mock>> {
    OpenApiRouter::new()
        .routes(routes!(set_number))
        .routes(routes!(set_account))
        .routes(routes!(set_template_status))
        .routes(routes!(report_quality))
        .routes(routes!(report_account))
}

/// Changes what is given about a phone number; one that is not known comes into being.
#[utoipa::path(put, path = "/mock/numbers/{phone_number_id}", tag = "control",
    params(("phone_number_id" = String, Path)), request_body = NumberSettings,
    responses((status = 200, body = NumberReport)))]
async fn set_number(
    State(mock): State<Arc<Mock>>,
    Path(phone_number_id): Path<String>,
    Json(settings): Json<NumberSettings>,
) -> Result<Json<NumberReport>, Problem> {
    let mut problems = number_problems(&settings);
    check_id("phone_number_id", Some(&phone_number_id), &mut problems);
    refuse(problems)?;
    let mut ledger = mock.ledger();
    if let Some(account_id) = &settings.account_id {
        let account = ledger.accounts.set(account_id, AccountSettings::default());
        account.ok_or_else(too_many_accounts)?;
    }
    let report = ledger.numbers.set(&phone_number_id, settings);
    report.map(Json).ok_or_else(|| {
        Problem::conflict(format!(
            "this mock knows no more than {MAX_NUMBERS} phone numbers"
        ))
    })
}

fn number_problems(settings: &NumberSettings) -> Problems {
    let mut problems = Problems::new();
    if let Some(throughput) = settings
        .throughput
        .filter(|rate| !(1..=MAX_THROUGHPUT).contains(rate))
    {
        problems.push((
            "/throughput".to_owned(),
            throughput.to_string(),
            "from 1 to 100000",
        ));
    }
    check_id("/account_id", settings.account_id.as_deref(), &mut problems);
    check_id(
        "/display_phone_number",
        settings.display_phone_number.as_deref(),
        &mut problems,
    );
    let name = settings.verified_name.as_deref().unwrap_or("-");
    if name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS {
        problems.push((
            "/verified_name".to_owned(),
            "something else".to_owned(),
            "1 to 256 characters",
        ));
    }
    if let Some(limit) = settings.pair_limit {
        if limit.interval_ms > MAX_PAIR_INTERVAL_MS {
            let found = limit.interval_ms.to_string();
            problems.push(("/pair_limit/interval_ms".to_owned(), found, "at most an hour"));
        }
        if !(1..=MAX_PAIR_BURST).contains(&limit.burst) {
            let found = limit.burst.to_string();
            problems.push(("/pair_limit/burst".to_owned(), found, "from 1 to 10000"));
        }
    }
    problems
}

/// Changes what is given about an account; one that is not known comes into being.
#[utoipa::path(put, path = "/mock/accounts/{account_id}", tag = "control",
    params(("account_id" = String, Path)), request_body = AccountSettings,
    responses((status = 200, body = AccountReport)))]
async fn set_account(
    State(mock): State<Arc<Mock>>,
    Path(account_id): Path<String>,
    Json(settings): Json<AccountSettings>,
) -> Result<Json<AccountReport>, Problem> {
    let mut problems = Problems::new();
    check_id("account_id", Some(&account_id), &mut problems);
    check_id("/portfolio_id", settings.portfolio_id.as_deref(), &mut problems);
    refuse(problems)?;
    let report = mock.ledger().accounts.set(&account_id, settings);
    report.map(Json).ok_or_else(too_many_accounts)
}

/// Where a template shall stand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewStatus {
    status: TemplateStatus,
    /// Why it is rejected, as in `INVALID_FORMAT`.
    reason: Option<String>,
}

/// Whether a webhook will tell of the change.
#[derive(Debug, Serialize, ToSchema)]
struct Told {
    told: bool,
}

/// Reviews a template, pauses it, disables it; and tells so with `message_template_status_update`.
#[utoipa::path(put, path = "/mock/accounts/{account_id}/templates/{name}/{language}", tag = "control",
    params(("account_id" = String, Path), ("name" = String, Path), ("language" = String, Path)),
    request_body = NewStatus, responses((status = 200, body = Told)))]
async fn set_template_status(
    State(mock): State<Arc<Mock>>,
    Path((account_id, name, language)): Path<(String, String, String)>,
    Json(new): Json<NewStatus>,
) -> Result<Json<Told>, Problem> {
    let notice = {
        let mut ledger = mock.ledger();
        let template = ledger
            .accounts
            .template_mut(&account_id, &name, &language)
            .ok_or_else(|| Problem::not_found("the account has no such template in this language"))?;
        template.status = new.status;
        let reason = new.reason.filter(|_| new.status == TemplateStatus::Rejected);
        template.rejected_reason = reason.clone().unwrap_or_else(|| "NONE".to_owned());
        let event = serde_json::json!(new.status);
        let event = event.as_str().unwrap_or_default();
        Notice::of_template(&account_id, template, event, reason.as_deref())
    };
    Ok(Json(Told {
        told: mock.tell(notice),
    }))
}

/// What happens to a number's quality or limit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct QualityChange {
    event: QualityEvent,
    /// The new rating, if it changes.
    quality_rating: Option<QualityRating>,
}

/// Reports a change with `phone_number_quality_update`. The limit in it is that of the number's portfolio.
#[utoipa::path(post, path = "/mock/numbers/{phone_number_id}/quality", tag = "control",
    params(("phone_number_id" = String, Path)), request_body = QualityChange,
    responses((status = 200, body = Told)))]
async fn report_quality(
    State(mock): State<Arc<Mock>>,
    Path(phone_number_id): Path<String>,
    Json(change): Json<QualityChange>,
) -> Result<Json<Told>, Problem> {
    let notice = {
        let mut ledger = mock.ledger();
        if !ledger.numbers.is_known(&phone_number_id) {
            return Err(Problem::not_found(
                "there is no such phone number: PUT /mock/numbers/{id} adds it",
            ));
        }
        let settings = NumberSettings {
            quality_rating: change.quality_rating,
            ..NumberSettings::default()
        };
        ledger.numbers.set(&phone_number_id, settings);
        let (account_id, display_phone_number) = ledger.numbers.identity(&phone_number_id);
        let limit = ledger.accounts.limit(&account_id);
        Notice::of_quality(&account_id, &display_phone_number, change.event, limit)
    };
    Ok(Json(Told {
        told: mock.tell(notice),
    }))
}

/// What happens to an account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AccountChange {
    event: AccountEvent,
    /// With `DISABLED_UPDATE` alone: whether it is disabled (so if not given), will be, or is no longer.
    ban_state: Option<BanState>,
}

/// Reports a change with `account_update`; the account goes on working, unless its numbers are set not to.
#[utoipa::path(post, path = "/mock/accounts/{account_id}/update", tag = "control",
    params(("account_id" = String, Path)), request_body = AccountChange,
    responses((status = 200, body = Told)))]
async fn report_account(
    State(mock): State<Arc<Mock>>,
    Path(account_id): Path<String>,
    Json(change): Json<AccountChange>,
) -> Result<Json<Told>, Problem> {
    if !mock.ledger().accounts.is_known(&account_id) {
        return Err(Problem::not_found(
            "there is no such account: PUT /mock/accounts/{id} adds it",
        ));
    }
    if change.ban_state.is_some() && change.event != AccountEvent::DisabledUpdate {
        let expected = "nothing, or DISABLED_UPDATE in /event";
        refuse(vec![(
            "/ban_state".to_owned(),
            "does not go with this event".to_owned(),
            expected,
        )])?;
    }
    let notice = Notice::of_account(&account_id, change.event, change.ban_state.unwrap_or_default());
    Ok(Json(Told {
        told: mock.tell(notice),
    }))
}

fn check_id(field: &str, id: Option<&str>, problems: &mut Problems) {
    let Some(id) = id else { return };
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    if !is_id || id.len() > whatsapp_api::client::MAX_PHONE_NUMBER_ID_DIGITS {
        problems.push((field.to_owned(), "something else".to_owned(), "digits"));
    }
}

fn too_many_accounts() -> Problem {
    Problem::conflict(format!("this mock knows no more than {MAX_ACCOUNTS} accounts"))
}
