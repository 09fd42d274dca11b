use std::collections::BTreeMap;

use super::*;
use crate::api::mapping_version::{MappingVersionSpec, TraitType, Transform};
use crate::mapping::error::{CompileError, Errors};
use crate::mapping::fields::Fields;
use crate::mapping::typed::Kinds;

fn compile(yaml: &str, kind: TraitType) -> (Step, Kinds, Vec<CompileError>) {
    let transform: Transform = serde_saphyr::from_str(yaml).expect(yaml);
    let lifecycle = [("Customer", "customer"), ("true", "yes")].map(|(from, to)| (from.to_owned(), to.to_owned()));
    let tables = BTreeMap::from([("lifecycle".to_owned(), BTreeMap::from(lifecycle))]);
    let (mut kinds, mut errors) = (Kinds::FIELD, Errors::default());
    let mut fields = Fields {
        names: vec!["Phone".to_owned(), "MailingCountry".to_owned()],
        uses: Vec::new(),
    };
    let spec = MappingVersionSpec {
        enums: tables,
        ..crate::mapping::tests::spec("{mapping: m, version: 1.0.0, objects: []}")
    };
    let mut compiler = Compiler {
        spec: &spec,
        rates: None,
        to: &kind.into(),
        fields: &mut fields,
        errors: &mut errors,
    };
    let step = compiler.step(&transform, &mut kinds, "t");
    (step.unwrap_or(Step::Trim), kinds, errors.into_vec())
}

fn text(text: &str) -> Field<'_> {
    Field::Text(Cow::Borrowed(text))
}

#[test]
fn each_transform_does_one_thing_to_a_value() {
    use TraitType::{Decimal, Integer, String, Timestamp};
    let sha = "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72";
    let cases: Vec<(&str, TraitType, Field, Result<std::string::String, &str>)> = vec![
        ("trim: {}", String, text(" \u{a0}Ada\n"), Ok("Text(\"Ada\")".into())),
        ("trim: {}", String, text("  "), Ok("Text(\"\")".into())),
        ("trim: {}", String, Field::Null, Ok("Null".into())),
        ("trim: {}", String, Field::Number("7"), Ok("Text(\"7\")".into())),
        (
            "trim: {}",
            String,
            Field::Boolean(true),
            Err("is true or false, not text"),
        ),
        (
            "lower: {}",
            String,
            text("Ada@Example.COM"),
            Ok("Text(\"ada@example.com\")".into()),
        ),
        ("lower: {}", String, text("ÄÖÜ ΑΣ"), Ok("Text(\"äöü ας\")".into())),
        ("upper: {}", String, text("de"), Ok("Text(\"DE\")".into())),
        ("upper: {}", String, text("groß"), Ok("Text(\"GROSS\")".into())),
        (
            "sha256: {}",
            String,
            text("ada@example.com"),
            Ok(format!("Text({sha:?})")),
        ),
        ("sha256: {}", String, Field::Null, Ok("Null".into())),
        (
            "e164: {}",
            String,
            text("+49 30 123456"),
            Ok("Text(\"+4930123456\")".into()),
        ),
        ("e164: {}", String, text("030 123456"), Err(phone::NOT_A_NUMBER)),
        (
            "e164: {default: DE}",
            String,
            text("030 123456"),
            Ok("Text(\"+4930123456\")".into()),
        ),
        (
            "e164: {default: DE}",
            String,
            Field::Number("30123456"),
            Ok("Text(\"+4930123456\")".into()),
        ),
        (
            "timestamp: {zone: Europe/Berlin}",
            Timestamp,
            text("2020-01-31"),
            Ok("Timestamp(2020-01-30T23:00:00Z)".into()),
        ),
        (
            "timestamp: {}",
            Timestamp,
            text("2020-01-31"),
            Ok("Timestamp(2020-01-31T00:00:00Z)".into()),
        ),
        (
            "timestamp: {}",
            Timestamp,
            text("yesterday"),
            Err(instant::NOT_A_LOCAL_TIME),
        ),
        (
            "timestamp: {}",
            Timestamp,
            Field::Number("1"),
            Err(instant::NOT_A_LOCAL_TIME),
        ),
        (
            "decimal: {}",
            Decimal,
            Field::Number("12.50"),
            Ok("Decimal(12.5)".into()),
        ),
        (
            "decimal: {decimalSeparator: \",\", groupSeparator: \".\"}",
            Decimal,
            text("1.234,50"),
            Ok("Decimal(1234.5)".into()),
        ),
        (
            "decimal: {decimalSeparator: \",\"}",
            Decimal,
            text("1.5"),
            Err(number::NOT_A_NUMBER),
        ),
        (
            "decimal: {}",
            Decimal,
            Field::Boolean(true),
            Err("is true or false, not text"),
        ),
        (
            "enum: {table: lifecycle}",
            String,
            text("Customer"),
            Ok("Text(\"customer\")".into()),
        ),
        (
            "enum: {table: lifecycle}",
            String,
            text("customer"),
            Err("enum table \"lifecycle\" has no such value"),
        ),
        (
            "enum: {table: lifecycle, otherwise: Null}",
            String,
            text("x"),
            Ok("Null".into()),
        ),
        (
            "enum: {table: lifecycle, otherwise: Keep}",
            String,
            text("x"),
            Ok("Text(\"x\")".into()),
        ),
        (
            "enum: {table: lifecycle}",
            String,
            Field::Boolean(true),
            Ok("Text(\"yes\")".into()),
        ),
        (
            "default: {value: none}",
            String,
            Field::Null,
            Ok("Text(\"none\")".into()),
        ),
        ("default: {value: none}", String, text(""), Ok("Text(\"\")".into())),
        ("default: {value: '7'}", Integer, Field::Null, Ok("Integer(7)".into())),
        (
            "default: {value: '7'}",
            Integer,
            Field::Number("8"),
            Ok("Digits(\"8\")".into()),
        ),
    ];
    for (yaml, kind, field, expected) in &cases {
        let (step, _, errors) = compile(yaml, *kind);
        assert_eq!(errors, [], "{yaml}");
        let fields = [field.clone(), Field::Null];
        let applied = step
            .apply(Current::of(&fields[0]), &fields)
            .map(|value| format!("{value:?}"));
        assert_eq!(
            applied.map_err(Cow::into_owned),
            expected.clone().map_err(str::to_owned),
            "{yaml} of {field:?}"
        );
    }
}

