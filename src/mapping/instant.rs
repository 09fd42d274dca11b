//! Instants and days from text.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::{AmbiguousOffset, Disambiguation, TimeZone};

use crate::api::mapping_version::AmbiguousTime;

pub(super) const NOT_AN_INSTANT: &str = "is not an instant with its offset from UTC, like 2026-05-04T08:41:07Z; for a value \
                                         without one, the transform `timestamp` names the time zone";
pub(super) const NOT_A_LOCAL_TIME: &str =
    "is neither an instant like 2026-05-04T08:41:07Z nor a date or a date and time";
const IN_NO_FORMAT: &str = "is in none of the formats";
const NOT_ONE_INSTANT: &str =
    "is a local time that comes twice or not at all in its zone, since the clocks are set there";
pub(super) const NOT_A_DATE: &str = "is not a day like 2026-05-04";

/// An instant from RFC 3339, or from Salesforce's own `2026-05-04T08:41:07.000+0000`.
///
/// A leap second, `23:59:60` in UTC on the last day of a month, is taken for the second before it, as POSIX' clocks and
/// most others do. Any other `:60` is no time.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    text.parse()
        .ok()
        .filter(|instant| !is_sixtieth(text) || may_leap(*instant))
}

/// An instant from text that may lack its offset: then it is a date (at its first moment) or a date and time in `zone`.
///
/// A local time that the clocks skip in spring is taken as if they hadn't been put forward, one that comes twice in
/// autumn is the first: the rule of [RFC 5545](https://datatracker.ietf.org/doc/html/rfc5545#section-3.3.5), which jiff
/// calls *compatible*.
pub(super) fn instant_in(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    local(text, zone, Disambiguation::Compatible).ok()
}

fn local(text: &str, zone: &TimeZone, rule: Disambiguation) -> Result<Timestamp, &'static str> {
    if let Some(instant) = instant(text) {
        return Ok(instant);
    }
    let local: DateTime = text.parse().map_err(|_| NOT_A_LOCAL_TIME)?;
    let instant = placed(local, zone, rule)?;
    if is_sixtieth(text) && !may_leap(instant) {
        return Err(NOT_A_LOCAL_TIME);
    }
    Ok(instant)
}

/// The instant of a local time.
fn placed(local: DateTime, zone: &TimeZone, rule: Disambiguation) -> Result<Timestamp, &'static str> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    if matches!(rule, Disambiguation::Reject) && !matches!(ambiguous.offset(), AmbiguousOffset::Unambiguous { .. }) {
        return Err(NOT_ONE_INSTANT);
    }
    ambiguous.disambiguate(rule).map_err(|_| NOT_A_LOCAL_TIME)
}

/// Whether the seconds are `60`, in ISO 8601's extended form or its basic one.
fn is_sixtieth(text: &str) -> bool {
    let bytes = text.as_bytes();
    match bytes.get(4) {
        Some(b'-') => bytes.get(16..19) == Some(b":60"),
        _ => bytes.get(13..15) == Some(b"60"),
    }
}

/// Whether a leap second may follow: they are put in at the end of a month, in UTC.
/// <https://www.itu.int/rec/R-REC-TF.460/en>
fn may_leap(instant: Timestamp) -> bool {
    let utc = TimeZone::UTC.to_datetime(instant);
    (utc.hour(), utc.minute(), utc.second()) == (23, 59, 59) && utc.date() == utc.date().last_of_month()
}

/// How the `timestamp` transform reads text.
#[derive(Clone, Debug)]
pub(super) struct Instants {
    pub zone: TimeZone,
    pub formats: Vec<String>,
    pub ambiguous: Option<AmbiguousTime>,
}

impl Instants {
    pub fn read(&self, text: &str) -> Result<Timestamp, &'static str> {
        let rule = match self.ambiguous {
            None => Disambiguation::Compatible,
            Some(AmbiguousTime::Earlier) => Disambiguation::Earlier,
            Some(AmbiguousTime::Later) => Disambiguation::Later,
            Some(AmbiguousTime::Reject) => Disambiguation::Reject,
        };
        if self.formats.is_empty() {
            return local(text, &self.zone, rule);
        }
        let found = self
            .formats
            .iter()
            .find_map(|format| parsed(format, text))
            .ok_or(IN_NO_FORMAT)?;
        match found.to_timestamp() {
            Ok(instant) => Ok(instant),
            Err(_) => placed(found.to_datetime().map_err(|_| IN_NO_FORMAT)?, &self.zone, rule),
        }
    }
}

/// How the `date` transform reads text.
#[derive(Clone, Debug)]
pub(super) struct Days {
    pub formats: Vec<String>,
    pub zone: Option<TimeZone>,
}

