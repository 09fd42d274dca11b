//! The transforms: the closed list of what can be done to a value without an expression.
//!
//! Each takes the value that the one before it left. Null passes through all of them but `default`, `coalesce` and
//! `concat`. A transform of text is applied to each item of a list, and an item that becomes null is left out. What changes
//! nothing copies nothing: text stays borrowed from the page that it was read from.

mod compile;

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use regex::Regex;
use rlibphonenumber::Region;
use rust_decimal::Decimal;
use serde_json_path::JsonPath;
use sha2::Sha256;

use super::instant::{Days, Instants};
use super::money::Reading;
use super::typed::{Current, Rule, word};
use super::{address, instant, iso, json, money, number, phone, text};
use crate::api::common::SecretKeySelector;
use crate::api::mapping_version::{CountryCode, LanguageCode, Otherwise};
use crate::record::Field;

pub(super) use compile::Compiler;

const UNLISTED: &str = "is none of the words for true or false";
const NO_KEY: &str = "can't be hashed: the key was not read from its Secret";

/// One compiled transform.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// `trim`: `" Ada "` → `"Ada"`, by Unicode's white space.
    Trim,
    /// `collapseSpaces`: `"Ada  Lovelace"` → `"Ada Lovelace"`.
    CollapseSpaces,
    /// `lower`: `"ADA@Example.COM"` → `"ada@example.com"`.
    Lower,
    /// `upper`: `"de"` → `"DE"`, `"ß"` → `"SS"`.
    Upper,
    /// `title`: `"ADA o'neil"` → `"Ada O'neil"`.
    Title,
    /// `nfc`: `e` and a combining acute accent → `é`.
    Nfc,
    /// `sha256`: `"ada@example.com"` → `"b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72"`.
    Sha256,
    /// `hmacSha256: {secretKeyRef: {name: hashing, key: key}}`.
    Hmac(Box<HmacKey>),
    /// `slice: {start: -4}`: `"4111111111111111"` → `"1111"`.
    Slice { start: i32, length: Option<u32> },
    /// `regexReplace: {pattern: "[^0-9]"}`: `"12 34"` → `"1234"`.
    RegexReplace { pattern: Box<Regex>, replacement: String },
    /// `redact: {keepLast: 4}`: `"4111111111111111"` → `"***1111"`.
    Redact { keep_first: usize, keep_last: usize },
    /// `e164: {countryFrom: MailingCountry, default: DE}`: `"030 123456"` → `"+4930123456"`.
    E164 {
        country: Option<usize>,
        default: Option<Region>,
    },
    /// `email`: `"Ada@Example.COM"` → `"Ada@example.com"`.
    Email,
    /// `url: {defaultScheme: https}`: `"www.Acme.example"` → `"https://www.acme.example/"`.
    Url {
        default_scheme: Option<String>,
        schemes: Vec<String>,
    },
    /// `isoCountry`: `"Germany"` → `"DE"`.
    IsoCountry(CountryCode),
    /// `isoLanguage`: `"de_AT"` → `"de"`.
    IsoLanguage(LanguageCode),
    /// `isoCurrency`: `"eur"` → `"EUR"`.
    IsoCurrency,
    /// `timestamp: {zone: Europe/Berlin}`: `"2020-01-31"` → `2020-01-30T23:00:00Z`.
    Timestamp(Box<Instants>),
    /// `date: {formats: ["%d.%m.%Y"]}`: `"31.01.2020"` → `2020-01-31`.
    Date(Box<Days>),
    /// `decimal: {decimalSeparator: ",", groupSeparator: "."}`: `"1.234,50"` → `1234.5`.
    Decimal {
        decimal_separator: char,
        group_separator: Option<char>,
    },
    /// `money: {currencyFrom: CurrencyIsoCode, to: EUR}`: `12.5` → `11.54 EUR`.
    Money(Box<Reading>),
    /// `boolean: {trueWords: [Ja], falseWords: [Nein]}`: `"Ja"` → true.
    Boolean(Table<bool>),
    /// `enum: {table: lifecycle}`: `"Customer"` → what the table says.
    Enum {
        table: Table<String>,
        otherwise: Otherwise,
        unknown: String,
    },
    /// `default: {value: unknown}`: null → `"unknown"`.
    Default { value: Current<'static> },
    /// `coalesce: {fields: [HomePhone]}`: null → the field's value.
    Coalesce { fields: Vec<usize> },
    /// `concat: {fields: [LastName], separator: " "}`: `"Ada"` → `"Ada Lovelace"`.
    Concat { fields: Vec<usize>, separator: String },
    /// `split: {separator: ","}`: `"a,b"` → a list; with `index: 0` → `"a"`.
    Split { separator: String, index: Option<i32> },
    /// `multiSelect`: `"A;B;A"` → the list of `"A"` and `"B"`.
    MultiSelect { separator: String },
    /// `jsonPath: {path: $.city}`: `{"city": "Köln"}` → `"Köln"`.
    JsonPath { path: Box<JsonPath>, all: bool },
}

