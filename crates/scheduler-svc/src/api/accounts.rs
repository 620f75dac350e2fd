//! `/v1/accounts`: WhatsApp Business Accounts.

use crate::api::Api;
use crate::api::auth::{Admin, Viewer};
use crate::api::body::Edit;
use crate::api::change::{Change, ok, to_value};
use crate::api::paging::{self, Page};
use crate::api::problems::{Answer, Faults, Stop};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::ids::AccountId;
use campaign_runtime::{Json, Path, Query};
use campaign_store::Connection;
use campaign_store::accounts::{self, Account};
use campaign_store::portfolios::{self, Portfolio};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// Longest name of an account, and of a secret.
const NAME_MAX_CHARS: usize = 200;
/// Longest id of Meta's that is taken.
const META_ID_MAX_DIGITS: usize = 32;
/// Highest messaging limit that is counted: Meta's is 100,000, and then there is none.
const MESSAGING_LIMIT_MAX: i64 = 1_000_000;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update))
}

/// A WhatsApp Business Account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountView {
    id: Uuid,
    /// Meta's WhatsApp Business Account id.
    waba_id: String,
    /// The portfolio whose limit of recipients within 24 hours it shares.
    portfolio_id: Option<String>,
    name: String,
    /// Name of the secret that holds the access token; never the token.
    access_token_secret: Option<String>,
    /// Name of the secret that holds the app secret.
    app_secret_secret: Option<String>,
    /// Unique people that the portfolio may message within 24 hours, over all its accounts, as people decided; null: no
    /// limit.
    messaging_limit: Option<i64>,
    /// The same, as WhatsApp reported it last; the lower one holds.
    reported_messaging_limit: Option<i64>,
    /// People who count towards the limit that holds, as of the last message that was let through; null: there is none.
    messaging_limit_used: Option<i64>,
    /// When the limit has room again, if it was reached.
    messaging_limit_room_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl AccountView {
    fn new(account: Account, portfolio: &Portfolio) -> Self {
        Self {
            id: account.id.0,
            waba_id: account.waba_id,
            portfolio_id: account.portfolio_id,
            name: account.name,
            access_token_secret: account.access_token_secret,
            app_secret_secret: account.app_secret_secret,
            messaging_limit: portfolio.messaging_limit,
            reported_messaging_limit: portfolio.reported_limit,
            messaging_limit_used: portfolio.limit().map(|_| portfolio.used),
            messaging_limit_room_at: portfolio.next_room_at,
            created_at: account.created_at,
            updated_at: account.updated_at,
        }
    }
}

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAccount {
    /// Meta's WhatsApp Business Account id: digits.
    waba_id: String,
    name: String,
    #[serde(default)]
    portfolio_id: Option<String>,
    #[serde(default)]
    access_token_secret: Option<String>,
    #[serde(default)]
    app_secret_secret: Option<String>,
    /// Unique people that the portfolio may message within 24 hours; none: no limit. Needs a portfolio.
    #[serde(default)]
    messaging_limit: Option<i64>,
}

/// What changes; what is not given stays, `null` removes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountPatch {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    portfolio_id: Edit<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    access_token_secret: Edit<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    app_secret_secret: Edit<String>,
    /// Unique people that the portfolio may message within 24 hours, over all its accounts; null: no limit.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    messaging_limit: Edit<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListAccounts {
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Lists accounts, newest first.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", params(ListAccounts),
    responses((status = 200, body = Page<AccountView>)))]
async fn list(_: Viewer, State(api): State<Api>, Query(query): Query<ListAccounts>) -> Answer {
    let limit = paging::limit(query.limit)?;
    let before = paging::position(query.cursor.as_deref())?;
    let mut connection = api.store.connection().await?;
    let rows = accounts::list(&mut connection, before, paging::one_more(limit)).await?;
    let mut views = Vec::with_capacity(rows.len());
    for row in rows {
        views.push(view(&mut connection, row).await?);
    }
    ok(&paging::page(views, limit, |view| view.id, |view| view))
}

/// Shows an account.
#[utoipa::path(get, path = "/v1/accounts/{id}", tag = "accounts", params(("id" = Uuid, Path)),
    responses((status = 200, body = AccountView)))]
async fn get(_: Viewer, State(api): State<Api>, Path(id): Path<AccountId>) -> Answer {
    let mut connection = api.store.connection().await?;
    let account = accounts::get(&mut connection, id).await?;
    ok(&view(&mut connection, account).await?)
}

/// Makes an account known.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = NewAccount,
    responses((status = 201, body = AccountView)))]
