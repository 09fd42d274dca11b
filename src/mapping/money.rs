//! Amounts of money: exact, in a currency of ISO 4217, rounded to its minor unit.
//!
//! An amount is converted by multiplying and dividing with 28 digits, and only what comes out is rounded.

use std::sync::{Arc, LazyLock};

use iso_currency::{Currency as Listed, IntoEnumIterator};
use rust_decimal::{Decimal, RoundingStrategy};

use super::error::{Errors, did_you_mean};
use super::number;
use super::typed::{Current, Rule};
use super::value::Money;
use crate::api::mapping_version::{ExchangeRates, Rounding};
use crate::record::Field;

pub(super) const NO_CODE: &str = "is no ISO 4217 code of a currency";
const NO_CURRENCY: &str =
    "has no currency: neither its text nor the currency field names one, and the mapping gives none";
const FIELD_NO_CODE: &str = "has a currency field that holds no ISO 4217 code";
const TWO_CURRENCIES: &str = "names another currency than the currency field";
const NOT_THE_MAPPINGS: &str =
    "names another currency than the mapping, which neither reads it from a field nor converts it";
const NO_RATE: &str = "is in a currency for which spec.rates has no rate";
const NO_LITERAL: &str = "is no amount with its currency like 12.50 EUR";

/// A currency of ISO 4217.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Currency {
    pub code: &'static str,
    /// The digits of its minor unit: 2 for EUR, 0 for JPY, 3 for KWD. Gold and the like have none, and are not rounded.
    minor: Option<u32>,
}

/// In the order of their codes.
static CURRENCIES: LazyLock<Vec<Currency>> = LazyLock::new(|| {
    let mut listed: Vec<Currency> = Listed::iter()
        .map(|currency| Currency {
            code: currency.code(),
            minor: currency.exponent().map(u32::from),
        })
        .collect();
    listed.sort_unstable_by_key(|currency| currency.code);
    listed
});

/// The currency of a code of three letters, in either case.
pub(super) fn currency(code: &str) -> Option<Currency> {
    let mut letters: [u8; 3] = code.as_bytes().try_into().ok()?;
    letters.make_ascii_uppercase();
    let found = CURRENCIES
        .binary_search_by(|currency| currency.code.as_bytes().cmp(&letters))
        .ok()?;
    CURRENCIES.get(found).copied()
}

/// The currency that a mapping names, or an error at `path`.
pub(super) fn named(code: &str, path: impl std::fmt::Display, errors: &mut Errors) -> Option<Currency> {
    let found = currency(code).filter(|currency| currency.code == code);
    if found.is_none() {
        let hint = did_you_mean(code, CURRENCIES.iter().map(|currency| currency.code));
        errors.add(path, format!("{code:?} {NO_CODE}, like EUR{hint}"));
    }
    found
}

/// A mapping's exchange rates.
#[derive(Debug)]
pub(super) struct Rates {
    /// In the order of their codes, with the base among them.
    rates: Vec<(&'static str, Decimal)>,
}

impl Rates {
    pub fn compile(spec: &ExchangeRates, errors: &mut Errors) -> Rates {
        let mut rates = Vec::with_capacity(spec.rates.len() + 1);
        if let Some(base) = named(&spec.base, "spec.rates.base", errors) {
            rates.push((base.code, Decimal::ONE));
        }
        for (code, rate) in &spec.rates {
            let path = format!("spec.rates.rates.{code}");
            let Some(currency) = named(code, &path, errors) else {
                continue;
            };
            match number::decimal(rate) {
                Ok(rate) if *code == spec.base && rate != Decimal::ONE => {
                    errors.add(&path, "is the base's own rate, and that is 1");
                }
                Ok(rate) if rate > Decimal::ZERO => {
                    if *code != spec.base {
                        rates.push((currency.code, rate));
                    }
                }
                Ok(_) => errors.add(&path, format!("{rate:?} is not greater than zero")),
                Err(rule) => errors.add(&path, format!("{rate:?} {rule}")),
            }
        }
        rates.sort_unstable();
        Rates { rates }
    }