/// A key from a Secret, and the hash that it has begun once it was read.
#[derive(Clone, Debug)]
pub(super) struct HmacKey {
    pub selector: SecretKeySelector,
    begun: Option<Hmac<Sha256>>,
}

impl HmacKey {
    pub fn unread(selector: SecretKeySelector) -> HmacKey {
        HmacKey { selector, begun: None }
    }

    pub fn read(&mut self, key: &[u8]) {
        self.begun = Hmac::new_from_slice(key).ok();
    }
}

/// What words stand for, in the words' order.
#[derive(Clone, Debug)]
pub(super) struct Table<T>(Vec<(String, T)>);

impl<T> Table<T> {
    fn new(entries: impl Iterator<Item = (String, T)>) -> Table<T> {
        let mut entries: Vec<(String, T)> = entries.collect();
        entries.sort_by(|(first, _), (second, _)| first.cmp(second));
        Table(entries)
    }

    fn get(&self, text: &str) -> Option<&T> {
        let found = self.0.binary_search_by(|(entry, _)| entry.as_str().cmp(text)).ok()?;
        self.0.get(found).map(|(_, meaning)| meaning)
    }
}

impl Step {
    /// Applies the transform to a value of the record with these fields.
    pub fn apply<'m>(&'m self, value: Current<'m>, fields: &'m [Field<'m>]) -> Result<Current<'m>, Rule<'m>> {
        match (self, value) {
            (Step::Default { value }, Current::Null) => Ok(value.clone()),
            (Step::Coalesce { fields: others }, Current::Null) => Ok(others
                .iter()
                .filter_map(|other| fields.get(*other))
                .find(|other| **other != Field::Null)
                .map_or(Current::Null, Current::of)),
            (
                Step::Concat {
                    fields: others,
                    separator,
                },
                value,
            ) => concat(value, others, separator, fields),
            (_, Current::Null) => Ok(Current::Null),
            (Step::Default { .. } | Step::Coalesce { .. }, value) => Ok(value),
            (_, Current::List(items)) => {
                let mut applied = Vec::with_capacity(items.len());
                for item in items {
                    let item = self.apply(item, fields)?;
                    if item != Current::Null {
                        applied.push(item);
                    }
                }
                Ok(Current::List(applied))
            }
            (_, value) => self.apply_one(value, fields),
        }
    }

