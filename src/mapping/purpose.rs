//! A purpose of a mapping, compiled, and what a record states of it.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use super::cel::{Answer, Expression};
use super::error::Errors;
use super::fields::Fields;
use super::instant;
use crate::api::mapping_version::{Authority, ConsentMapping, LegalBasis, RegionRule, TraitType};
use crate::consent::{Denial, Statement};
use crate::record::Field;

/// How far the CRM's clock may be ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// A date without a zone is taken as UTC's; the earliest zones are so far ahead of it.
/// <https://data.iana.org/time-zones/tzdb/> has `Pacific/Kiritimati`.
const EARLIEST_ZONE: SignedDuration = SignedDuration::from_hours(14);

/// A purpose.
#[derive(Debug)]
pub(super) struct Purpose {
    name: String,
    /// What the CDP calls it.
    sent_as: String,
    basis: LegalBasis,
    rule: Rule,
    authority: Option<Rule>,
    at: Option<usize>,
    expires_after: Option<Span>,
    regions: Vec<Region>,
}

/// A field, and what it must say.
#[derive(Debug)]
struct Rule {
    field: usize,
    granted: Expression,
}

/// What is asked for beside in a region.
#[derive(Debug)]
struct Region {
    when: Expression,
    granted: Expression,
}

impl Purpose {
    /// Compiles a purpose; `path` is where it stands, and `sent_as` what the CDP calls it. None where something is wrong with it.
    pub fn compile(
        consent: &ConsentMapping,
        sent_as: String,
        path: &str,
        fields: &mut Fields,
        errors: &mut Errors,
    ) -> Option<Purpose> {
        let mut compiler = Compiler { fields, errors };
        let (value, rule) = compiler.rule(&consent.from, &consent.granted, path);
        let authority = consent.authoritative.as_ref().map(|Authority { from, granted }| {
            let (_, rule) = compiler.rule(from, granted, &format!("{path}.authoritative"));
            rule
        });
        let at = consent.at.as_ref();
        let at = at.map(|at| compiler.fields.index(at, &format!("{path}.at"), compiler.errors));
        let expires_after = consent.expires_after.as_ref().map(|text| {
            let span = lifetime(text);
            let path = format!("{path}.expiresAfter");
            match &span {
                Err(message) => compiler.errors.add(&path, message.as_str()),
                Ok(_) if at.is_none() => compiler.errors.add(
                    &path,
                    "it counts from the evidence, and nothing says when that is; name the field with its instant in at",
                ),
                Ok(_) => {}
            }
            span
        });
        let regions: Vec<Option<Region>> = consent
            .regions
            .iter()
            .enumerate()
            .map(|(place, RegionRule { when, granted })| {
                let path = format!("{path}.regions[{place}]");
                let when = compiler.expression(when, value, &format!("{path}.when"), "what is neither denies");
                let granted = compiler.expression(granted, value, &format!("{path}.granted"), "only true grants");
                Some(Region {
                    when: when?,
                    granted: granted?,
                })
            })
            .collect();
        let authority = match authority {
            Some(authority) => Some(authority?),
            None => None,
        };
        Some(Purpose {
            name: consent.purpose.clone(),
            sent_as,
            basis: consent.legal_basis,
            rule: rule?,
            authority,
            at,
            expires_after: expires_after.transpose().ok()?,
            regions: regions.into_iter().collect::<Option<_>>()?,
        })
    }

    /// What a record states, without a clock.
    pub fn state<'m>(&'m self, fields: &'m [Field<'m>]) -> Statement<'m> {
        let mut statement = self.stated(self.granted(fields));
        if let Some(at) = self.at {
            match evidence(fields.get(at)) {
                Err(denial) => statement.granted = statement.granted.and(Err(denial)),
                Ok((instant, tolerance)) => {
                    statement.evidence = Some(instant);
                    statement.begins = Some(instant.checked_sub(tolerance).unwrap_or(Timestamp::MIN));
                    statement.ends = self.expires_after.map(|span| end(instant, span));
                }
            }
        }
        statement
    }

    /// What is stated of the purpose of a record that was deleted.
    pub fn deleted(&self) -> Statement<'_> {
        self.stated(Err(Denial::Deleted))
    }

    fn stated(&self, granted: Result<(), Denial>) -> Statement<'_> {
        Statement {
            sent_as: &self.sent_as,
            ..Statement::new(&self.name, self.basis, granted)
        }
    }

    fn granted<'m>(&'m self, fields: &'m [Field<'m>]) -> Result<(), Denial> {
        let authority = self.authority.as_ref().filter(|rule| !is_null(fields.get(rule.field)));
        let rule = authority.unwrap_or(&self.rule);
        if is_null(fields.get(rule.field)) {
            return Err(Denial::Unknown);
        }
        match rule.granted.answer(fields) {
            Answer::True => {}
            Answer::False => return Err(Denial::Refused),
            Answer::Null => return Err(Denial::Unknown),
            Answer::Other => return Err(Denial::Unparsable),
            Answer::Failed => return Err(Denial::Failed),
        }
        for (place, region) in self.regions.iter().enumerate() {
            let place = u8::try_from(place).unwrap_or(u8::MAX);
            match region.when.answer(fields) {
                Answer::False => {}
                Answer::True if region.granted.answer(fields) == Answer::True => {}
                Answer::True => return Err(Denial::Region(place)),
                Answer::Null | Answer::Other | Answer::Failed => return Err(Denial::RegionUnclear(place)),
            }
        }
        Ok(())
    }
}

