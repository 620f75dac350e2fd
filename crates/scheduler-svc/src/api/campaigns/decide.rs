//! From what a person sent to a campaign, or to everything that is wrong with it.

use super::times::{check_times, times};
use crate::api::body::Edit;
use crate::api::problems::{Faults, Stop};
use campaign_core::campaign::{Audience, Campaign, CampaignStatus, MisfirePolicy, OnUncertain, Priority};
use campaign_core::ids::{AccountId, CampaignId, LaneId, TemplateId};
use campaign_core::segment::Segment;
use campaign_core::variables::{VariableMapping, validate};
use campaign_runtime::Problem;
use campaign_store::phone_numbers::PhoneNumber;
use campaign_store::templates::StoredTemplate;
use campaign_store::{Connection, StoreError, phone_numbers, templates};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Longest name of a campaign.
pub(super) const NAME_MAX_CHARS: usize = 200;
/// Most variables that a mapping may name.
const MAPPING_MAX: usize = 100;

/// What a person decides. To create a campaign, `name`, `template`, `phone_number_id` and `segment` are
/// required; to edit one, what is not given stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CampaignInput {
    /// For people.
    name: Option<String>,
    template: Option<TemplateChoice>,
    /// Meta's id of the number to send from.
    phone_number_id: Option<String>,
    /// Criteria of the ERP's customers; `{}` means all of them.
    #[schema(value_type = Option<Object>)]
    segment: Option<Segment>,
    /// For each variable of the template: `{"source": "customer.name", "format": "first_name", "fallback": "…"}` or
    /// `{"constant": "…"}`.
    #[schema(value_type = Option<Object>)]
    mapping: Option<VariableMapping>,
    /// `low`, `normal` (the default) or `high`.
    priority: Option<String>,
    /// RFC 3339 with an offset, or a local time such as `2026-12-01T09:00` in `time_zone`. `null` removes it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    scheduled_at: Edit<String>,
    /// IANA name; `America/Sao_Paulo` if not given.
    time_zone: Option<String>,
    /// What was not sent by then is cancelled. As `scheduled_at`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    expires_at: Edit<String>,
    /// If its time passes while the engine is down: `start` (the default; if less than a day late), `skip` or
    /// `wait` for a person.
    misfire_policy: Option<String>,
    /// What happens to messages that may or may not have been accepted: `hold` (the default) for a person, or
    /// `resend`.
    on_uncertain: Option<String>,
}

/// The template by its id, or by name and language (then its newest version). The language can be left out where
/// the template exists in one only.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TemplateChoice {
    id: Option<Uuid>,
    name: Option<String>,
    language: Option<String>,
}

