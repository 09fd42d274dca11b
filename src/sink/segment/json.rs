//! JSON, written straight into bytes.

use std::io::Write;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use rust_decimal::Decimal;
use serde::Serialize;

use crate::mapping::Value;

const MILLISECONDS: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

/// A string or a plain number.
pub(super) fn value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // Writing into memory can't fail, and neither strings nor plain numbers can.
    let _ = serde_json::to_writer(out, value);
}

/// An instant in UTC, to the millisecond: ISO 8601, as the API wants it.
pub(super) fn timestamp(out: &mut Vec<u8>, instant: Timestamp) {
    out.push(b'"');
    let _ = MILLISECONDS.print_timestamp(&instant, &mut *out);
    out.push(b'"');
}

/// An object of booleans.
pub(super) fn flags<'a>(out: &mut Vec<u8>, flags: impl Iterator<Item = (&'a str, bool)>) {
    object(out, flags, |out, flag| {
        out.extend_from_slice(if flag { b"true" } else { b"false" })
    });
}

/// An object of typed values.
pub(super) fn values(out: &mut Vec<u8>, values: &[(&str, Value<'_>)]) {
    object(out, values.iter().map(|(name, value)| (*name, value)), typed);
}

fn object<'a, V>(out: &mut Vec<u8>, members: impl Iterator<Item = (&'a str, V)>, write: impl Fn(&mut Vec<u8>, V)) {
    out.push(b'{');
    for (position, (name, member)) in members.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        value(out, name);
        out.push(b':');
        write(out, member);
    }
    out.push(b'}');
}

fn typed(out: &mut Vec<u8>, typed: &Value<'_>) {
    match typed {
        Value::Null => out.extend_from_slice(b"null"),
        Value::String(text) => value(out, &**text),
        Value::Integer(number) => value(out, number),
        Value::Decimal(number) => decimal(out, number),
        Value::Boolean(flag) => value(out, flag),
        Value::Timestamp(instant) => timestamp(out, *instant),
        Value::Date(date) => {
            let _ = write!(out, "\"{date}\"");
        }
    }
}

/// A number with its exact digits: never an exponent, never rounded to a float.
fn decimal(out: &mut Vec<u8>, number: &Decimal) {
    let _ = write!(out, "{number}");
}
