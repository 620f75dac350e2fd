//! `/{version}/{account_id}/message_templates`.

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use campaign_runtime::{Bytes, Problem};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::paging::{self, PageQuery, Paging};
use super::{Answer, Api, Node, Parameters, Success, fields, list_url};
use crate::answer::Refusal;
use crate::templates::{Category, MAX_TEMPLATES, NewTemplate, Registry, Template, TemplateStatus};
use crate::webhooks::Notice;

/// Fields of one who asks for none.
const DEFAULT_FIELDS: &[&str] = &[
    "name",
    "parameter_format",
    "components",
    "language",
    "status",
    "category",
    "id",
];
/// All fields of a template; those that are not kept here never have a value.
const FIELDS: &[&str] = &[
    "category",
    "components",
    "correct_category",
    "cta_url_link_tracking_opted_out",
    "degrees_of_freedom_spec",
    "id",
    "language",
    "library_template_name",
    "message_send_ttl_seconds",
    "name",
    "parameter_format",
    "previous_category",
    "quality_score",
    "rejected_reason",
    "status",
    "sub_category",
];

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create, delete))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListTemplates {
    /// Names with a comma between them.
    fields: Option<String>,
    /// The name, or a part of it.
    name: Option<String>,
    /// Statuses with a comma between them.
    status: Option<String>,
    /// Languages with a comma between them.
    language: Option<String>,
    /// Categories with a comma between them.
    category: Option<String>,
    /// A part of the text.
    content: Option<String>,
    /// A part of the name or of the text.
    name_or_content: Option<String>,
    /// If it is there, the answer has a summary.
    summary: Option<String>,
}

/// A page of templates.
#[derive(Serialize, ToSchema)]
struct TemplateList {
    #[schema(value_type = Vec<Object>)]
    data: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paging: Option<Paging>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<TemplateCounts>,
}

/// How many there are.
#[derive(Serialize, ToSchema)]
struct TemplateCounts {
    total_count: usize,
    message_template_count: usize,
    message_template_limit: usize,
    are_translations_complete: bool,
}

/// Lists templates by name and language.
#[utoipa::path(get, path = "/{version}/{account_id}/message_templates", tag = "templates",
    params(("version" = String, Path), ("account_id" = String, Path), ListTemplates, PageQuery),
    responses((status = 200, body = TemplateList)))]
async fn list(
    State(api): State<Api>,
    node: Node,
    Parameters(query): Parameters<ListTemplates>,
    Parameters(page): Parameters<PageQuery>,
    uri: Uri,
    headers: HeaderMap,
) -> Answer<TemplateList> {
    let account_id = node.account(&api.mock)?;
    let ledger = api.mock.ledger();
    let all = ledger.accounts.registry(&account_id).map(Registry::all);
    let total = ledger
        .accounts
        .registry(&account_id)
        .map_or(0, |registry| registry.all().count());
    let wanted: Vec<&Template> = all
        .into_iter()
        .flatten()
        .filter(|template| query.wants(template))
        .collect();
    let ids: Vec<&str> = wanted.iter().map(|template| template.id.as_str()).collect();
    let (range, paging) = paging::page(&ids, &page, &list_url(&uri, &headers))?;
    let data = wanted[range]
        .iter()
        .map(|template| node_of(template, query.fields.as_deref()))
        .collect::<Result<_, _>>()?;
    Ok(axum::Json(TemplateList {
        data,
        paging,
        summary: query.summary.is_some().then_some(TemplateCounts {
            total_count: wanted.len(),
            message_template_count: total,
            message_template_limit: MAX_TEMPLATES,
            are_translations_complete: false,
        }),
    }))
}

impl ListTemplates {
    fn wants(&self, template: &Template) -> bool {
        let one_of = |asked: &Option<String>, value: &str| {
            asked
                .as_deref()
                .is_none_or(|asked| asked.split(',').any(|asked| asked.trim() == value))
        };
        let part_of =
            |asked: &Option<String>, text: &str| asked.as_deref().is_none_or(|asked| text.contains(asked));
        let content = || template.text();
        one_of(&self.status, &name_of(&template.status))
            && one_of(&self.language, &template.language)
            && one_of(&self.category, &name_of(&template.category))
            && part_of(&self.name, &template.name)
            && (self.content.is_none() || part_of(&self.content, &content()))
            && (self.name_or_content.is_none()
                || part_of(&self.name_or_content, &template.name)
                || part_of(&self.name_or_content, &content()))
    }
}

/// As Meta writes it, in capitals.
fn name_of(value: &impl Serialize) -> String {
    match serde_json::json!(value) {
        Value::String(name) => name,
        other => other.to_string(),
    }
}

/// A template with the fields that are asked for.
pub(super) fn node_of(template: &Template, asked: Option<&str>) -> Result<Value, Refusal> {
    fields::select(
        serde_json::json!(template),
        asked,
        DEFAULT_FIELDS,
        FIELDS,
        "MessageTemplate",
    )
}

/// A template that was registered.
#[derive(Serialize, ToSchema)]
struct Created {
    id: String,
    status: TemplateStatus,
    category: Category,
}

/// Registers a template.
#[utoipa::path(post, path = "/{version}/{account_id}/message_templates", tag = "templates",
    params(("version" = String, Path), ("account_id" = String, Path)), request_body = NewTemplate,
    responses((status = 200, body = Created)))]
async fn create(State(api): State<Api>, node: Node, body: Result<Bytes, Problem>) -> Answer<Created> {
    let account_id = node.account(&api.mock)?;
    let Bytes(body) = body.map_err(|problem| Refusal::parameter(problem.to_string()))?;
    let new: NewTemplate =
        serde_json::from_slice(&body).map_err(|problem| Refusal::parameter(problem.to_string()))?;
    let mut ledger = api.mock.ledger();
    let template = ledger.accounts.register(&account_id, new)?;
    let created = Created {
        id: template.id.clone(),
        status: template.status,
        category: template.category,
    };
    let is_approved = template.status == TemplateStatus::Approved;
    let notice = is_approved.then(|| Notice::of_template(&account_id, template, "APPROVED", None));
    drop(ledger);
    if let Some(notice) = notice {
        api.mock.tell(notice);
    }
    Ok(axum::Json(created))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeleteTemplate {
    /// The name; all of its languages go.
    name: Option<String>,
    /// The id of one language; then only it goes.
    hsm_id: Option<String>,
}

/// Deletes a template.
#[utoipa::path(delete, path = "/{version}/{account_id}/message_templates", tag = "templates",
    params(("version" = String, Path), ("account_id" = String, Path), DeleteTemplate),
    responses((status = 200, body = Success)))]
async fn delete(
    State(api): State<Api>,
    node: Node,
    Parameters(query): Parameters<DeleteTemplate>,
) -> Answer<Success> {
    let account_id = node.account(&api.mock)?;
    let name = query
        .name
        .ok_or_else(|| Refusal::parameter("The parameter name is required."))?;
    let deleted = api
        .mock
        .ledger()
        .accounts
        .delete(&account_id, &name, query.hsm_id.as_deref());
    if deleted.is_empty() {
        return Err(Refusal::of_template(
            Some(2_593_002),
            "Message Template Not Found",
            format!("There is no message template {name} in this account."),
        ));
    }
    for template in &deleted {
        api.mock
            .tell(Notice::of_template(&account_id, template, "DELETED", None));
    }
    Ok(axum::Json(Success::YES))
}