    fn apply_one<'m>(&'m self, value: Current<'m>, fields: &'m [Field<'m>]) -> Result<Current<'m>, Rule<'m>> {
        let some =
            |found: Option<Cow<'m, str>>, rule: &'static str| found.map(Current::Text).ok_or(Cow::Borrowed(rule));
        match (self, value) {
            (Step::Trim, value) => Ok(Current::Text(text::trimmed(value.text()?))),
            (Step::CollapseSpaces, value) => Ok(Current::Text(text::collapsed(value.text()?))),
            (Step::Lower, value) => Ok(Current::Text(text::lower(value.text()?))),
            (Step::Upper, value) => Ok(Current::Text(text::upper(value.text()?))),
            (Step::Title, value) => Ok(Current::Text(text::title(&value.text()?).into())),
            (Step::Nfc, value) => Ok(Current::Text(text::nfc(value.text()?))),
            (Step::Sha256, value) => Ok(Current::Text(text::sha256(&value.text()?).into())),
            (Step::Hmac(key), value) => {
                let mut hash = key.begun.clone().ok_or(NO_KEY)?;
                hash.update(value.text()?.as_bytes());
                Ok(Current::Text(text::hexadecimal(&hash.finalize().into_bytes()).into()))
            }
            (Step::Slice { start, length }, value) => Ok(Current::Text(text::slice(value.text()?, *start, *length))),
            (Step::RegexReplace { pattern, replacement }, value) => Ok(Current::Text(match value.text()? {
                Cow::Borrowed(text) => pattern.replace_all(text, replacement.as_str()),
                Cow::Owned(text) => Cow::Owned(pattern.replace_all(&text, replacement.as_str()).into_owned()),
            })),
            (Step::Redact { keep_first, keep_last }, value) => {
                Ok(Current::Text(text::redacted(&value.text()?, *keep_first, *keep_last)))
            }
            (Step::E164 { country, default }, value) => {
                let text = value.text()?;
                let named = match country.and_then(|field| fields.get(field)) {
                    Some(Field::Text(code)) => phone::country(code.trim()),
                    _ => None,
                };
                match phone::e164(&text, named.or(*default)) {
                    Some(number) if number == text => Ok(Current::Text(text)),
                    Some(number) => Ok(Current::Text(Cow::Owned(number))),
                    None => Err(Cow::Borrowed(phone::NOT_A_NUMBER)),
                }
            }
            (Step::Email, value) => some(address::email(value.text()?), address::NO_EMAIL),
            (
                Step::Url {
                    default_scheme,
                    schemes,
                },
                value,
            ) => some(
                address::url(&value.text()?, default_scheme.as_deref(), schemes).map(Cow::Owned),
                address::NO_URL,
            ),
            (Step::IsoCountry(to), value) => some(iso::country(&value.text()?, *to), iso::NO_COUNTRY),
            (Step::IsoLanguage(to), value) => Ok(Current::Text(iso::language(&value.text()?, *to)?.into())),
            (Step::IsoCurrency, value) => some(
                money::currency(&value.text()?).map(|currency| Cow::Borrowed(currency.code)),
                money::NO_CODE,
            ),
            (Step::Timestamp(_), Current::Timestamp(timestamp)) => Ok(Current::Timestamp(timestamp)),
            (Step::Timestamp(instants), Current::Text(text)) => Ok(Current::Timestamp(instants.read(&text)?)),
            // seconds since 1970 are digits: %s
            (Step::Timestamp(instants), Current::Digits(digits)) if !instants.formats.is_empty() => {
                Ok(Current::Timestamp(instants.read(&digits)?))
            }
            (Step::Timestamp(_), _) => Err(Cow::Borrowed(instant::NOT_A_LOCAL_TIME)),
            (Step::Date(_), Current::Date(date)) => Ok(Current::Date(date)),
            (Step::Date(days), Current::Timestamp(instant)) => days
                .of(instant)
                .map(Current::Date)
                .ok_or(Cow::Borrowed(instant::NOT_A_DATE)),
            (Step::Date(days), value) => Ok(Current::Date(days.read(&value.text()?)?)),
            (Step::Decimal { .. }, Current::Decimal(decimal)) => Ok(Current::Decimal(decimal)),
            (Step::Decimal { .. }, Current::Integer(integer)) => Ok(Current::Decimal(Decimal::from(integer))),
            (Step::Decimal { .. }, Current::Digits(digits)) => Ok(Current::Decimal(number::decimal(&digits)?)),
            (
                Step::Decimal {
                    decimal_separator,
                    group_separator,
                },
                value,
            ) => {
                let text = value.text()?;
                let digits = number::plain_digits(&text, *decimal_separator, *group_separator)?;
                Ok(Current::Decimal(number::decimal(&digits)?))
            }
            (Step::Money(reading), value) => reading.read(value, fields).map(Current::Money),
            (Step::Boolean(_), Current::Boolean(boolean)) => Ok(Current::Boolean(boolean)),
            (Step::Boolean(words), value) => match words.get(&value.text()?) {
                Some(boolean) => Ok(Current::Boolean(*boolean)),
                None => Err(Cow::Borrowed(UNLISTED)),
            },
            (
                Step::Enum {
                    table,
                    otherwise,
                    unknown,
                },
                value,
            ) => {
                let key = match value {
                    Current::Boolean(boolean) => Cow::Borrowed(word(boolean)),
                    value => value.text()?,
                };
                match (table.get(&key), otherwise) {
                    (Some(canonical), _) => Ok(Current::Text(Cow::Borrowed(canonical))),
                    (None, Otherwise::Keep) => Ok(Current::Text(key)),
                    (None, Otherwise::Null) => Ok(Current::Null),
                    (None, Otherwise::Reject) => Err(Cow::Borrowed(unknown)),
                }
            }
            (Step::Split { separator, index: None }, value) => {
                Ok(list(value.text()?, |text| text.split(separator.as_str()).collect()))
            }
            (
                Step::Split {
                    separator,
                    index: Some(index),
                },
                value,
            ) => Ok(part(value.text()?, separator, *index).map_or(Current::Null, Current::Text)),
            (Step::MultiSelect { separator }, value) => Ok(list(value.text()?, |text| {
                let mut chosen: Vec<&str> = Vec::new();
                for one in text.split(separator.as_str()).map(str::trim) {
                    if !one.is_empty() && !chosen.contains(&one) {
                        chosen.push(one);
                    }
                }
                chosen
            })),
            (Step::JsonPath { path, all }, Current::Json(document)) => Ok(json::find(path, *all, &document)?),
            (Step::JsonPath { path, all }, value) => Ok(json::find(path, *all, &value.text()?)?),
            // dealt with before
            (Step::Default { .. } | Step::Coalesce { .. } | Step::Concat { .. }, value) => Ok(value),
        }
    }
}

