//! Exact numbers from digits: never a float on the way.

use std::borrow::Cow;

use rust_decimal::Decimal;

/// What a decimal number can't be.
pub(super) const NOT_A_NUMBER: &str = "is not a decimal number";
/// What [`Decimal`] can't hold.
pub(super) const OUT_OF_RANGE: &str = "is a number of more than 28 digits, which can't be kept exactly";
const NOT_INTEGRAL: &str = "is not a whole number";
const NOT_64_BITS: &str = "is a whole number of more than 64 bits";

/// A number from its plain digits, as JSON writes one: `-12.50`, `1.2E7`. The fraction's zeros at the end are dropped, so
/// that `12.50` and `12.5` are one value.
pub(super) fn decimal(digits: &str) -> Result<Decimal, &'static str> {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        None => (digits, 0),
        Some((mantissa, exponent)) => (mantissa, self::exponent(exponent)?),
    };
    let (sign, unsigned) = match mantissa.as_bytes().first() {
        Some(b'-') => (-1, &mantissa[1..]),
        Some(b'+') => (1, &mantissa[1..]),
        _ => (1, mantissa),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.len() + fraction.len() == 0 || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return Err(NOT_A_NUMBER);
    }
    let fraction = fraction.trim_end_matches('0');
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        number = number
            .checked_mul(10)
            .and_then(|number| number.checked_add(i128::from(digit - b'0')))
            .ok_or(OUT_OF_RANGE)?;
    }
    if number == 0 {
        return Ok(Decimal::ZERO);
    }
    let mut scale = i64::try_from(fraction.len()).map_err(|_| OUT_OF_RANGE)? - exponent;
    while scale < 0 {
        number = number.checked_mul(10).ok_or(OUT_OF_RANGE)?;
        scale += 1;
    }
    while scale > 0 && number % 10 == 0 {
        number /= 10;
        scale -= 1;
    }
    let scale = u32::try_from(scale).map_err(|_| OUT_OF_RANGE)?;
    Decimal::try_from_i128_with_scale(sign * number, scale).map_err(|_| OUT_OF_RANGE)
}

/// The digits behind an `E`. One of more than six digits can't be kept exactly, whatever stands before it.
fn exponent(text: &str) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NOT_A_NUMBER);
    }
    let digits = digits.trim_start_matches('0');
    if digits.len() > 6 {
        return Err(OUT_OF_RANGE);
    }
    let exponent: i64 = if digits.is_empty() {
        0
    } else {
        digits.parse().map_err(|_| NOT_A_NUMBER)?
    };
    Ok(if text.starts_with('-') { -exponent } else { exponent })
}

/// A whole number of 64 bits from its digits; `3.0` and `3E2` are whole.
pub(super) fn integer(digits: &str) -> Result<i64, &'static str> {
    match digits.parse() {
        Ok(integer) => Ok(integer),
        Err(_) => integral(decimal(digits)?),
    }
}

/// A whole number of 64 bits from a decimal one.
pub(super) fn integral(decimal: Decimal) -> Result<i64, &'static str> {
    if !decimal.is_integer() {
        return Err(NOT_INTEGRAL);
    }
    i64::try_from(decimal.trunc().mantissa()).map_err(|_| NOT_64_BITS)
}

