//! JSON, written straight into bytes.

use std::io::Write;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use rust_decimal::Decimal;

use crate::mapping::Value;

const MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// A string.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    // Most strings stand as they are. Without an early exit the check takes many bytes at a time.
    let escapes = bytes.iter().fold(false, |any, byte| {
        any | (*byte < b' ') | (*byte == b'"') | (*byte == b'\\')
    });
    if escapes {
        // Writing a string into memory can't fail.
        let _ = serde_json::to_writer(out, text);
        return;
    }
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

/// An instant in UTC, to the millisecond: ISO 8601, as the API wants it.
pub(super) fn timestamp(out: &mut Vec<u8>, instant: Timestamp) {
    out.push(b'"');
    let _ = MILLISECONDS.print_timestamp(&instant, &mut *out);
    out.push(b'"');
}

/// An object of booleans.
pub(super) fn flags<'a>(out: &mut Vec<u8>, flags: impl Iterator<Item = (&'a str, bool)>) {
    object(out, flags, boolean);
}

/// An object of typed values.
pub(crate) fn values(out: &mut Vec<u8>, values: &[(&str, Value<'_>)]) {
    object(out, values.iter().map(|(name, value)| (*name, value)), typed);
}

fn object<'a, V>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'a str, V)>, write: fn(&mut Vec<u8>, V)) {
    out.push(b'{');
    for (position, (name, member)) in members.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        text(out, name);
        out.push(b':');
        write(out, member);
    }
    out.push(b'}');
}

/// A typed value.
pub(crate) fn typed(out: &mut Vec<u8>, value: &Value<'_>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::String(string) => text(out, string),
        Value::Integer(number) => {
            let _ = serde_json::to_writer(out, number);
        }
        Value::Decimal(number) => decimal(out, number),
        Value::Boolean(flag) => boolean(out, *flag),
        Value::Timestamp(instant) => timestamp(out, *instant),
        Value::Date(date) => {
            out.push(b'"');
            let _ = MILLISECONDS.print_date(date, &mut *out);
            out.push(b'"');
        }
        Value::Money(money) => {
            out.extend_from_slice(b"{\"amount\":");
            decimal(out, &money.amount);
            out.extend_from_slice(b",\"currency\":");
            text(out, money.currency);
            out.push(b'}');
        }
        Value::List(items) => {
            out.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    out.push(b',');
                }
                typed(out, item);
            }
            out.push(b']');
        }
        Value::Json(document) => out.extend_from_slice(document.as_bytes()),
        Value::Object(members) => object(out, members.iter().map(|(name, value)| (&**name, value)), typed),
    }
}

/// A number with its exact digits: never an exponent, never rounded to a float.
fn decimal(out: &mut Vec<u8>, number: &Decimal) {
    let _ = write!(out, "{number}");
}

fn boolean(out: &mut Vec<u8>, flag: bool) {
    out.extend_from_slice(if flag { b"true" } else { b"false" });
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)];
    out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::mapping::Money;

    #[test]
    fn money_lists_and_documents_are_written_with_every_digit() {
        let text = |text: &'static str| Value::String(Cow::Borrowed(text));
        let traits = [
            (
                "price",
                Value::Money(Money {
                    amount: "123456789012345678.99".parse().unwrap(),
                    currency: "EUR",
                }),
            ),
            (
                "tags",
                Value::List(vec![text("a\"b"), Value::Integer(1), Value::Boolean(true)]),
            ),
            ("none", Value::List(Vec::new())),
            ("document", Value::Json(Cow::Borrowed("{\"a\":[1.50,null]}"))),
        ];
        let mut out = Vec::new();
        values(&mut out, &traits);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"price":{"amount":123456789012345678.99,"currency":"EUR"},"tags":["a\"b",1,true],"none":[],"document":{"a":[1.50,null]}}"#
        );
    }
}
