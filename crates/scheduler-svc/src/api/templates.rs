//! `/v1/templates`: message templates and their versions.

use crate::api::Api;
use crate::api::auth::{Admin, Viewer};
use crate::api::change::{Change, ok};
use crate::api::paging::{self, Page};
use crate::api::problems::{Answer, Faults, Stop};
use crate::templates::news;
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::ids::{AccountId, TemplateId};
use campaign_core::template::{Component, Placeholder, Template, TemplateStatus};
use campaign_runtime::{Json, Path, Query};
use campaign_store::templates::{self, StoredTemplate, TemplateFilter};
use campaign_store::{StoreError, accounts};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// Most components of a template: header, body, footer and buttons, and room to say that one comes twice.
const COMPONENTS_MAX: usize = 8;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get))
        .routes(routes!(set_status))
}

/// One version of a template.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateView {
    id: Uuid,
    account_id: Uuid,
    name: String,
    /// Meta's code, as in `pt_BR`.
    language: String,
    version: i32,
    /// `MARKETING`, `UTILITY` or `AUTHENTICATION`.
    category: String,
    /// `POSITIONAL` or `NAMED`.
    parameter_format: String,
    /// Meta's components.
    #[schema(value_type = Vec<Object>)]
    components: Vec<Component>,
    /// Where it stands with Meta, as in `APPROVED`.
    status: String,
    /// Why, in Meta's words.
    status_reason: Option<String>,
    /// Meta's id of it; null if it was never seen there.
    meta_id: Option<String>,
    /// What a campaign's mapping has to fill, in order.
    variables: Vec<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<StoredTemplate> for TemplateView {
    fn from(stored: StoredTemplate) -> Self {
        let StoredTemplate { template, .. } = stored;
        let compiled = template.compile_for_sending();
        Self {
            id: stored.id.0,
            account_id: stored.account_id.0,
            version: stored.version,
            variables: compiled.map_or_else(
                |_| Vec::new(),
                |compiled| compiled.placeholders().iter().map(Placeholder::key).collect(),
            ),
            name: template.name,
            language: template.language,
            category: template.category.to_string(),
            parameter_format: template.parameter_format.to_string(),
            components: template.components,
            status: template.status.to_string(),
            status_reason: stored.status_reason,
            meta_id: stored.meta_id,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
        }
    }
}

/// A new template, or a new version of one that has this name and language.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTemplate {
    account_id: Uuid,
    /// Lower-case letters, digits and `_`.
    name: String,
    /// Meta's code, as in `pt_BR`.
    language: String,
    /// `MARKETING`, `UTILITY` or `AUTHENTICATION`.
    category: String,
    /// `POSITIONAL` (the default) or `NAMED`.
    #[serde(default)]
    parameter_format: Option<String>,
    /// In Meta's shape.
    #[schema(value_type = Vec<Object>)]
    components: Vec<Component>,
    /// Where it stands with Meta; `PENDING` if not given.
    #[serde(default)]
    status: Option<String>,
}

/// Where a template stands with Meta.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTemplateStatus {
    /// As in `APPROVED`.
    status: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListTemplates {
    account_id: Option<Uuid>,
    name: Option<String>,
    /// As in `APPROVED`.
    status: Option<String>,
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Lists versions of templates, newest first.
#[utoipa::path(get, path = "/v1/templates", tag = "templates", params(ListTemplates),
    responses((status = 200, body = Page<TemplateView>)))]
async fn list(_: Viewer, State(api): State<Api>, Query(query): Query<ListTemplates>) -> Answer {
    let limit = paging::limit(query.limit)?;
    let mut faults = Faults::default();
    let status = query
        .status
        .as_deref()
        .and_then(|status| faults.name("status", status));
    faults.finish()?;
    let filter = TemplateFilter {
        account_id: query.account_id.map(AccountId),
        name: query.name,
        status,
        before: paging::position(query.cursor.as_deref())?,
    };
    let mut connection = api.store.connection().await?;
    let rows = templates::list(&mut connection, &filter, paging::one_more(limit)).await?;
    ok(&paging::page(rows, limit, |row| row.id, TemplateView::from))
}