    pub fn of(&self, currency: Currency) -> Option<Decimal> {
        let found = self
            .rates
            .binary_search_by(|(code, _)| (*code).cmp(currency.code))
            .ok()?;
        self.rates.get(found).map(|(_, rate)| *rate)
    }
}

/// How an amount is read, converted and rounded.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub currency_from: Option<usize>,
    pub currency: Option<Currency>,
    pub to: Option<(Currency, Arc<Rates>)>,
    pub rounding: Rounding,
    pub decimal_separator: char,
    pub group_separator: Option<char>,
}

impl Reading {
    /// The amount of money that a value of the record with these fields is.
    pub fn read<'m>(&self, value: Current<'m>, fields: &[Field<'_>]) -> Result<Money, Rule<'m>> {
        let (amount, written) = match value {
            Current::Money(money) => (money.amount, currency(money.currency)),
            Current::Decimal(decimal) => (decimal, None),
            Current::Integer(integer) => (integer.into(), None),
            Current::Digits(digits) => (number::decimal(&digits)?, None),
            value => {
                let text = value.text()?;
                let (written, digits) = split(&text);
                let digits = number::plain_digits(digits, self.decimal_separator, self.group_separator)?;
                (number::decimal(&digits)?, written)
            }
        };
        let beside = match self.currency_from.and_then(|field| fields.get(field)) {
            None | Some(Field::Null) => None,
            Some(Field::Text(code)) if code.trim().is_empty() => None,
            Some(Field::Text(code)) => Some(currency(code.trim()).ok_or(FIELD_NO_CODE)?),
            Some(_) => return Err(FIELD_NO_CODE.into()),
        };
        if let (Some(written), Some(beside)) = (written, beside)
            && written != beside
        {
            return Err(TWO_CURRENCIES.into());
        }
        let fixed = self
            .currency
            .filter(|_| self.currency_from.is_none() && self.to.is_none());
        if let (Some(written), Some(fixed)) = (written, fixed)
            && written != fixed
        {
            return Err(NOT_THE_MAPPINGS.into());
        }
        let own = written.or(beside).or(self.currency).ok_or(NO_CURRENCY)?;
        let (amount, currency) = match &self.to {
            Some((to, rates)) if *to != own => (convert(amount, own, *to, rates)?, *to),
            _ => (amount, own),
        };
        Ok(rounded(amount, currency, self.rounding))
    }
}

fn convert(amount: Decimal, from: Currency, to: Currency, rates: &Rates) -> Result<Decimal, &'static str> {
    let (from, to) = (rates.of(from).ok_or(NO_RATE)?, rates.of(to).ok_or(NO_RATE)?);
    amount
        .checked_mul(to)
        .and_then(|product| product.checked_div(from))
        .ok_or(number::OUT_OF_RANGE)
}

fn rounded(amount: Decimal, currency: Currency, rounding: Rounding) -> Money {
    let strategy = match rounding {
        Rounding::HalfEven => RoundingStrategy::MidpointNearestEven,
        Rounding::HalfUp => RoundingStrategy::MidpointAwayFromZero,
    };
    let amount = match currency.minor {
        Some(digits) if amount.scale() > digits => amount.round_dp_with_strategy(digits, strategy).normalize(),
        _ => amount,
    };
    Money {
        // never a negative zero
        amount: if amount.is_zero() { Decimal::ZERO } else { amount },
        currency: currency.code,
    }
}

/// The currency whose code stands in capitals before or behind the digits, and the rest.
fn split(text: &str) -> (Option<Currency>, &str) {
    let capitals = |code: &&str| code.bytes().all(|byte| byte.is_ascii_uppercase());
    let known = |code: &str| currency(Some(code).filter(capitals)?);
    if let Some((before, rest)) = text.split_at_checked(3)
        && let Some(currency) = known(before)
    {
        return (Some(currency), rest.trim_start());
    }
    if let Some((rest, behind)) = text.len().checked_sub(3).and_then(|at| text.split_at_checked(at))
        && let Some(currency) = known(behind)
    {
        return (Some(currency), rest.trim_end());
    }
    (None, text)
}

