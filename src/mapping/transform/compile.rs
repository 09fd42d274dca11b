//! From the transforms that a user wrote to steps, each held against the type of what comes before it.

use std::sync::Arc;

use jiff::tz::TimeZone;
use regex::RegexBuilder;
use serde_json_path::JsonPath;

use super::{HmacKey, Step, Table};
use crate::api::mapping_version::{MappingVersionSpec, TraitType, Transform};
use crate::mapping::error::{Errors, did_you_mean};
use crate::mapping::fields::Fields;
use crate::mapping::instant::{self, Days, Instants};
use crate::mapping::money::{self, Currency, Rates, Reading};
use crate::mapping::phone;
use crate::mapping::typed::{Current, Kinds, Type};

/// The most bytes that a compiled regular expression may take.
const REGEX_SIZE: usize = 1 << 20;

/// Compiles the transforms of one chain.
pub(in crate::mapping) struct Compiler<'c> {
    pub spec: &'c MappingVersionSpec,
    pub rates: Option<&'c Arc<Rates>>,
    /// The type that the chain ends in.
    pub to: &'c Type,
    pub fields: &'c mut Fields,
    pub errors: &'c mut Errors,
}

/// What a transform takes, what it leaves, and whether it is applied to each item of a list.
struct Signature {
    name: &'static str,
    accepted: Kinds,
    leaves: Kinds,
    each: bool,
}

