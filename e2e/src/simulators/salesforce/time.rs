//! Instants as the REST API writes them, `2026-05-04T08:41:07.000+0000`, and as it reads them.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

/// Milliseconds since 1970.
pub type Millis = i64;

pub fn write_datetime(out: &mut Vec<u8>, millis: Millis) {
    let instant = Timestamp::from_millisecond(millis).unwrap_or_default();
    let civil = Offset::UTC.to_datetime(instant);
    write_date(out, civil.date());
    let parts = [(b'T', civil.hour()), (b':', civil.minute()), (b':', civil.second())];
    for (mark, number) in parts {
        out.push(mark);
        two_digits(out, number.unsigned_abs());
    }
    let fraction = u16::try_from(millis.rem_euclid(1000)).unwrap_or_default();
    out.push(b'.');
    out.push(b'0' + u8::try_from(fraction / 100).unwrap_or_default());
    two_digits(out, u8::try_from(fraction % 100).unwrap_or_default());
    out.extend_from_slice(b"+0000");
}

pub fn write_date(out: &mut Vec<u8>, date: Date) {
    let year = date.year().unsigned_abs();
    two_digits(out, u8::try_from(year / 100).unwrap_or_default());
    two_digits(out, u8::try_from(year % 100).unwrap_or_default());
    out.push(b'-');
    two_digits(out, date.month().unsigned_abs());
    out.push(b'-');
    two_digits(out, date.day().unsigned_abs());
}

fn two_digits(out: &mut Vec<u8>, number: u8) {
    out.extend_from_slice(&[b'0' + number / 10, b'0' + number % 10]);
}

pub fn datetime(millis: Millis) -> String {
    let mut out = Vec::with_capacity(28);
    write_datetime(&mut out, millis);
    String::from_utf8(out).unwrap_or_default()
}

/// Reads `YYYY-MM-DDThh:mm:ss[.fff…]` followed by `Z` or an offset, in the basic form (`+0000`) too if `basic` is set:
/// the API's own output has it, and takes it in JSON.
pub fn parse_datetime(text: &str, basic: bool) -> Option<Millis> {
    let bytes = text.as_bytes();
    let shape = text.is_ascii() && bytes.len() > 19 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T';
    if !shape || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let zone = text[19..].find(['Z', '+', '-'])? + 19;
    let fraction = &bytes[19..zone];
    if !fraction.is_empty()
        && (fraction[0] != b'.' || fraction.len() < 2 || !fraction[1..].iter().all(u8::is_ascii_digit))
    {
        return None;
    }
    let offset = &bytes[zone..];
    let digits = |places: &[usize]| places.iter().all(|&place| offset[place].is_ascii_digit());
    let known = match offset.len() {
        1 => offset[0] == b'Z',
        6 => offset[0] != b'Z' && offset[3] == b':' && digits(&[1, 2, 4, 5]),
        5 => basic && offset[0] != b'Z' && digits(&[1, 2, 3, 4]),
        _ => false,
    };
    let instant: Timestamp = known.then(|| text.parse().ok())??;
    Some(instant.as_millisecond())
}

/// Reads `YYYY-MM-DD`, and nothing else.
pub fn parse_date(text: &str) -> Option<Date> {
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    shaped.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::{datetime, parse_date, parse_datetime};

    #[test]
    fn what_is_written_is_read_again() {
        let millis = 1_777_884_067_000;
        assert_eq!(datetime(millis), "2026-05-04T08:41:07.000+0000");
        assert_eq!(parse_datetime("2026-05-04T08:41:07.000+0000", true), Some(millis));
        assert_eq!(parse_datetime("2026-05-04T10:41:07+02:00", false), Some(millis));
        assert_eq!(parse_datetime("2026-05-04T08:41:07Z", false), Some(millis));
        assert_eq!(parse_datetime("2026-05-04T08:41:07.25Z", false), Some(millis + 250));
        assert_eq!(datetime(millis + 7), "2026-05-04T08:41:07.007+0000");
    }

    #[test]
    fn other_forms_are_refused() {
        let forms = [
            "2026-05-04",
            "2026-05-04T08:41:07",
            "2026-05-04 08:41:07Z",
            "2026-05-04T08:41:07 02:00",
            "2026-05-04T08:41:07.Z",
            "2026-05-04T08:41:07.000+0000",
            "2026-13-04T08:41:07Z",
            "2026-05-04T25:41:07Z",
        ];
        for form in forms {
            assert_eq!(parse_datetime(form, false), None, "{form}");
        }
        assert_eq!(parse_date("2026-5-4"), None);
        assert_eq!(parse_date("2026-02-30"), None);
    }
}
