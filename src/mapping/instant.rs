//! Instants and days from text.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

pub(super) const NOT_AN_INSTANT: &str = "is not an instant with its offset from UTC, like 2026-05-04T08:41:07Z; for a value \
                                         without one, the transform `timestamp` names the time zone";
pub(super) const NOT_A_LOCAL_TIME: &str =
    "is neither an instant like 2026-05-04T08:41:07Z nor a date or a date and time";
pub(super) const NOT_A_DATE: &str = "is not a day like 2026-05-04";

/// An instant from RFC 3339, or from Salesforce's own `2026-05-04T08:41:07.000+0000`.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// An instant from text that may lack its offset: then it is a date (at its first moment) or a date and time in `zone`.
///
/// A local time that the clocks skip in spring is taken as if they hadn't been put forward, one that comes twice in
/// autumn is the first: the rule of [RFC 5545](https://datatracker.ietf.org/doc/html/rfc5545#section-3.3.5), which jiff
/// calls *compatible*.
pub(super) fn instant_in(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(instant) = instant(text) {
        return Some(instant);
    }
    let local: DateTime = text.parse().ok()?;
    zone.to_timestamp(local).ok()
}

/// A day from `YYYY-MM-DD`, and nothing but that.
pub(super) fn day(text: &str) -> Option<Date> {
    if text.len() != "2026-05-04".len() {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_needs_its_offset() {
        let cases: &[(&str, Option<&str>)] = &[
            ("2026-05-04T08:41:07Z", Some("2026-05-04T08:41:07Z")),
            ("2026-05-04T08:41:07.000+0000", Some("2026-05-04T08:41:07Z")),
            ("2026-05-04T08:41:07.250+0200", Some("2026-05-04T06:41:07.25Z")),
            ("2026-05-04T08:41:07+02:00", Some("2026-05-04T06:41:07Z")),
            ("2026-05-04T08:41:07-00:30", Some("2026-05-04T09:11:07Z")),
            ("2026-05-04T08:41:07", None),
            ("2026-05-04", None),
            ("2026-13-04T08:41:07Z", None),
            ("2026-02-30T08:41:07Z", None),
            (" 2026-05-04T08:41:07Z", None),
            ("1746348067", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(
                instant(text).map(|instant| instant.to_string()).as_deref(),
                *expected,
                "{text}"
            );
        }
    }

    #[test]
    fn local_times_are_placed_by_their_zone() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("2026-05-04", "Europe/Berlin", Some("2026-05-03T22:00:00Z")),
            ("2026-01-04", "Europe/Berlin", Some("2026-01-03T23:00:00Z")),
            ("2026-05-04T10:00:00", "Europe/Berlin", Some("2026-05-04T08:00:00Z")),
            ("2026-05-04 10:00", "Europe/Berlin", Some("2026-05-04T08:00:00Z")),
            ("2026-05-04T10:00:00Z", "Europe/Berlin", Some("2026-05-04T10:00:00Z")),
            ("2026-05-04", "UTC", Some("2026-05-04T00:00:00Z")),
            // the clocks go from 02:00 to 03:00
            ("2026-03-29T02:30:00", "Europe/Berlin", Some("2026-03-29T01:30:00Z")),
            // the clocks go from 03:00 back to 02:00
            ("2026-10-25T02:30:00", "Europe/Berlin", Some("2026-10-25T00:30:00Z")),
            ("04.05.2026", "Europe/Berlin", None),
            ("", "Europe/Berlin", None),
        ];
        for (text, zone, expected) in cases {
            let zone = TimeZone::get(zone).expect("a zone");
            assert_eq!(
                instant_in(text, &zone).map(|instant| instant.to_string()).as_deref(),
                *expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_day_is_a_day_and_no_time() {
        let cases: &[(&str, Option<&str>)] = &[
            ("2026-05-04", Some("2026-05-04")),
            ("0001-01-01", Some("0001-01-01")),
            ("2026-02-29", None),
            ("2026-05-04T00:00:00.000+0000", None),
            ("20260504", None),
            ("4.5.2026", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(day(text).map(|day| day.to_string()).as_deref(), *expected, "{text}");
        }
    }
}