async fn create(Admin(caller): Admin, State(api): State<Api>, Json(new): Json<NewAccount>) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let account = Account {
        id: AccountId(Uuid::now_v7()),
        waba_id: new.waba_id,
        portfolio_id: new.portfolio_id,
        name: new.name,
        access_token_secret: new.access_token_secret,
        app_secret_secret: new.app_secret_secret,
        created_at: Utc::now(),
        updated_at: Utc::now(),
    };
    let limit = new.messaging_limit.map_or(Edit::Keep, Edit::Set);
    check(&account, &limit)?;
    accounts::create(change.connection(), &account).await?;
    decide_limit(change.connection(), &account, limit).await?;
    let view = shown(&mut change, account.id).await?;
    change
        .record("account.create", &subject(account.id), to_value(&view))
        .await?;
    change.commit(StatusCode::CREATED, &view).await
}

/// Changes an account.
#[utoipa::path(patch, path = "/v1/accounts/{id}", tag = "accounts", params(("id" = Uuid, Path)),
    request_body = AccountPatch, responses((status = 200, body = AccountView)))]
async fn update(
    Admin(caller): Admin,
    State(api): State<Api>,
    Path(id): Path<AccountId>,
    Json(patch): Json<AccountPatch>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let mut account = accounts::get(change.connection(), id).await?;
    let portfolio_before = account.portfolio_id.clone();
    account.name = patch.name.unwrap_or(account.name);
    account.portfolio_id = patch.portfolio_id.apply_to(account.portfolio_id);
    account.access_token_secret = patch.access_token_secret.apply_to(account.access_token_secret);
    account.app_secret_secret = patch.app_secret_secret.apply_to(account.app_secret_secret);
    check(&account, &patch.messaging_limit)?;
    accounts::update(change.connection(), &account).await?;
    if let Some(portfolio) = account
        .portfolio_id
        .as_ref()
        .filter(|id| Some(*id) != portfolio_before.as_ref())
    {
        portfolios::recount(change.connection(), portfolio).await?;
    }
    decide_limit(change.connection(), &account, patch.messaging_limit).await?;
    let view = shown(&mut change, id).await?;
    change
        .record("account.update", &subject(id), to_value(&view))
        .await?;
    change.commit(StatusCode::OK, &view).await
}

async fn shown(change: &mut Change<'_>, id: AccountId) -> Result<AccountView, Stop> {
    let account = accounts::get(change.connection(), id).await?;
    view(change.connection(), account).await
}

async fn view(connection: &mut Connection, account: Account) -> Result<AccountView, Stop> {
    let portfolio = match &account.portfolio_id {
        Some(portfolio) => portfolios::get(connection, portfolio).await?,
        None => Portfolio::default(),
    };
    Ok(AccountView::new(account, &portfolio))
}

/// The limit is the portfolio's: all its accounts show the same.
async fn decide_limit(connection: &mut Connection, account: &Account, limit: Edit<i64>) -> Result<(), Stop> {
    let Some(portfolio) = &account.portfolio_id else {
        return Ok(());
    };
    let limit = match limit {
        Edit::Keep => return Ok(()),
        Edit::Remove => None,
        Edit::Set(limit) => Some(limit),
    };
    Ok(portfolios::set_limit(connection, portfolio, limit).await?)
}

fn check(account: &Account, limit: &Edit<i64>) -> Result<(), Stop> {
    let mut faults = Faults::default();
    if let Edit::Set(limit) = limit {
        if !(1..=MESSAGING_LIMIT_MAX).contains(limit) {
            let expected = format!("1 to {MESSAGING_LIMIT_MAX} people within 24 hours, or null for no limit");
            faults.add("/messaging_limit", limit.to_string(), expected);
        }
        if account.portfolio_id.is_none() {
            let expected = "a portfolio_id too: the limit belongs to the portfolio";
            faults.add("/messaging_limit", "an account without a portfolio", expected);
        }
    }
    meta_id(&mut faults, "/waba_id", &account.waba_id);
    if let Some(portfolio) = &account.portfolio_id {
        meta_id(&mut faults, "/portfolio_id", portfolio);
    }
    faults.text("/name", &account.name, NAME_MAX_CHARS);
    for (field, name) in [
        ("/access_token_secret", &account.access_token_secret),
        ("/app_secret_secret", &account.app_secret_secret),
    ] {
        if let Some(name) = name {
            faults.text(field, name, NAME_MAX_CHARS);
        }
    }
    faults.finish()
}

fn meta_id(faults: &mut Faults, field: &str, id: &str) {
    if !(1..=META_ID_MAX_DIGITS).contains(&id.len()) || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        faults.add(
            field,
            "not one of Meta's ids",
            format!("1 to {META_ID_MAX_DIGITS} digits"),
        );
    }
}

fn subject(id: AccountId) -> String {
    format!("account:{id}")
}
