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
use campaign_store::accounts::{self, Account};
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
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            id: account.id.0,
            waba_id: account.waba_id,
            portfolio_id: account.portfolio_id,
            name: account.name,
            access_token_secret: account.access_token_secret,
            app_secret_secret: account.app_secret_secret,
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
    ok(&paging::page(rows, limit, |row| row.id, AccountView::from))
}

/// Shows an account.
#[utoipa::path(get, path = "/v1/accounts/{id}", tag = "accounts", params(("id" = Uuid, Path)),
    responses((status = 200, body = AccountView)))]
async fn get(_: Viewer, State(api): State<Api>, Path(id): Path<AccountId>) -> Answer {
    let mut connection = api.store.connection().await?;
    ok(&AccountView::from(accounts::get(&mut connection, id).await?))
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
    check(&account)?;
    accounts::create(change.connection(), &account).await?;
    let view = AccountView::from(accounts::get(change.connection(), account.id).await?);
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
    account.name = patch.name.unwrap_or(account.name);
    account.portfolio_id = patch.portfolio_id.apply_to(account.portfolio_id);
    account.access_token_secret = patch.access_token_secret.apply_to(account.access_token_secret);
    account.app_secret_secret = patch.app_secret_secret.apply_to(account.app_secret_secret);
    check(&account)?;
    accounts::update(change.connection(), &account).await?;
    let view = AccountView::from(accounts::get(change.connection(), id).await?);
    change
        .record("account.update", &subject(id), to_value(&view))
        .await?;
    change.commit(StatusCode::OK, &view).await
}

fn check(account: &Account) -> Result<(), Stop> {
    let mut faults = Faults::default();
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