/// The plain digits of a number that people write with their own separators: `1.234.567,89` with `,` and `.`.
///
/// The sign between groups is only taken for one where groups stand: the last of three digits, those before it of two
/// (lakh, crore) or three. Otherwise a wrong setting would read `1,5` as fifteen.
pub(super) fn plain_digits(
    text: &str,
    decimal_separator: char,
    group_separator: Option<char>,
) -> Result<Cow<'_, str>, &'static str> {
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let points = text.bytes().filter(|byte| *byte == b'.').count();
    if decimal_separator == '.' && points <= 1 && text.bytes().all(plain) {
        return Ok(Cow::Borrowed(text));
    }
    let (whole, fraction) = match text.split_once(decimal_separator) {
        None => (text, None),
        Some((whole, fraction)) => (whole, Some(fraction)),
    };
    let mut plain = String::with_capacity(text.len());
    match group_separator.filter(|separator| whole.contains(*separator)) {
        None => plain.push_str(whole),
        Some(separator) => {
            let last = whole.split(separator).count() - 1;
            for (position, group) in whole.split(separator).enumerate() {
                let fits = match position {
                    0 => (1..=3).contains(&group.trim_start_matches(['+', '-']).len()),
                    _ if position == last => group.len() == 3,
                    _ => (2..=3).contains(&group.len()),
                };
                if !fits {
                    return Err(NOT_A_NUMBER);
                }
                plain.push_str(group);
            }
        }
    }
    if let Some(fraction) = fraction {
        if fraction.contains(['e', 'E', '.']) {
            return Err(NOT_A_NUMBER);
        }
        plain.push('.');
        plain.push_str(fraction);
    }
    // Only the separators that the mapping names are separators: with a comma set, a point left over is no number.
    let points = plain.bytes().filter(|byte| *byte == b'.').count();
    if points > usize::from(fraction.is_some()) {
        Err(NOT_A_NUMBER)
    } else {
        Ok(Cow::Owned(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_exactly() {
        let cases: &[(&str, Result<&str, &str>)] = &[
            ("0", Ok("0")),
            ("-0", Ok("0")),
            ("-0.0", Ok("0")),
            ("1", Ok("1")),
            ("+1", Ok("1")),
            ("12.50", Ok("12.5")),
            ("1000.0", Ok("1000")),
            ("-0.10", Ok("-0.1")),
            (".5", Ok("0.5")),
            ("5.", Ok("5")),
            ("007", Ok("7")),
            ("1.2E7", Ok("12000000")),
            ("1.2e+07", Ok("12000000")),
            ("1E-3", Ok("0.001")),
            ("120E-1", Ok("12")),
            ("0E999999", Ok("0")),
            ("12345678901234567.89", Ok("12345678901234567.89")),
            ("79228162514264337593543950335", Ok("79228162514264337593543950335")),
            ("0.0000000000000000000000000001", Ok("0.0000000000000000000000000001")),
            ("79228162514264337593543950336", Err(OUT_OF_RANGE)),
            ("0.00000000000000000000000000001", Err(OUT_OF_RANGE)),
            ("1E29", Err(OUT_OF_RANGE)),
            ("1E-29", Err(OUT_OF_RANGE)),
            ("1E999999999999", Err(OUT_OF_RANGE)),
            ("", Err(NOT_A_NUMBER)),
            ("-", Err(NOT_A_NUMBER)),
            (".", Err(NOT_A_NUMBER)),
            ("1.2.3", Err(NOT_A_NUMBER)),
            ("1,5", Err(NOT_A_NUMBER)),
            ("1E", Err(NOT_A_NUMBER)),
            ("E5", Err(NOT_A_NUMBER)),
            ("--1", Err(NOT_A_NUMBER)),
            ("NaN", Err(NOT_A_NUMBER)),
            ("Infinity", Err(NOT_A_NUMBER)),
            (" 1", Err(NOT_A_NUMBER)),
            ("0x10", Err(NOT_A_NUMBER)),
            ("١٢", Err(NOT_A_NUMBER)),
        ];
        for (digits, expected) in cases {
            let read = decimal(digits).map(|number| number.to_string());
            assert_eq!(read.as_deref().map_err(|rule| *rule), *expected, "{digits}");
        }
    }

    #[test]
    fn whole_numbers_take_whole_decimals_and_refuse_the_rest() {
        let cases: &[(&str, Result<i64, &str>)] = &[
            ("3", Ok(3)),
            ("-3", Ok(-3)),
            ("3.0", Ok(3)),
            ("3E2", Ok(300)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808.0", Ok(i64::MIN)),
            ("9223372036854775808", Err(NOT_64_BITS)),
            ("3.5", Err(NOT_INTEGRAL)),
            ("1E40", Err(OUT_OF_RANGE)),
            ("three", Err(NOT_A_NUMBER)),
        ];
        for (digits, expected) in cases {
            assert_eq!(integer(digits), *expected, "{digits}");
        }
    }

    #[test]
    fn separators_are_only_taken_where_they_stand_for_one() {
        type Case<'a> = (&'a str, char, Option<char>, Result<&'a str, &'a str>);
        let cases: &[Case] = &[
            ("1.234,56", ',', Some('.'), Ok("1234.56")),
            ("-1.234.567,8", ',', Some('.'), Ok("-1234567.8")),
            ("1 234,5", ',', Some(' '), Ok("1234.5")),
            ("1'234.5", '.', Some('\''), Ok("1234.5")),
            ("12,34,567.8", '.', Some(','), Ok("1234567.8")),
            ("1234,56", ',', Some('.'), Ok("1234.56")),
            ("1234.56", '.', None, Ok("1234.56")),
            ("1.2E7", '.', None, Err(NOT_A_NUMBER)),
            ("1,5", '.', Some(','), Err(NOT_A_NUMBER)),
            ("1.5", ',', Some('.'), Err(NOT_A_NUMBER)),
            ("1.5", ',', None, Err(NOT_A_NUMBER)),
            ("1,2345", '.', Some(','), Err(NOT_A_NUMBER)),
            (",234", '.', Some(','), Err(NOT_A_NUMBER)),
            ("1,5,6", ',', None, Ok("1.5,6")),
            ("1.2.3", '.', None, Err(NOT_A_NUMBER)),
            ("1.234,5.6", ',', Some('.'), Err(NOT_A_NUMBER)),
        ];
        for (text, decimal_separator, group_separator, expected) in cases {
            let plain = plain_digits(text, *decimal_separator, *group_separator);
            assert_eq!(plain.as_deref().map_err(|rule| *rule), *expected, "{text}");
        }
    }
}
