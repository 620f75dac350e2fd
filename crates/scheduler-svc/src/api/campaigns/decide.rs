//! From what a person sent to a campaign, or to everything that is wrong with it.

use crate::api::body::nullable;
use crate::api::problems::{Faults, Stop};
use campaign_core::campaign::{
    Audience, Campaign, CampaignStatus, DueDecision, MisfirePolicy, OnUncertain, Priority,
};
use campaign_core::ids::{AccountId, CampaignId, LaneId, TemplateId};
use campaign_core::segment::Segment;
use campaign_core::variables::{VariableMapping, validate};
use campaign_runtime::Problem;
use campaign_store::phone_numbers::PhoneNumber;
use campaign_store::templates::StoredTemplate;
use campaign_store::{Connection, StoreError, phone_numbers, templates};
use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Longest name of a campaign.
pub(super) const NAME_MAX_CHARS: usize = 200;
/// Most variables that a mapping may name.
const MAPPING_MAX: usize = 100;
/// How far ahead a campaign may be scheduled, and may expire.
const AHEAD_MAX_DAYS: i64 = 366;
/// The zone where none is given.
const TIME_ZONE_DEFAULT: &str = "America/Sao_Paulo";

/// What a person decides. To create a campaign, `name`, `template`, `phone_number_id` and `segment` are
/// required; to edit one, what is not given stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
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
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    scheduled_at: Option<Option<String>>,
    /// IANA name; `America/Sao_Paulo` if not given.
    time_zone: Option<String>,
    /// What was not sent by then is cancelled. As `scheduled_at`.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    expires_at: Option<Option<String>>,
    /// If its time passes while the engine is down: `start` (the default; if less than a day late), `skip` or
    /// `wait` for a person.
    misfire_policy: Option<String>,
    /// What happens to messages that may or may not have been accepted: `hold` (the default) for a person, or
    /// `resend`.
    on_uncertain: Option<String>,
}