#[test]
fn a_numbers_country_is_the_fields_code_or_else_the_default() {
    let (step, _, _) = compile("e164: {countryFrom: MailingCountry, default: DE}", TraitType::String);
    let cases = [
        (text("US"), Some("+16502530000")),
        (text(" us "), Some("+16502530000")),
        (text("United States"), Some("+496502530000")),
        (Field::Null, Some("+496502530000")),
        (Field::Boolean(true), Some("+496502530000")),
    ];
    for (country, expected) in cases {
        let fields = [text("(650) 253-0000"), country];
        let applied = step.apply(Current::of(&fields[0]), &fields).ok();
        assert_eq!(
            applied,
            expected.map(|number| Current::Text(Cow::Borrowed(number))),
            "{:?}",
            fields[1]
        );
    }
}

#[test]
fn what_a_transform_leaves_alone_stays_borrowed() {
    for (yaml, unchanged) in [
        ("trim: {}", "Ada Lovelace"),
        ("trim: {}", " Ada "),
        ("lower: {}", "ada@example.com"),
        ("upper: {}", "DE 1"),
        ("e164: {}", "+4930123456"),
        ("enum: {table: lifecycle, otherwise: Keep}", "x"),
        ("enum: {table: lifecycle}", "Customer"),
    ] {
        let fields = [text(unchanged)];
        let (step, _, _) = compile(yaml, TraitType::String);
        let applied = step.apply(Current::of(&fields[0]), &fields);
        assert!(
            matches!(applied, Ok(Current::Text(Cow::Borrowed(_)))),
            "{yaml}: {applied:?}"
        );
    }
}

#[test]
fn settings_that_mean_nothing_are_compile_errors() {
    let cases = [
        (
            "enum: {table: lifecyle}",
            "t.enum.table: no enum table \"lifecyle\"; did you mean \"lifecycle\"?",
        ),
        (
            "timestamp: {zone: Europe/Berln}",
            "t.timestamp.zone: no time zone \"Europe/Berln\" in the IANA database; did you mean \"Europe/Berlin\"?",
        ),
        (
            "e164: {default: ZZ}",
            "t.e164.default: \"ZZ\" is no country with a numbering plan; give its ISO 3166-1 alpha-2 code, like DE",
        ),
        (
            "e164: {countryFrom: Account.BillingCountry}",
            "t.e164.countryFrom: \"Account.BillingCountry\": only the object's own fields, as they are now, can be read; no dot can be in their names",
        ),
        (
            "decimal: {decimalSeparator: x}",
            "t.decimal.decimalSeparator: \"x\" is not one character that is neither a letter, a digit nor a sign",
        ),
        (
            "decimal: {groupSeparator: .}",
            "t.decimal.groupSeparator: '.' is the decimal separator as well",
        ),
        (
            "default: {value: many}",
            "t.default.value: \"many\" is not a decimal number, and the type is Integer",
        ),
    ];
    for (yaml, expected) in cases {
        let (_, _, errors) = compile(yaml, TraitType::Integer);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, [expected], "{yaml}");
    }
}