/// Makes a new campaign, or the edited form of `base`.
pub(super) async fn decide(
    connection: &mut Connection,
    base: Option<&Campaign>,
    input: CampaignInput,
    caller: &str,
    now: DateTime<Utc>,
) -> Result<Campaign, Stop> {
    let mut faults = Faults::default();
    let name = match &input.name {
        Some(name) => faults.text("/name", name, NAME_MAX_CHARS),
        None => kept(
            &mut faults,
            "/name",
            "a name for people",
            base.map(|base| base.name.clone()),
        ),
    };
    let number = number(connection, &mut faults, base, input.phone_number_id.as_deref()).await?;
    let account = number.as_ref().map(|number| number.account_id);
    let template = template(connection, &mut faults, base, account, input.template.as_ref()).await?;
    let audience = audience(&mut faults, base, input.segment);
    let mapping = input
        .mapping
        .or_else(|| base.map(|base| base.mapping.clone()))
        .unwrap_or_default();
    if let Some(template) = &template {
        check_mapping(&mut faults, template, &mapping);
    }
    let choices = choices(
        &mut faults,
        base,
        input.priority.as_deref(),
        input.misfire_policy.as_deref(),
        input.on_uncertain.as_deref(),
    );
    let times = times(
        &mut faults,
        base,
        &input.scheduled_at,
        input.time_zone.as_deref(),
        &input.expires_at,
    );
    if let Some(times) = &times {
        let policy = choices.map_or(MisfirePolicy::Start, |(_, policy, _)| policy);
        let scheduled_changed = input.scheduled_at != Edit::Keep;
        check_times(&mut faults, times, policy, scheduled_changed, now);
    }
    faults.finish()?;
    let decided = (name, number, template, audience, choices, times);
    let (Some(name), Some(number), Some(template), Some(audience), Some(choices), Some(times)) = decided
    else {
        return Err(Problem::internal("what is missing is a fault").into());
    };
    let (priority, misfire_policy, on_uncertain) = choices;
    Ok(Campaign {
        id: base.map_or_else(|| CampaignId(Uuid::now_v7()), |base| base.id),
        name,
        template_id: template.id,
        account_id: number.account_id,
        phone_number_id: number.phone_number_id,
        audience,
        mapping,
        priority,
        scheduled_at: times.scheduled_at,
        time_zone: times.zone.name().to_owned(),
        expires_at: times.expires_at,
        misfire_policy,
        on_uncertain,
        status: base.map_or(CampaignStatus::Draft, |base| base.status),
        status_reason: None,
        finished_at: None,
        created_at: base.map_or(now, |base| base.created_at),
        created_by: base.map_or_else(|| caller.to_owned(), |base| base.created_by.clone()),
        updated_at: now,
        started_at: None,
    })
}

fn kept<T>(faults: &mut Faults, field: &str, expected: &str, base: Option<T>) -> Option<T> {
    if base.is_none() {
        faults.missing(field, expected);
    }
    base
}