/// Shows one version of a template.
#[utoipa::path(get, path = "/v1/templates/{id}", tag = "templates", params(("id" = Uuid, Path)),
    responses((status = 200, body = TemplateView)))]
async fn get(_: Viewer, State(api): State<Api>, Path(id): Path<TemplateId>) -> Answer {
    let mut connection = api.store.connection().await?;
    ok(&TemplateView::from(templates::get(&mut connection, id).await?))
}

/// Writes a template, or the next version of one.
#[utoipa::path(post, path = "/v1/templates", tag = "templates", request_body = NewTemplate,
    responses((status = 201, body = TemplateView)))]
async fn create(Admin(caller): Admin, State(api): State<Api>, Json(new): Json<NewTemplate>) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let account_id = AccountId(new.account_id);
    let known = match accounts::get(change.connection(), account_id).await {
        Ok(_) => true,
        Err(StoreError::NotFound { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    let template = check(new, known)?;
    let id = TemplateId(Uuid::now_v7());
    let version = templates::create(change.connection(), id, account_id, &template).await?;
    let details = json!({ "name": template.name, "language": template.language, "version": version });
    change.record("template.create", &subject(id), details).await?;
    let view = TemplateView::from(templates::get(change.connection(), id).await?);
    change.commit(StatusCode::CREATED, &view).await
}

/// Records where a version stands with Meta: what sends it is held, or goes on.
#[utoipa::path(put, path = "/v1/templates/{id}/status", tag = "templates", params(("id" = Uuid, Path)),
    request_body = NewTemplateStatus, responses((status = 200, body = TemplateView)))]
async fn set_status(
    Admin(caller): Admin,
    State(api): State<Api>,
    Path(id): Path<TemplateId>,
    Json(new): Json<NewTemplateStatus>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let mut faults = Faults::default();
    let status: Option<TemplateStatus> = faults.name("/status", &new.status);
    faults.finish()?;
    let mut lanes = BTreeSet::new();
    if let Some(status) = status {
        let before = templates::set_status(change.connection(), id, status).await?;
        let details = json!({ "before": before.as_str(), "after": status.as_str() });
        change
            .record("template.set_status", &subject(id), details)
            .await?;
        lanes = news::settle(change.connection(), &[id], status, None).await?;
    }
    let view = TemplateView::from(templates::get(change.connection(), id).await?);
    let answer = change.commit(StatusCode::OK, &view).await?;
    for lane in &lanes {
        api.queues.wake_lane(lane).await;
    }
    Ok(answer)
}

fn check(new: NewTemplate, account_known: bool) -> Result<Template, Stop> {
    let mut faults = Faults::default();
    if !account_known {
        faults.add("/account_id", "unknown", "the id of one of /v1/accounts");
    }
    if new.components.len() > COMPONENTS_MAX {
        let expected = "one BODY, and at most one each of HEADER, FOOTER and BUTTONS";
        faults.add(
            "/components",
            format!("{} components", new.components.len()),
            expected,
        );
    }
    let category = faults.name("/category", &new.category);
    let parameter_format = faults.name(
        "/parameter_format",
        new.parameter_format.as_deref().unwrap_or("POSITIONAL"),
    );
    let status = faults.name("/status", new.status.as_deref().unwrap_or("PENDING"));
    let (Some(category), Some(parameter_format), Some(status)) = (category, parameter_format, status) else {
        return faults
            .finish()
            .map(|()| unreachable!("a name that is not known is a fault"));
    };
    let components = new.components;
    let template = Template {
        name: new.name,
        language: new.language,
        category,
        parameter_format,
        components,
        status,
    };
    if let Err(problems) = template.compile() {
        for problem in problems {
            let message = problem.to_string();
            let field = match &problem {
                campaign_core::template::TemplateError::Name => "/name",
                campaign_core::template::TemplateError::Language => "/language",
                _ => "/components",
            };
            faults.add(field, message, "a template that WhatsApp accepts");
        }
    }
    faults.finish()?;
    Ok(template)
}

fn subject(id: TemplateId) -> String {
    format!("template:{id}")
}