impl Days {
    pub fn read(&self, text: &str) -> Result<Date, &'static str> {
        let (found, rule) = if self.formats.is_empty() {
            (day(text), NOT_A_DATE)
        } else {
            let parsed = self.formats.iter().find_map(|format| parsed(format, text));
            (parsed.and_then(|parsed| parsed.to_date().ok()), IN_NO_FORMAT)
        };
        found.or_else(|| self.of(instant(text)?)).ok_or(rule)
    }

    /// The day that an instant is in the zone.
    pub fn of(&self, instant: Timestamp) -> Option<Date> {
        self.zone.as_ref().map(|zone| zone.to_datetime(instant).date())
    }
}

/// What a format makes of a text, if it is a date. A year before 1000 is one that was written with fewer than four digits.
fn parsed(format: &str, text: &str) -> Option<BrokenDownTime> {
    let parsed = BrokenDownTime::parse(format, text).ok()?;
    let date = match parsed.to_timestamp() {
        Ok(instant) => TimeZone::UTC.to_datetime(instant).date(),
        Err(_) => parsed.to_datetime().ok()?.date(),
    };
    (date.year() >= 1000).then_some(parsed)
}

/// What is wrong with a format, if anything is: it must give back the day that is written by it.
pub(super) fn fault(format: &str) -> Option<String> {
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        if character == '%' {
            let directive = rest.find(|next| next.is_ascii_alphabetic() || *next == '%');
            if let Some(directive @ ('y' | 'g' | 'C' | 'D' | 'x' | 'c')) = directive {
                return Some(format!(
                    "%{directive} leaves open which century or order is meant; %Y is a year of four digits"
                ));
            }
        }
    }
    let sample = jiff::civil::date(2026, 11, 29).at(13, 45, 56, 0);
    let Ok(zoned) = sample.to_zoned(TimeZone::UTC) else {
        return None;
    };
    let written = BrokenDownTime::from(&zoned).to_string(format);
    let written = match written {
        Ok(written) => written,
        Err(error) => return Some(format!("is no format: {error}")),
    };
    let read = parsed(format, &written).and_then(|parsed| match parsed.to_timestamp() {
        Ok(instant) => Some(TimeZone::UTC.to_datetime(instant).date()),
        Err(_) => parsed.to_date().ok(),
    });
    (read != Some(sample.date())).then(|| "does not tell a whole day: year, month and day, like %Y-%m-%d".to_owned())
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

    fn instants(zone: &str, formats: &[&str], ambiguous: Option<AmbiguousTime>) -> Instants {
        Instants {
            zone: TimeZone::get(zone).expect("a zone"),
            formats: formats.iter().map(|format| (*format).to_owned()).collect(),
            ambiguous,
        }
    }

    #[test]
    fn a_leap_second_is_the_second_before_it_and_any_other_sixtieth_is_no_time() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("2016-12-31T23:59:60Z", "UTC", Some("2016-12-31T23:59:59Z")),
            ("2016-12-31T23:59:60.000+0000", "UTC", Some("2016-12-31T23:59:59Z")),
            ("2017-01-01T00:59:60+01:00", "UTC", Some("2016-12-31T23:59:59Z")),
            ("2017-01-01T00:59:60", "Europe/Berlin", Some("2016-12-31T23:59:59Z")),
            ("20161231T235960Z", "UTC", Some("2016-12-31T23:59:59Z")),
            ("2016-12-30T23:59:60Z", "UTC", None),
            ("2016-12-31T12:00:60Z", "UTC", None),
            ("2016-12-31T23:59:60", "Europe/Berlin", None),
            ("2016-12-31T23:59:61Z", "UTC", None),
            ("2016-12-31T23:59:59Z", "UTC", Some("2016-12-31T23:59:59Z")),
        ];
        for (text, zone, expected) in cases {
            let read = instants(zone, &[], None).read(text).ok();
            assert_eq!(read.map(|instant| instant.to_string()).as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn a_local_time_that_comes_twice_or_never_is_what_the_mapping_says() {
        use AmbiguousTime::{Earlier, Later, Reject};
        let (twice, never) = ("2026-10-25T02:30:00", "2026-03-29T02:30:00");
        let cases: &[(&str, Option<AmbiguousTime>, Result<&str, &str>)] = &[
            (twice, None, Ok("2026-10-25T00:30:00Z")),
            (twice, Some(Earlier), Ok("2026-10-25T00:30:00Z")),
            (twice, Some(Later), Ok("2026-10-25T01:30:00Z")),
            (twice, Some(Reject), Err(NOT_ONE_INSTANT)),
            (never, None, Ok("2026-03-29T01:30:00Z")),
            (never, Some(Earlier), Ok("2026-03-29T00:30:00Z")),
            (never, Some(Later), Ok("2026-03-29T01:30:00Z")),
            (never, Some(Reject), Err(NOT_ONE_INSTANT)),
            ("2026-03-29T03:30:00", Some(Reject), Ok("2026-03-29T01:30:00Z")),
            ("2026-10-25T02:30:00+01:00", Some(Reject), Ok("2026-10-25T01:30:00Z")),
        ];
        for (text, ambiguous, expected) in cases {
            for formats in [&[][..], &["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%:z"]] {
                let read = instants("Europe/Berlin", formats, *ambiguous).read(text);
                let read = read.map(|instant| instant.to_string());
                assert_eq!(read.as_deref().map_err(|rule| *rule), *expected, "{text} {ambiguous:?}");
            }
        }
    }

    #[test]
    fn formats_are_tried_in_order_and_none_is_guessed() {
        let cases: &[(&str, &[&str], Result<&str, &str>)] = &[
            ("04.05.2026 10:00", &["%d.%m.%Y %H:%M"], Ok("2026-05-04T08:00:00Z")),
            ("4.5.2026 9:05", &["%d.%m.%Y %H:%M"], Ok("2026-05-04T07:05:00Z")),
            ("05/04/2026", &["%m/%d/%Y", "%d/%m/%Y"], Ok("2026-05-03T22:00:00Z")),
            ("13/04/2026", &["%m/%d/%Y", "%d/%m/%Y"], Ok("2026-04-12T22:00:00Z")),
            (
                "May 4, 2026 10:00 AM",
                &["%B %d, %Y %I:%M %p"],
                Ok("2026-05-04T08:00:00Z"),
            ),
            ("1777884067", &["%s"], Ok("2026-05-04T08:41:07Z")),
            (
                "2026-05-04 10:00 +0530",
                &["%Y-%m-%d %H:%M %z"],
                Ok("2026-05-04T04:30:00Z"),
            ),
            ("04.05.26", &["%d.%m.%Y"], Err(IN_NO_FORMAT)),
            ("2026-05-04", &["%d.%m.%Y"], Err(IN_NO_FORMAT)),
            ("31.02.2026", &["%d.%m.%Y"], Err(IN_NO_FORMAT)),
            ("04.05.2026 x", &["%d.%m.%Y"], Err(IN_NO_FORMAT)),
        ];
        for (text, formats, expected) in cases {
            let read = instants("Europe/Berlin", formats, None)
                .read(text)
                .map(|instant| instant.to_string());
            assert_eq!(read.as_deref().map_err(|rule| *rule), *expected, "{text}");
        }
    }

    #[test]
    fn days_follow_the_calendar_of_1900_and_2100_too() {
        type Case<'a> = (&'a str, &'a [&'a str], Option<&'a str>, Result<&'a str, &'a str>);
        let cases: &[Case] = &[
            ("1900-02-28", &[], None, Ok("1900-02-28")),
            ("1900-02-29", &[], None, Err(NOT_A_DATE)),
            ("2000-02-29", &[], None, Ok("2000-02-29")),
            ("2100-02-28", &[], None, Ok("2100-02-28")),
            ("29.02.2100", &["%d.%m.%Y"], None, Err(IN_NO_FORMAT)),
            ("28.02.2100", &["%d.%m.%Y"], None, Ok("2100-02-28")),
            ("1899-12-31T23:59:59Z", &[], Some("Europe/Berlin"), Ok("1900-01-01")),
            ("2099-12-31T23:59:59Z", &[], Some("Europe/Berlin"), Ok("2100-01-01")),
            ("2099-12-31T23:59:59Z", &[], None, Err(NOT_A_DATE)),
            ("NA", &["%d.%m.%Y"], None, Err(IN_NO_FORMAT)),
        ];
        for (text, formats, zone, expected) in cases {
            let days = Days {
                formats: formats.iter().map(|format| (*format).to_owned()).collect(),
                zone: zone.map(|zone| TimeZone::get(zone).expect("a zone")),
            };
            let read = days.read(text).map(|day| day.to_string());
            assert_eq!(read.as_deref().map_err(|rule| *rule), *expected, "{text}");
        }
    }

    #[test]
    fn a_format_that_tells_no_whole_day_is_a_fault() {
        for format in [
            "%Y-%m-%d",
            "%d.%m.%Y %H:%M",
            "%s",
            "%d %B %Y",
            "%Y%j",
            "%Y-%m-%dT%H:%M:%S%.f%z",
            "%m/%d/%Y %I:%M %p",
        ] {
            assert_eq!(fault(format), None, "{format}");
        }
        for format in [
            "%d.%m.%y",
            "%Y-%m",
            "%H:%M",
            "",
            "day",
            "%!",
            "%Y-%m-%d %",
            "%D",
            "%y%m%d",
        ] {
            assert!(fault(format).is_some(), "{format}");
        }
    }
}