fn concat<'m>(
    value: Current<'m>,
    others: &[usize],
    separator: &str,
    fields: &'m [Field<'m>],
) -> Result<Current<'m>, Rule<'m>> {
    let mut joined: Option<Cow<'m, str>> = match value {
        Current::Null => None,
        value => Some(value.text()?),
    };
    for other in others.iter().filter_map(|other| fields.get(*other)) {
        let part = match Current::of(other) {
            Current::Null => continue,
            part => part.text()?,
        };
        match &mut joined {
            None => joined = Some(part),
            Some(joined) => {
                let joined = joined.to_mut();
                joined.reserve(separator.len() + part.len());
                joined.push_str(separator);
                joined.push_str(&part);
            }
        }
    }
    Ok(joined.map_or(Current::Null, Current::Text))
}

/// A list of parts of a text, borrowed where the text is.
fn list<'m>(text: Cow<'m, str>, parts: impl for<'t> Fn(&'t str) -> Vec<&'t str>) -> Current<'m> {
    Current::List(match text {
        Cow::Borrowed(text) => parts(text)
            .into_iter()
            .map(|part| Current::Text(Cow::Borrowed(part)))
            .collect(),
        Cow::Owned(text) => parts(&text)
            .into_iter()
            .map(|part| Current::Text(Cow::Owned(part.to_owned())))
            .collect(),
    })
}

/// One part of a text, counted from the end where the index is negative.
fn part<'m>(text: Cow<'m, str>, separator: &str, index: i32) -> Option<Cow<'m, str>> {
    fn find<'t>(text: &'t str, separator: &str, index: i32) -> Option<&'t str> {
        let distance = usize::try_from(index.unsigned_abs()).ok()?;
        if index >= 0 {
            text.split(separator).nth(distance)
        } else {
            text.rsplit(separator).nth(distance - 1)
        }
    }
    match text {
        Cow::Borrowed(text) => find(text, separator, index).map(Cow::Borrowed),
        Cow::Owned(text) => find(&text, separator, index).map(|part| Cow::Owned(part.to_owned())),
    }
}

#[cfg(test)]
mod tests;