fn is_null(field: Option<&Field<'_>>) -> bool {
    matches!(field, None | Some(Field::Null))
}

/// The instant of the evidence, and how far ahead of the clock it may be.
fn evidence(field: Option<&Field<'_>>) -> Result<(Timestamp, SignedDuration), Denial> {
    match field {
        None | Some(Field::Null) => Err(Denial::NoEvidence),
        Some(Field::Text(text)) => match instant::instant(text) {
            Some(instant) => Ok((instant, SKEW)),
            None => instant::instant_in(text, &TimeZone::UTC)
                .map(|instant| (instant, EARLIEST_ZONE + SKEW))
                .ok_or(Denial::EvidenceUnparsable),
        },
        Some(Field::Number(_) | Field::Boolean(_)) => Err(Denial::EvidenceUnparsable),
    }
}

/// `730d`, `52w`, `24mo`, `2y`. Other ways to write a span are refused, as the API server does.
fn lifetime(text: &str) -> Result<Span, String> {
    let invalid = || format!("{text:?} is no number of days, weeks, months or years like 730d, 52w, 24mo or 2y");
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_lowercase());
    let number: i64 = digits.parse().map_err(|_| invalid())?;
    if !(1..=99_999).contains(&number) || digits.starts_with(['+', '0']) {
        return Err(invalid());
    }
    let span = Span::new();
    match &text[digits.len()..] {
        "d" => span.try_days(number),
        "w" => span.try_weeks(number),
        "mo" => span.try_months(number),
        "y" => span.try_years(number),
        _ => return Err(invalid()),
    }
    .map_err(|_| format!("{text:?} is longer than the calendar is"))
}

/// When evidence ends: by the calendar in UTC, the 29th of February in a year without one on the 28th. What would end after
/// the last instant there is does so then.
fn end(evidence: Timestamp, span: Span) -> Timestamp {
    let ends = evidence.to_zoned(TimeZone::UTC).checked_add(span);
    ends.map_or(Timestamp::MAX, |ends| ends.timestamp())
}

struct Compiler<'c> {
    fields: &'c mut Fields,
    errors: &'c mut Errors,
}

impl Compiler<'_> {
    /// The field, and the rule where its expression compiles.
    fn rule(&mut self, from: &str, granted: &str, path: &str) -> (usize, Option<Rule>) {
        let field = self.fields.index(from, &format!("{path}.from"), self.errors);
        let granted = self.expression(granted, field, &format!("{path}.granted"), "only true grants");
        (field, granted.map(|granted| Rule { field, granted }))
    }

    /// An expression that gives true or false; `otherwise` says what else would be.
    fn expression(&mut self, source: &str, value: usize, path: &str, otherwise: &str) -> Option<Expression> {
        let (fields, errors) = (&mut *self.fields, &mut *self.errors);
        match Expression::compile(source, Some(value), |name| fields.index(name, path, errors)) {
            Ok(expression) => {
                if let Err(message) = expression.check(TraitType::Boolean, false) {
                    errors.add(path, format!("{message}; {otherwise}"));
                }
                Some(expression)
            }
            Err(faults) => {
                faults.iter().for_each(|fault| errors.add(path, fault.to_string()));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    #[test]
    fn evidence_ends_by_the_calendar() {
        let cases = [
            ("2024-02-29T12:00:00Z", "1y", Some("2025-02-28T12:00:00Z")),
            ("2024-02-29T12:00:00Z", "4y", Some("2028-02-29T12:00:00Z")),
            ("2024-01-31T00:00:00Z", "1mo", Some("2024-02-29T00:00:00Z")),
            ("2024-01-31T00:00:00Z", "30d", Some("2024-03-01T00:00:00Z")),
            ("2024-01-31T00:00:00Z", "2w", Some("2024-02-14T00:00:00Z")),
            ("2024-01-31T00:00:00Z", "99999d", Some("2297-11-14T00:00:00Z")),
            ("2024-01-31T00:00:00Z", "0d", None),
            ("2024-01-31T00:00:00Z", "01d", None),
            ("2024-01-31T00:00:00Z", "+1d", None),
            ("2024-01-31T00:00:00Z", "100000d", None),
            ("2024-01-31T00:00:00Z", "1m", None),
            ("2024-01-31T00:00:00Z", "1h", None),
            ("2024-01-31T00:00:00Z", "1y 2mo", None),
            ("2024-01-31T00:00:00Z", "y", None),
            ("2024-01-31T00:00:00Z", "", None),
        ];
        for (from, text, expected) in cases {
            let ends = lifetime(text).ok().map(|span| end(instant(from), span).to_string());
            assert_eq!(ends.as_deref(), expected, "{from} + {text}");
        }
        assert_eq!(end(Timestamp::MAX, lifetime("1y").expect("a span")), Timestamp::MAX);
    }
}
