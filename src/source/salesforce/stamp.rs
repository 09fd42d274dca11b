//! Instants as Salesforce writes them in JSON and reads them in SOQL.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Reads `2026-05-04T08:41:07.000+0000`, or any instant of RFC 3339.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    match text.as_bytes() {
        [digits @ .., b'+', b'0', b'0', b'0', b'0'] | [digits @ .., b'Z'] if digits.len() == 23 => in_utc(digits),
        _ => None,
    }
    .or_else(|| text.parse().ok())
}

/// `2026-05-04T08:41:07.000`, position by position.
fn in_utc(text: &[u8]) -> Option<Timestamp> {
    let separators = (text[4], text[7], text[10], text[13], text[16], text[19]);
    if separators != (b'-', b'-', b'T', b':', b':', b'.') {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0i32, |number, digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit < 10).then(|| number * 10 + i32::from(digit))
        })
    };
    let two = |from: usize| number(from, from + 2).map(|number| number as i8);
    let year = number(0, 4)? as i16;
    let nanosecond = number(20, 23)? * 1_000_000;
    let datetime = DateTime::new(year, two(5)?, two(8)?, two(11)?, two(14)?, two(17)?, nanosecond).ok()?;
    Offset::UTC.to_timestamp(datetime).ok()
}

/// A [date and time literal](https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_dateformats.htm)
/// of SOQL: UTC, milliseconds, no quotes.
pub(super) fn literal(instant: Timestamp) -> String {
    format!("{instant:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_read_in_each_form_and_nothing_else_is_taken_for_one() {
        let cases = [
            ("2026-05-04T08:41:07.000+0000", Some("2026-05-04T08:41:07Z")),
            ("2026-05-04T08:41:07.123+0000", Some("2026-05-04T08:41:07.123Z")),
            ("2026-05-04T08:41:07.123Z", Some("2026-05-04T08:41:07.123Z")),
            ("2026-05-04T08:41:07Z", Some("2026-05-04T08:41:07Z")),
            ("2026-05-04T08:41:07.5+0200", Some("2026-05-04T06:41:07.5Z")),
            ("2026-05-04T08:41:07.500+02:00", Some("2026-05-04T06:41:07.5Z")),
            ("1969-12-31T23:59:59.999+0000", Some("1969-12-31T23:59:59.999Z")),
            ("2024-02-29T00:00:00.000+0000", Some("2024-02-29T00:00:00Z")),
            ("2026-02-29T00:00:00.000+0000", None),
            ("2026-13-04T08:41:07.000+0000", None),
            ("2026-05-04T08:4/:07.000+0000", None),
            ("2026-05-04", None),
            ("", None),
            ("ä026-05-04T08:41:07.00+0000", None),
        ];
        let read = cases.map(|(text, _)| parse(text).map(|instant| instant.to_string()));
        assert_eq!(read, cases.map(|(_, expected)| expected.map(str::to_owned)));
    }

    #[test]
    fn a_literal_has_milliseconds_and_rounds_towards_the_past() {
        let instant: Timestamp = "2026-05-04T08:41:07.1239Z".parse().unwrap();
        assert_eq!(literal(instant), "2026-05-04T08:41:07.123Z");
    }
}
