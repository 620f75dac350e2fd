//! When a campaign starts and ends: read from what people write, and checked that it can be kept.

use crate::api::body::Edit;
use crate::api::problems::Faults;
use campaign_core::campaign::{Campaign, DueDecision, MisfirePolicy};
use chrono::{DateTime, Duration, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::Tz;

/// How far ahead a campaign may be scheduled, and may expire.
const AHEAD_MAX_DAYS: i64 = 366;
/// The zone where none is given.
const TIME_ZONE_DEFAULT: &str = "America/Sao_Paulo";

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
    scheduled_at: &Edit<String>,
    time_zone: Option<&str>,
    expires_at: &Edit<String>,
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
    let mut time = |field: &str, given: &Edit<String>, before: Option<DateTime<Utc>>| match given {
        Edit::Keep => Some(before),
        Edit::Remove => Some(None),
        Edit::Set(text) => moment(faults, field, text, zone).map(Some),
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
    use crate::api::problems::Stop;

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