async fn number(
    connection: &mut Connection,
    faults: &mut Faults,
    base: Option<&Campaign>,
    given: Option<&str>,
) -> Result<Option<PhoneNumber>, Stop> {
    const FIELD: &str = "/phone_number_id";
    let expected = "the id of one of /v1/phone-numbers";
    let id: LaneId = match (given.map(str::parse), base) {
        (Some(Ok(id)), _) => id,
        (Some(Err(invalid)), _) => {
            faults.add(
                FIELD,
                "not an id",
                campaign_core::ids::InvalidLaneId::to_string(&invalid),
            );
            return Ok(None);
        }
        (None, Some(base)) => base.phone_number_id.clone(),
        (None, None) => {
            faults.missing(FIELD, expected);
            return Ok(None);
        }
    };
    match phone_numbers::get(connection, &id).await {
        Ok(number) => Ok(Some(number)),
        Err(StoreError::NotFound { .. }) => {
            faults.add(FIELD, format!("{id} is not known"), expected);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn template(
    connection: &mut Connection,
    faults: &mut Faults,
    base: Option<&Campaign>,
    account: Option<AccountId>,
    choice: Option<&TemplateChoice>,
) -> Result<Option<StoredTemplate>, Stop> {
    const FIELD: &str = "/template";
    let expected = "a template of the phone number's account: its id, or its name and language";
    let id = match (choice, base) {
        (None, Some(base)) => base.template_id,
        (
            Some(TemplateChoice {
                id: Some(id),
                name: None,
                language: None,
            }),
            _,
        ) => TemplateId(*id),
        (
            Some(TemplateChoice {
                id: None,
                name: Some(name),
                language,
            }),
            _,
        ) => {
            // Without a number there is no account to look in; that fault is noted already.
            let Some(account) = account else { return Ok(None) };
            let language = match language {
                Some(language) => language.clone(),
                None => match only_language(connection, faults, account, name).await? {
                    Some(language) => language,
                    None => return Ok(None),
                },
            };
            let language = &language;
            let found = templates::latest(connection, account, name, language).await?;
            if found.is_none() {
                let short: String = name.chars().take(64).collect();
                faults.add(FIELD, format!("there is no {short:?} in this language"), expected);
            }
            return Ok(found);
        }
        (Some(_), _) => {
            faults.add(
                FIELD,
                "neither an id alone nor a name, with or without language",
                expected,
            );
            return Ok(None);
        }
        (None, None) => {
            faults.missing(FIELD, expected);
            return Ok(None);
        }
    };
    match templates::get(connection, id).await {
        Ok(found) if account.is_some_and(|account| account != found.account_id) => {
            faults.add(FIELD, "belongs to another account", expected);
            Ok(None)
        }
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NotFound { .. }) => {
            faults.add(FIELD, format!("{id} is not known"), expected);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The language of a template that exists in one only.
async fn only_language(
    connection: &mut Connection,
    faults: &mut Faults,
    account: AccountId,
    name: &str,
) -> Result<Option<String>, Stop> {
    const FIELD: &str = "/template/language";
    let short: String = name.chars().take(64).collect();
    let mut languages = templates::languages(connection, account, name).await?;
    match languages.len() {
        0 => faults.add(
            "/template",
            format!("there is no {short:?}"),
            "a template of the phone number's account",
        ),
        1 => return Ok(languages.pop()),
        _ => faults.add(
            FIELD,
            format!("nothing, and {short:?} exists in several"),
            format!("one of {}", languages.join(", ")),
        ),
    }
    Ok(None)
}

fn audience(faults: &mut Faults, base: Option<&Campaign>, given: Option<Segment>) -> Option<Audience> {
    let Some(segment) = given else {
        let before = base.map(|base| base.audience.clone());
        return kept(faults, "/segment", "criteria, or {} for every customer", before);
    };
    for problem in segment.problems() {
        faults.add(
            format!("/segment/{}", problem.field),
            problem.found,
            problem.expected,
        );
    }
    Some(match base.map(|base| &base.audience) {
        Some(Audience::Test { phones, .. }) => Audience::Test {
            segment,
            phones: phones.clone(),
        },
        _ => Audience::Segment { segment },
    })
}

/// Checks that the mapping fills exactly what the template asks for.
pub(super) fn check_mapping(faults: &mut Faults, template: &StoredTemplate, mapping: &VariableMapping) {
    if mapping.0.len() > MAPPING_MAX {
        return faults.add(
            "/mapping",
            format!("{} variables", mapping.0.len()),
            format!("at most {MAPPING_MAX}"),
        );
    }
    match template.template.compile_for_sending() {
        Ok(compiled) => {
            let known: Vec<_> = compiled
                .placeholders()
                .iter()
                .map(campaign_core::template::Placeholder::key)
                .collect();
            let optional = match &compiled.optional_keys()[..] {
                [] => String::new(),
                keys => format!("; and if wanted {}", keys.join(", ")),
            };
            for problem in validate(&compiled, mapping) {
                let variable = problem.variable().replace('~', "~0").replace('/', "~1");
                let expected = format!(
                    "a rule for each of the template's variables: {}{optional}",
                    known.join(", ")
                );
                faults.add(format!("/mapping/{variable}"), problem.to_string(), expected);
            }
        }
        Err(problems) => {
            for problem in problems {
                faults.add("/template", problem.to_string(), "a template that can be filled");
            }
        }
    }
}

fn choices(
    faults: &mut Faults,
    base: Option<&Campaign>,
    priority: Option<&str>,
    misfire_policy: Option<&str>,
    on_uncertain: Option<&str>,
) -> Option<(Priority, MisfirePolicy, OnUncertain)> {
    let before = base.map_or(
        (Priority::Normal, MisfirePolicy::Start, OnUncertain::Hold),
        |base| (base.priority, base.misfire_policy, base.on_uncertain),
    );
    let priority = priority.map_or(Some(before.0), |name| faults.name("/priority", name));
    let policy = misfire_policy.map_or(Some(before.1), |name| faults.name("/misfire_policy", name));
    let uncertain = on_uncertain.map_or(Some(before.2), |name| faults.name("/on_uncertain", name));
    Some((priority?, policy?, uncertain?))
}