/// An amount as a mapping writes one: `12.50 EUR`.
pub(super) fn literal(text: &str) -> Result<Money, &'static str> {
    match split(text) {
        (Some(currency), digits) => {
            let amount = number::decimal(digits).map_err(|_| NO_LITERAL)?;
            Ok(rounded(amount, currency, Rounding::HalfEven))
        }
        (None, _) => Err(NO_LITERAL),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use super::*;

    fn rates() -> Arc<Rates> {
        let rates = [("USD", "1.0834"), ("JPY", "163.5"), ("KWD", "0.3321"), ("EUR", "1.0")];
        let spec = ExchangeRates {
            base: "EUR".to_owned(),
            date: jiff::civil::date(2026, 11, 1),
            rates: rates.map(|(code, rate)| (code.to_owned(), rate.to_owned())).into(),
        };
        let mut errors = Errors::default();
        let rates = Rates::compile(&spec, &mut errors);
        assert_eq!(errors.into_vec(), []);
        Arc::new(rates)
    }

    fn reading(currency_code: Option<&str>, to: Option<&str>) -> Reading {
        Reading {
            currency_from: Some(0),
            currency: currency_code.and_then(currency),
            to: to.and_then(currency).map(|to| (to, rates())),
            rounding: Rounding::HalfEven,
            decimal_separator: '.',
            group_separator: Some(','),
        }
    }

    #[test]
    fn an_amount_is_in_the_currency_that_is_named_and_of_its_minor_unit() {
        type Case<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Result<&'a str, &'a str>);
        let cases: &[Case] = &[
            ("12.50", None, Some("EUR"), Ok("12.5 EUR")),
            ("12.50", Some("USD"), Some("EUR"), Ok("12.5 USD")),
            ("12.50", Some(" usd "), None, Ok("12.5 USD")),
            ("12.50", Some(""), Some("EUR"), Ok("12.5 EUR")),
            ("12.50", Some("US Dollar"), Some("EUR"), Err(FIELD_NO_CODE)),
            ("12.50", None, None, Err(NO_CURRENCY)),
            ("1,234.505 EUR", None, None, Ok("1234.5 EUR")),
            ("EUR 1,234.515", None, None, Ok("1234.52 EUR")),
            ("EUR1", None, None, Ok("1 EUR")),
            ("1\u{a0}EUR", None, None, Ok("1 EUR")),
            ("1 EUR", Some("USD"), None, Err(TWO_CURRENCIES)),
            ("1 EUR", Some("EUR"), None, Ok("1 EUR")),
            ("1 eur", None, None, Err(number::NOT_A_NUMBER)),
            ("€ 1", None, Some("EUR"), Err(number::NOT_A_NUMBER)),
            ("1234.5", Some("JPY"), None, Ok("1234 JPY")),
            ("1235.5", Some("JPY"), None, Ok("1236 JPY")),
            ("1.2345", Some("KWD"), None, Ok("1.234 KWD")),
            ("1.23456", Some("CLF"), None, Ok("1.2346 CLF")),
            ("1.23456789", Some("XAU"), None, Ok("1.23456789 XAU")),
            ("-0.004", Some("EUR"), None, Ok("0 EUR")),
            ("-2.675", Some("EUR"), None, Ok("-2.68 EUR")),
            (
                "123456789012345678.99",
                Some("EUR"),
                None,
                Ok("123456789012345678.99 EUR"),
            ),
            ("NA", Some("EUR"), None, Err(number::NOT_A_NUMBER)),
            ("", Some("EUR"), None, Err(number::NOT_A_NUMBER)),
        ];
        for (text, beside, default, expected) in cases {
            let fields = [beside.map_or(Field::Null, |code| Field::Text(Cow::Borrowed(code)))];
            let read = reading(*default, None).read(Current::Text(Cow::Borrowed(text)), &fields);
            let read = read.map(|money| format!("{} {}", money.amount, money.currency));
            assert_eq!(
                read,
                expected.map(str::to_owned).map_err(Cow::Borrowed),
                "{text} {beside:?}"
            );
        }
    }

    #[test]
    fn the_mappings_one_currency_is_the_only_one() {
        let one = Reading {
            currency_from: None,
            ..reading(Some("EUR"), None)
        };
        let read = |text| {
            one.read(Current::Text(Cow::Borrowed(text)), &[])
                .map(|money| money.currency)
        };
        assert_eq!(read("1 EUR"), Ok("EUR"));
        assert_eq!(read("1"), Ok("EUR"));
        assert_eq!(read("1 USD"), Err(NOT_THE_MAPPINGS.into()));
    }

    #[test]
    fn an_amount_is_converted_by_the_mappings_rates_and_rounded_once() {
        let cases: &[(&str, &str, &str, Result<&str, &str>)] = &[
            ("100", "EUR", "EUR", Ok("100 EUR")),
            ("100", "EUR", "USD", Ok("108.34 USD")),
            ("108.34", "USD", "EUR", Ok("100 EUR")),
            ("100", "USD", "EUR", Ok("92.3 EUR")),
            ("100", "EUR", "JPY", Ok("16350 JPY")),
            ("10000", "JPY", "KWD", Ok("20.312 KWD")),
            ("100", "GBP", "EUR", Err(NO_RATE)),
            ("79228162514264337593543950335", "EUR", "USD", Err(number::OUT_OF_RANGE)),
        ];
        for (digits, from, to, expected) in cases {
            let fields = [Field::Text(Cow::Borrowed(from))];
            let read = reading(None, Some(to)).read(Current::Digits(Cow::Borrowed(digits)), &fields);
            let read = read.map(|money| format!("{} {}", money.amount, money.currency));
            assert_eq!(
                read,
                expected.map(str::to_owned).map_err(Cow::Borrowed),
                "{digits} {from} {to}"
            );
        }
    }

    #[test]
    fn the_middle_is_rounded_to_the_even_one_or_up() {
        let cases = [
            ("0.125", "0.12", "0.13"),
            ("0.135", "0.14", "0.14"),
            ("-0.125", "-0.12", "-0.13"),
        ];
        for (digits, even, up) in cases {
            let amount = number::decimal(digits).expect("a number");
            let euro = currency("EUR").expect("a currency");
            let by = |rounding| rounded(amount, euro, rounding).amount.to_string();
            assert_eq!(
                (by(Rounding::HalfEven), by(Rounding::HalfUp)),
                (even.to_owned(), up.to_owned())
            );
        }
    }

    #[test]
    fn rates_that_mean_nothing_are_compile_errors() {
        let rates = [
            ("USD", "0"),
            ("JPY", "many"),
            ("EURO", "1"),
            ("GBP", "-1"),
            ("EUR", "2"),
        ];
        let spec = ExchangeRates {
            base: "EUR".to_owned(),
            date: jiff::civil::date(2026, 11, 1),
            rates: BTreeMap::from(rates.map(|(code, rate)| (code.to_owned(), rate.to_owned()))),
        };
        let mut errors = Errors::default();
        Rates::compile(&spec, &mut errors);
        let errors: Vec<String> = errors.into_vec().iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "spec.rates.rates.EUR: is the base's own rate, and that is 1",
                "spec.rates.rates.EURO: \"EURO\" is no ISO 4217 code of a currency, like EUR; did you mean \"EUR\"?",
                "spec.rates.rates.GBP: \"-1\" is not greater than zero",
                "spec.rates.rates.JPY: \"many\" is not a decimal number",
                "spec.rates.rates.USD: \"0\" is not greater than zero",
            ]
        );
    }
}
