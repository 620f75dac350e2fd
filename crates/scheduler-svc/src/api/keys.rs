//! `/v1/api-keys`: who may use this API.

use crate::api::Api;
use crate::api::auth::Admin;
use crate::api::change::{Change, ok, to_value};
use crate::api::paging::{self, Page};
use crate::api::problems::{Answer, Faults};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::ids::ApiKeyId;
use campaign_runtime::{Json, Path, Problem, Query};
use campaign_store::api_keys::{self, ApiKey, ApiRole};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// Longest name of a key.
const NAME_MAX_CHARS: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
}

/// A key, without the key itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyView {
    id: Uuid,
    /// What the audit log calls it.
    name: String,
    /// `viewer`, `supervisor` or `admin`.
    role: &'static str,
    created_at: DateTime<Utc>,
    created_by: String,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.0,
            name: key.name,
            role: key.role.as_str(),
            created_at: key.created_at,
            created_by: key.created_by,
            revoked_at: key.revoked_at,
        }
    }
}

/// A new key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApiKey {
    /// What the audit log calls it.
    name: String,
    /// `viewer`, `supervisor` or `admin`.
    role: String,
}

/// A key that was made just now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedApiKey {
    #[serde(flatten)]
    about: ApiKeyView,
    /// The key. It is shown this once: only its hash is kept, so a repeated answer has null here.
    key: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListApiKeys {
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Lists keys, newest first.
#[utoipa::path(get, path = "/v1/api-keys", tag = "API keys", params(ListApiKeys),
    responses((status = 200, body = Page<ApiKeyView>)))]
async fn list(_: Admin, State(api): State<Api>, Query(query): Query<ListApiKeys>) -> Answer {
    let limit = paging::limit(query.limit)?;
    let before = paging::position(query.cursor.as_deref())?;
    let mut connection = api.store.connection().await?;
    let rows = api_keys::list(&mut connection, before, paging::one_more(limit)).await?;
    ok(&paging::page(rows, limit, |row| row.id, ApiKeyView::from))
}

/// Makes a key and shows it, this once.
#[utoipa::path(post, path = "/v1/api-keys", tag = "API keys", request_body = NewApiKey,
    responses((status = 201, body = CreatedApiKey)))]
async fn create(Admin(caller): Admin, State(api): State<Api>, Json(new): Json<NewApiKey>) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let mut faults = Faults::default();
    let name = faults.text("/name", &new.name, NAME_MAX_CHARS);
    let role: Option<ApiRole> = faults.name("/role", &new.role);
    faults.finish()?;
    let (Some(name), Some(role)) = (name, role) else {
        return Err(Problem::internal("a missing name or role is a fault").into());
    };
    let id = ApiKeyId(Uuid::now_v7());
    let key = api_keys::make_key(rand::random());
    let hash = api_keys::hash_key(&key);
    api_keys::create(change.connection(), id, &name, role, &hash, &caller.name).await?;
    change
        .record(
            "api_key.create",
            &subject(id),
            json!({ "name": name, "role": role.as_str() }),
        )
        .await?;
    let about = ApiKeyView {
        id: id.0,
        name,
        role: role.as_str(),
        created_at: Utc::now(),
        created_by: caller.name.clone(),
        revoked_at: None,
    };
    let mut kept = CreatedApiKey { about, key: None };
    let without_key = to_value(&kept);
    kept.key = Some(key);
    change
        .commit_keeping(StatusCode::CREATED, &to_value(&kept), &without_key)
        .await
}

/// Makes a key void. The last admin key cannot be revoked.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "API keys", params(("id" = Uuid, Path)),
    responses((status = 204)))]
async fn revoke(Admin(caller): Admin, State(api): State<Api>, Path(id): Path<ApiKeyId>) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    if api_keys::revoke(change.connection(), id).await? {
        change.record("api_key.revoke", &subject(id), json!({})).await?;
    }
    change.commit(StatusCode::NO_CONTENT, &()).await
}

fn subject(id: ApiKeyId) -> String {
    format!("api_key:{id}")
}