/// The template by its id, or by name and language (then its newest version).
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
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
        &input.priority,
        &input.misfire_policy,
        &input.on_uncertain,
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
        let scheduled_changed = input.scheduled_at.is_some();
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
                language: Some(language),
            }),
            _,
        ) => {
            // Without a number there is no account to look in; that fault is noted already.
            let Some(account) = account else { return Ok(None) };
            let found = templates::latest(connection, account, name, language).await?;
            if found.is_none() {
                let short: String = name.chars().take(64).collect();
                faults.add(FIELD, format!("there is no {short:?} in this language"), expected);
            }
            return Ok(found);
        }
        (Some(_), _) => {
            faults.add(FIELD, "neither an id alone nor name and language", expected);
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

fn audience(faults: &mut Faults, base: Option<&Campaign>, given: Option<Segment>) -> Option<Audience> {
    let segment = match given {
        Some(segment) => segment,
        None => {
            return kept(
                faults,
                "/segment",
                "criteria, or {} for every customer",
                base.map(|b| b.audience.clone()),
            );
        }
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
            for problem in validate(&compiled, mapping) {
                let variable = problem.variable().replace('~', "~0").replace('/', "~1");
                let expected = format!(
                    "a rule for each of the template's variables: {}",
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
    priority: &Option<String>,
    misfire_policy: &Option<String>,
    on_uncertain: &Option<String>,
) -> Option<(Priority, MisfirePolicy, OnUncertain)> {
    let before = base.map_or(
        (Priority::Normal, MisfirePolicy::Start, OnUncertain::Hold),
        |base| (base.priority, base.misfire_policy, base.on_uncertain),
    );
    let priority = priority
        .as_deref()
        .map_or(Some(before.0), |name| faults.name("/priority", name));
    let policy = misfire_policy
        .as_deref()
        .map_or(Some(before.1), |name| faults.name("/misfire_policy", name));
    let uncertain = on_uncertain
        .as_deref()
        .map_or(Some(before.2), |name| faults.name("/on_uncertain", name));
    Some((priority?, policy?, uncertain?))
}

/// The times of a campaign.
pub(super) struct Times {
    pub(super) scheduled_at: Option<DateTime<Utc>>,
    pub(super) zone: Tz,
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// Reads the times that were given; the others stay as in `base`.
pub(super) fn times(
    faults: &mut Faults,
    base: Option<&Campaign>,
    scheduled_at: &Option<Option<String>>,
    time_zone: Option<&str>,
    expires_at: &Option<Option<String>>,
) -> Option<Times> {
    let name = time_zone
        .or(base.map(|base| base.time_zone.as_str()))
        .unwrap_or(TIME_ZONE_DEFAULT);
    let Ok(zone) = name.parse::<Tz>() else {
        let short: String = name.chars().take(64).collect();
        faults.add(
            "/time_zone",
            format!("{short:?}"),
            "an IANA time zone, such as America/Sao_Paulo",
        );
        return None;
    };
    let mut time = |field: &str, given: &Option<Option<String>>, before: Option<DateTime<Utc>>| match given {
        None => Some(before),
        Some(None) => Some(None),
        Some(Some(text)) => moment(faults, field, text, zone).map(Some),
    };
    let scheduled_at = time(
        "/scheduled_at",
        scheduled_at,
        base.and_then(|base| base.scheduled_at),
    );
    let expires_at = time("/expires_at", expires_at, base.and_then(|base| base.expires_at));
    Some(Times {
        scheduled_at: scheduled_at?,
        zone,
        expires_at: expires_at?,
    })
}

/// Reads a moment: RFC 3339 with an offset, or a local time of the zone.
fn moment(faults: &mut Faults, field: &str, text: &str, zone: Tz) -> Option<DateTime<Utc>> {
    const FORMATS: [&str; 3] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc());
    }
    let Some(local) = FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    else {
        let short: String = text.chars().take(64).collect();
        let expected = "a time such as 2026-12-01T09:00:00-03:00, or 2026-12-01T09:00 in time_zone";
        faults.add(field, format!("{short:?}"), expected);
        return None;
    };
    match zone.from_local_datetime(&local) {
        LocalResult::Single(moment) => Some(moment.to_utc()),
        LocalResult::None => {
            faults.add(
                field,
                format!("{local} does not exist in {zone}: the clocks go forward"),
                "another time",
            );
            None
        }
        LocalResult::Ambiguous(first, second) => {
            let wrong = format!("{local} comes twice in {zone}: the clocks go back");
            faults.add(
                field,
                wrong,
                format!("{} or {}", first.to_rfc3339(), second.to_rfc3339()),
            );
            None
        }
    }
}

/// Checks that the times can be kept: a start that is not past (unless the policy starts it all the same),
/// an end behind it, neither too far away.
pub(super) fn check_times(
    faults: &mut Faults,
    times: &Times,
    policy: MisfirePolicy,
    scheduled_changed: bool,
    now: DateTime<Utc>,
) {
    let horizon = now + Duration::days(AHEAD_MAX_DAYS);
    let late = times
        .scheduled_at
        .filter(|at| scheduled_changed && policy.decide(*at, now) != DueDecision::Start);
    if let Some(at) = late {
        let expected = match policy {
            MisfirePolicy::Start => "a time that is at most 24 hours past".to_owned(),
            MisfirePolicy::Skip | MisfirePolicy::Wait => {
                format!("a time to come: with misfire_policy {policy} a campaign does not start late")
            }
        };
        faults.add("/scheduled_at", format!("{} is past", at.to_rfc3339()), expected);
    }
    for (field, time) in [
        ("/scheduled_at", times.scheduled_at),
        ("/expires_at", times.expires_at),
    ] {
        if let Some(time) = time.filter(|time| *time > horizon) {
            faults.add(
                field,
                time.to_rfc3339(),
                format!("at most {AHEAD_MAX_DAYS} days from now"),
            );
        }
    }
    if let Some(expires_at) = times.expires_at {
        let start = times.scheduled_at.unwrap_or(now).max(now);
        if expires_at <= start {
            faults.add(
                "/expires_at",
                expires_at.to_rfc3339(),
                format!("a time after {}", start.to_rfc3339()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, zone: &str) -> Result<DateTime<Utc>, Stop> {
        let mut faults = Faults::default();
        let moment = moment(&mut faults, "/scheduled_at", text, zone.parse().expect("a zone"));
        faults.finish()?;
        Ok(moment.expect("no fault, so a moment"))
    }

    #[test]
    fn a_moment_has_an_offset_or_is_local() {
        let noon = Utc
            .with_ymd_and_hms(2026, 3, 1, 12, 0, 0)
            .single()
            .expect("a time");
        for text in [
            "2026-03-01T12:00:00Z",
            "2026-03-01T09:00:00-03:00",
            "2026-03-01T09:00",
            "2026-03-01T09:00:00",
        ] {
            assert_eq!(read(text, "America/Sao_Paulo").expect(text), noon, "{text}");
        }
        for text in ["", "tomorrow", "2026-03-01", "2026-13-01T09:00"] {
            assert!(read(text, "America/Sao_Paulo").is_err(), "{text}");
        }
    }

    #[test]
    fn local_times_that_do_not_exist_or_come_twice_are_refused() {
        assert!(
            read("2026-03-29T02:30", "Europe/Berlin").is_err(),
            "the clocks go forward"
        );
        assert!(
            read("2026-10-25T02:30", "Europe/Berlin").is_err(),
            "the clocks go back"
        );
        assert!(
            read("2026-10-25T02:30:00+02:00", "Europe/Berlin").is_ok(),
            "an offset says which"
        );
    }

    #[test]
    fn a_past_time_is_taken_only_if_the_policy_starts_it() {
        let now = Utc
            .with_ymd_and_hms(2026, 3, 1, 12, 0, 0)
            .single()
            .expect("a time");
        let fault = |policy, ago: Duration| {
            let times = Times {
                scheduled_at: Some(now - ago),
                zone: chrono_tz::UTC,
                expires_at: None,
            };
            let mut faults = Faults::default();
            check_times(&mut faults, &times, policy, true, now);
            faults.finish().is_err()
        };
        assert!(!fault(MisfirePolicy::Start, Duration::hours(23)));
        assert!(fault(MisfirePolicy::Start, Duration::hours(24)));
        assert!(fault(MisfirePolicy::Skip, Duration::hours(1)));
        assert!(fault(MisfirePolicy::Wait, Duration::hours(1)));
        assert!(!fault(MisfirePolicy::Wait, Duration::zero()));
    }
}
