//! `Retry-After`: a number of seconds or an HTTP date (RFC 9110, section 10.2.3).

use chrono::{DateTime, Utc};
use std::time::Duration;

/// How long to wait from `now` on. None if it cannot be read: then the own backoff has to do.
///
/// Of the three forms of an HTTP date this reads the one that may be generated today (IMF-fixdate).
pub(crate) fn parse(value: &str, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(value).ok()?.with_timezone(&Utc);
    Some((until - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn reads_seconds_and_dates() {
        let now = Utc
            .with_ymd_and_hms(2026, 3, 1, 12, 0, 0)
            .single()
            .expect("a valid time");
        assert_eq!(parse("120", now), Some(Duration::from_mins(2)));
        assert_eq!(parse(" 0 ", now), Some(Duration::ZERO));
        assert_eq!(
            parse("Sun, 01 Mar 2026 12:00:30 GMT", now),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            parse("Sun, 01 Mar 2026 11:59:00 GMT", now),
            Some(Duration::ZERO),
            "a date in the past"
        );
        assert_eq!(parse("soon", now), None);
        assert_eq!(parse("-5", now), None);
    }
}