impl Compiler<'_> {
    /// The steps, and the kinds that they leave of those that come in.
    pub fn steps(&mut self, transforms: &[Transform], mut kinds: Kinds, path: &str) -> Vec<Step> {
        let mut steps = Vec::with_capacity(transforms.len());
        for (position, transform) in transforms.iter().enumerate() {
            steps.extend(self.step(transform, &mut kinds, &format!("{path}.transforms[{position}]")));
        }
        if let Some(stray) = kinds.outside(Kinds::fitting(self.to)) {
            let kind = self.to.kind;
            let hint = match kind {
                TraitType::Money => "; the transform money makes an amount",
                TraitType::List => "; the transforms split and multiSelect make a list",
                _ => "",
            };
            let what = if transforms.is_empty() {
                "it is"
            } else {
                "the transforms leave"
            };
            self.errors.add(
                format_args!("{path}.type"),
                format!("{what} {stray}, which does not fit {kind:?}{hint}"),
            );
        }
        steps
    }

    /// One step; none where an error stands in its place.
    pub fn step(&mut self, transform: &Transform, kinds: &mut Kinds, path: &str) -> Option<Step> {
        let Signature {
            name,
            accepted,
            leaves,
            each,
        } = self.signature(transform, *kinds);
        let (left, stray) = kinds.through(accepted, leaves, each);
        if let Some(stray) = stray {
            self.errors.add(
                path,
                format!("{name} can't take {stray}, which is what it may get here"),
            );
        }
        *kinds = left;
        self.compiled(transform, &format!("{path}.{name}"))
    }

    fn signature(&self, transform: &Transform, kinds: Kinds) -> Signature {
        let text = Kinds::FIELD.or(Kinds::TEXT).or(Kinds::INTEGER);
        let of = |name, accepted, leaves, each| Signature {
            name,
            accepted,
            leaves,
            each,
        };
        let textual = |name| of(name, text, Kinds::TEXT, true);
        match transform {
            Transform::Trim {} => textual("trim"),
            Transform::CollapseSpaces {} => textual("collapseSpaces"),
            Transform::Lower {} => textual("lower"),
            Transform::Upper {} => textual("upper"),
            Transform::Title {} => textual("title"),
            Transform::Nfc {} => textual("nfc"),
            Transform::Sha256 {} => textual("sha256"),
            Transform::HmacSha256(_) => textual("hmacSha256"),
            Transform::Slice { .. } => textual("slice"),
            Transform::RegexReplace { .. } => textual("regexReplace"),
            Transform::Redact { .. } => textual("redact"),
            Transform::E164 { .. } => textual("e164"),
            Transform::Email {} => textual("email"),
            Transform::Url { .. } => textual("url"),
            Transform::IsoCountry { .. } => textual("isoCountry"),
            Transform::IsoLanguage { .. } => textual("isoLanguage"),
            Transform::IsoCurrency {} => textual("isoCurrency"),
            Transform::Enum { .. } => of("enum", text.or(Kinds::BOOLEAN), Kinds::TEXT, true),
            Transform::Boolean { .. } => of("boolean", text.or(Kinds::BOOLEAN), Kinds::BOOLEAN, true),
            Transform::Timestamp { .. } => {
                let instants = Kinds::FIELD.or(Kinds::TEXT).or(Kinds::TIMESTAMP);
                of("timestamp", instants, Kinds::TIMESTAMP, true)
            }
            Transform::Date { zone, .. } => {
                let days = Kinds::FIELD.or(Kinds::TEXT).or(Kinds::DATE);
                let days = if zone.is_some() {
                    days.or(Kinds::TIMESTAMP)
                } else {
                    days
                };
                of("date", days, Kinds::DATE, true)
            }
            Transform::Decimal { .. } => of("decimal", text.or(Kinds::DECIMAL), Kinds::DECIMAL, true),
            Transform::Money {
                currency_from,
                currency,
                to,
                ..
            } => {
                let amounts = text.or(Kinds::DECIMAL).or(Kinds::MONEY).or(Kinds::AMOUNT);
                let fixed = to.is_some() || (currency_from.is_none() && currency.is_some());
                of(
                    "money",
                    amounts,
                    if fixed { Kinds::AMOUNT } else { Kinds::MONEY },
                    false,
                )
            }
            Transform::Default { .. } => of("default", kinds, kinds.or(Kinds::of(self.to)), false),
            Transform::Coalesce { .. } => of("coalesce", kinds, kinds.or(Kinds::FIELD), false),
            Transform::Concat { .. } => of("concat", text, Kinds::TEXT, false),
            Transform::Split { index: None, .. } => of("split", text, Kinds::list(Kinds::TEXT), false),
            Transform::Split { .. } => textual("split"),
            Transform::MultiSelect { .. } => of("multiSelect", text, Kinds::list(Kinds::TEXT), false),
            Transform::JsonPath { all, .. } => {
                let documents = Kinds::FIELD.or(Kinds::TEXT).or(Kinds::JSON);
                let found = if *all { Kinds::list(Kinds::FIELD) } else { Kinds::FIELD };
                of("jsonPath", documents, found, false)
            }
        }
    }

    fn compiled(&mut self, transform: &Transform, path: &str) -> Option<Step> {
        Some(match transform {
            Transform::Trim {} => Step::Trim,
            Transform::CollapseSpaces {} => Step::CollapseSpaces,
            Transform::Lower {} => Step::Lower,
            Transform::Upper {} => Step::Upper,
            Transform::Title {} => Step::Title,
            Transform::Nfc {} => Step::Nfc,
            Transform::Sha256 {} => Step::Sha256,
            Transform::HmacSha256(key) => Step::Hmac(Box::new(HmacKey::unread(key.secret_key_ref.clone()))),
            Transform::Slice { start, length } => Step::Slice {
                start: *start,
                length: *length,
            },
            Transform::RegexReplace { pattern, replacement } => return self.regex(pattern, replacement, path),
            Transform::Redact { keep_first, keep_last } => {
                let count = |kept: &Option<u32>| usize::try_from(kept.unwrap_or_default()).unwrap_or(usize::MAX);
                Step::Redact {
                    keep_first: count(keep_first),
                    keep_last: count(keep_last),
                }
            }
            Transform::E164 { country_from, default } => self.e164(country_from.as_deref(), default.as_deref(), path),
            Transform::Email {} => Step::Email,
            Transform::Url {
                default_scheme,
                schemes,
            } => self.url(default_scheme.as_deref(), schemes, path),
            Transform::IsoCountry { to } => Step::IsoCountry(*to),
            Transform::IsoLanguage { to } => Step::IsoLanguage(*to),
            Transform::IsoCurrency {} => Step::IsoCurrency,
            Transform::Timestamp {
                zone,
                formats,
                ambiguous,
            } => {
                self.formats(formats, path);
                Step::Timestamp(Box::new(Instants {
                    zone: self.zone(zone.as_deref(), path).unwrap_or(TimeZone::UTC),
                    formats: formats.clone(),
                    ambiguous: *ambiguous,
                }))
            }
            Transform::Date { formats, zone } => {
                self.formats(formats, path);
                Step::Date(Box::new(Days {
                    formats: formats.clone(),
                    zone: self.zone(zone.as_deref(), path),
                }))
            }
            Transform::Decimal {
                decimal_separator,
                group_separator,
            } => {
                let (decimal_separator, group_separator) =
                    self.separators(decimal_separator.as_deref(), group_separator.as_deref(), path);
                Step::Decimal {
                    decimal_separator,
                    group_separator,
                }
            }
            Transform::Money { .. } => self.money(transform, path)?,
            Transform::Boolean {
                true_words,
                false_words,
            } => self.boolean(true_words, false_words, path),
            Transform::Enum { table, otherwise } => {
                let Some(entries) = self.spec.enums.get(table) else {
                    let hint = did_you_mean(table, self.spec.enums.keys().map(String::as_str));
                    self.errors
                        .add(format_args!("{path}.table"), format!("no enum table {table:?}{hint}"));
                    return None;
                };
                Step::Enum {
                    table: Table::new(entries.iter().map(|(from, to)| (from.clone(), to.clone()))),
                    otherwise: *otherwise,
                    unknown: format!("enum table {table:?} has no such value"),
                }
            }
            Transform::Default { value } => match Current::parse(value, self.to) {
                Ok(value) => Step::Default { value },
                Err(rule) => {
                    let kind = self.to.kind;
                    self.errors.add(
                        format_args!("{path}.value"),
                        format!("{value:?} {rule}, and the type is {kind:?}"),
                    );
                    return None;
                }
            },
            Transform::Coalesce { fields } => Step::Coalesce {
                fields: self.indexes(fields, path),
            },
            Transform::Concat { fields, separator } => Step::Concat {
                fields: self.indexes(fields, path),
                separator: separator.clone(),
            },
            Transform::Split { separator, index } => Step::Split {
                separator: self.separator(separator, path),
                index: *index,
            },
            Transform::MultiSelect { separator } => Step::MultiSelect {
                separator: self.separator(separator.as_deref().unwrap_or(";"), path),
            },
            Transform::JsonPath { path: query, all } => match JsonPath::parse(query) {
                Ok(parsed) => Step::JsonPath {
                    path: Box::new(parsed),
                    all: *all,
                },
                Err(error) => {
                    self.errors
                        .add(format_args!("{path}.path"), format!("is no JSONPath: {error}"));
                    return None;
                }
            },
        })
    }

    fn indexes(&mut self, names: &[String], path: &str) -> Vec<usize> {
        let (fields, errors) = (&mut *self.fields, &mut *self.errors);
        let index =
            |(position, name): (usize, &String)| fields.index(name, &format!("{path}.fields[{position}]"), errors);
        names.iter().enumerate().map(index).collect()
    }

    fn regex(&mut self, pattern: &str, replacement: &str, path: &str) -> Option<Step> {
        let compiled = RegexBuilder::new(pattern).size_limit(REGEX_SIZE).build();
        let regex = match compiled {
            Ok(regex) => regex,
            Err(error) => {
                // the parser draws the place with several lines; the last one says what is wrong
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                self.errors.add(format_args!("{path}.pattern"), last.to_owned());
                return None;
            }
        };
        for group in groups(replacement) {
            let there = match group.parse::<usize>() {
                Ok(number) => number < regex.captures_len(),
                Err(_) => regex.capture_names().flatten().any(|name| name == group),
            };
            if !there {
                let hint = did_you_mean(group, regex.capture_names().flatten());
                self.errors.add(
                    format_args!("{path}.replacement"),
                    format!("the pattern has no group {group:?}{hint}; a name ends where neither letter, digit nor _ follows: write ${{1}}a, and $$ for a dollar sign"),
                );
            }
        }
        Some(Step::RegexReplace {
            pattern: Box::new(regex),
            replacement: replacement.to_owned(),
        })
    }

    fn e164(&mut self, country_from: Option<&str>, default: Option<&str>, path: &str) -> Step {
        let country = country_from.map(|from| self.fields.index(from, &format!("{path}.countryFrom"), self.errors));
        let region = default.and_then(|code| {
            let region = phone::country(code);
            if region.is_none() {
                self.errors.add(
                    format_args!("{path}.default"),
                    format!("{code:?} is no country with a numbering plan; give its ISO 3166-1 alpha-2 code, like DE"),
                );
            }
            region
        });
        Step::E164 {
            country,
            default: region,
        }
    }

    fn url(&mut self, default_scheme: Option<&str>, schemes: &[String], path: &str) -> Step {
        let schemes = match schemes {
            [] => ["http", "https"].map(str::to_owned).to_vec(),
            given => given.to_vec(),
        };
        for (position, scheme) in schemes.iter().enumerate() {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
            if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(fits) {
                self.errors.add(
                    format_args!("{path}.schemes[{position}]"),
                    format!("{scheme:?} is no scheme in lower case, like https"),
                );
            }
        }
        if let Some(default) = default_scheme.filter(|default| !schemes.iter().any(|scheme| scheme == default)) {
            let hint = did_you_mean(default, schemes.iter().map(String::as_str));
            self.errors.add(
                format_args!("{path}.defaultScheme"),
                format!("{default:?} is none of the schemes that are taken{hint}"),
            );
        }
        Step::Url {
            default_scheme: default_scheme.map(str::to_owned),
            schemes,
        }
    }

    fn formats(&mut self, formats: &[String], path: &str) {
        for (position, format) in formats.iter().enumerate() {
            if let Some(fault) = instant::fault(format) {
                self.errors.add(
                    format_args!("{path}.formats[{position}]"),
                    format!("{format:?} {fault}"),
                );
            }
        }
    }

    fn zone(&mut self, name: Option<&str>, path: &str) -> Option<TimeZone> {
        let name = name?;
        let zone = TimeZone::get(name).ok();
        if zone.is_none() {
            let known: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
            let hint = did_you_mean(name, known.iter().map(String::as_str));
            self.errors.add(
                format_args!("{path}.zone"),
                format!("no time zone {name:?} in the IANA database{hint}"),
            );
        }
        zone
    }

    fn separators(&mut self, decimal: Option<&str>, group: Option<&str>, path: &str) -> (char, Option<char>) {
        let errors = &mut *self.errors;
        let mut separator = |key: &str, text: Option<&str>| {
            let text = text?;
            let mut characters = text.chars();
            match (characters.next(), characters.next()) {
                (Some(single), None) if !single.is_alphanumeric() && !"+-".contains(single) => Some(single),
                _ => {
                    errors.add(
                        format_args!("{path}.{key}"),
                        format!("{text:?} is not one character that is neither a letter, a digit nor a sign"),
                    );
                    None
                }
            }
        };
        let decimal_separator = separator("decimalSeparator", decimal).unwrap_or('.');
        let group_separator = separator("groupSeparator", group);
        if group_separator == Some(decimal_separator) {
            errors.add(
                format_args!("{path}.groupSeparator"),
                format!("{decimal_separator:?} is the decimal separator as well"),
            );
        }
        (decimal_separator, group_separator)
    }

    fn separator(&mut self, separator: &str, path: &str) -> String {
        if separator.is_empty() {
            self.errors.add(
                format_args!("{path}.separator"),
                "is empty; name what stands between the parts",
            );
        }
        separator.to_owned()
    }

    fn money(&mut self, transform: &Transform, path: &str) -> Option<Step> {
        let Transform::Money {
            currency_from,
            currency,
            to,
            rounding,
            decimal_separator,
            group_separator,
        } = transform
        else {
            return None;
        };
        let (decimal_separator, group_separator) =
            self.separators(decimal_separator.as_deref(), group_separator.as_deref(), path);
        let currency_from = currency_from
            .as_ref()
            .map(|from| self.fields.index(from, &format!("{path}.currencyFrom"), self.errors));
        let mut named = |key: &str, code: &Option<String>| -> Option<Currency> {
            money::named(code.as_ref()?, format_args!("{path}.{key}"), self.errors)
        };
        let (currency, to) = (named("currency", currency), named("to", to));
        let to = match (to, self.rates) {
            (None, _) => None,
            (Some(_), None) => {
                self.errors
                    .add(format_args!("{path}.to"), "the mapping has no spec.rates to convert by");
                None
            }
            (Some(to), Some(rates)) => {
                for (key, currency) in [("to", Some(to)), ("currency", currency)] {
                    let Some(lacking) = currency.filter(|currency| rates.of(*currency).is_none()) else {
                        continue;
                    };
                    self.errors.add(
                        format_args!("{path}.{key}"),
                        format!("spec.rates has no rate for {:?}", lacking.code),
                    );
                }
                Some((to, Arc::clone(rates)))
            }
        };
        Some(Step::Money(Box::new(Reading {
            currency_from,
            currency,
            to,
            rounding: *rounding,
            decimal_separator,
            group_separator,
        })))
    }

    fn boolean(&mut self, true_words: &[String], false_words: &[String], path: &str) -> Step {
        for (key, words) in [("trueWords", true_words), ("falseWords", false_words)] {
            if words.is_empty() {
                self.errors
                    .add(format_args!("{path}.{key}"), "is empty; list at least one word");
            }
        }
        for (position, word) in false_words.iter().enumerate() {
            if let Some(earlier) = true_words.iter().position(|other| other == word) {
                self.errors.add(
                    format_args!("{path}.falseWords[{position}]"),
                    format!("{word:?} is already trueWords[{earlier}]"),
                );
            }
        }
        let words = |words: &[String], meaning: bool| -> Vec<(String, bool)> {
            words.iter().map(|word| (word.clone(), meaning)).collect()
        };
        Step::Boolean(Table::new(
            words(true_words, true).into_iter().chain(words(false_words, false)),
        ))
    }
}

/// The groups that a replacement names: `$1`, `$name`, `${name}`; `$$` is a dollar sign.
fn groups(replacement: &str) -> Vec<&str> {
    let mut groups = Vec::new();
    let mut rest = replacement;
    while let Some((_, after)) = rest.split_once('$') {
        rest = if let Some(escaped) = after.strip_prefix('$') {
            escaped
        } else if let Some((name, behind)) = after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            groups.push(name);
            behind
        } else {
            let fits = |character: char| character.is_ascii_alphanumeric() || character == '_';
            let end = after.find(|character| !fits(character)).unwrap_or(after.len());
            let (name, behind) = after.split_at(end);
            groups.extend(Some(name).filter(|name| !name.is_empty()));
            behind
        };
    }
    groups
}
