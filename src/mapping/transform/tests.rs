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

/// What a chain of transforms makes of a field, as a trait of type `kind` with what `settings` says of it.
fn mapped(settings: &str, transforms: &str, field: &Field<'static>) -> Result<String, String> {
    let yaml = format!(
        "
mapping: m
version: 1.0.0
enums: {{mood: {{'🙂': happy, '👍🏽': approving, Héllo: greeting, NA: sodium}}}}
rates: {{base: EUR, date: 2026-11-01, rates: {{USD: '1.0834', JPY: '163.5'}}}}
objects:
- object: Contact
  entity: Person
  identity: [{{kind: crm_id, from: Id}}]
  traits: [{{trait: t, from: F, {settings}, transforms: {transforms}}}]
"
    );
    let spec = crate::mapping::tests::spec(&yaml);
    let sink = crate::mapping::tests::sink(&[]);
    let plan = crate::mapping::Plan::compile(&spec, "Contact", &sink).map_err(|errors| format!("{errors:?}"))?;
    let value = |name: &String| match name.as_str() {
        "Id" => text("003A"),
        "F" => field.clone(),
        "Currency" => text("USD"),
        "Second" => text("second"),
        "Empty" => text(""),
        "Number" => Field::Number("7"),
        _ => Field::Null,
    };
    let fields: Vec<Field> = plan.fields().iter().map(value).collect();
    let record = crate::record::Record {
        id: Cow::Borrowed("003A"),
        stamp: jiff::Timestamp::UNIX_EPOCH,
        deleted: false,
        fields: &fields,
    };
    let mapped = plan.map(&record).map_err(|rejection| rejection.rule)?;
    Ok(match mapped.traits.first() {
        None => "left out".to_owned(),
        Some((_, value)) => format!("{value:?}"),
    })
}

#[test]
fn chains_give_values_of_the_traits_type() {
    let money =
        |amount: &str, currency: &str| Ok(format!("Money(Money {{ amount: {amount}, currency: {currency:?} }})"));
    let string = |text: &str| Ok(format!("String({text:?})"));
    let strings = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| format!("String({text:?})")).collect();
        Ok(format!("List([{}])", texts.join(", ")))
    };
    let refused = |rule: &str| Err(rule.to_owned());
    let unknown = "enum table \"mood\" has no such value";
    type Case = (&'static str, &'static str, Field<'static>, Result<String, String>);
    let cases: Vec<Case> = vec![
        // text
        (
            "type: String",
            "[{collapseSpaces: {}}, {trim: {}}]",
            text("  a \u{a0} b "),
            string("a b"),
        ),
        (
            "type: String",
            "[{title: {}}]",
            text("ADA o'neil"),
            string("Ada O'neil"),
        ),
        ("type: String", "[{nfc: {}}]", text("Ame\u{301}lie"), string("Amélie")),
        (
            "type: String",
            "[{slice: {start: 1, length: 1}}]",
            text("a👨‍👩‍👧b"),
            string("👨‍👩‍👧"),
        ),
        (
            "type: String",
            "[{redact: {keepLast: 4}}]",
            text("4111111111111111"),
            string("***1111"),
        ),
        ("type: String", "[{redact: {}}]", Field::Number("7"), string("***")),
        (
            "type: String",
            "[{regexReplace: {pattern: '[^0-9]+'}}]",
            text("12 34/56"),
            string("123456"),
        ),
        (
            "type: String",
            "[{regexReplace: {pattern: '^(?<a>\\w+) (\\w+)$', replacement: '$2, ${a} $$'}}]",
            text("Ada Lovelace"),
            string("Lovelace, Ada $"),
        ),
        ("type: String", "[{trim: {}}]", text("null"), string("null")),
        ("type: String", "[{trim: {}}]", text("N/A"), string("N/A")),
        ("type: String", "[{trim: {}}]", text("  "), string("")),
        // addresses and codes
        (
            "type: String",
            "[{email: {}}]",
            text("Ada@Example.COM"),
            string("Ada@example.com"),
        ),
        ("type: String", "[{email: {}}]", text("NA"), refused(address::NO_EMAIL)),
        (
            "type: String",
            "[{url: {defaultScheme: https}}]",
            text("acme.example"),
            string("https://acme.example/"),
        ),
        ("type: String", "[{isoCountry: {}}]", text("Germany"), string("DE")),
        (
            "type: String",
            "[{isoCountry: {to: Numeric}}]",
            text("be"),
            string("056"),
        ),
        ("type: String", "[{isoLanguage: {}}]", text("pt_BR"), string("pt")),
        ("type: String", "[{isoCurrency: {}}]", text("eur"), string("EUR")),
        (
            "type: String",
            "[{isoCurrency: {}}]",
            text("€"),
            refused(money::NO_CODE),
        ),
        // time
        (
            "type: Timestamp",
            "[{timestamp: {zone: Europe/Berlin, formats: ['%d.%m.%Y %H:%M']}}]",
            text("31.12.1899 23:59"),
            Ok("Timestamp(1899-12-31T22:59:00Z)".into()),
        ),
        (
            "type: Timestamp",
            "[{timestamp: {formats: ['%s']}}]",
            Field::Number("1777884067"),
            Ok("Timestamp(2026-05-04T08:41:07Z)".into()),
        ),
        (
            "type: Date",
            "[{date: {formats: ['%d.%m.%Y']}}]",
            text("28.02.2100"),
            Ok("Date(2100-02-28)".into()),
        ),
        (
            "type: Date",
            "[{timestamp: {}}, {date: {zone: America/New_York}}]",
            text("2026-01-01T00:00:00Z"),
            Ok("Date(2025-12-31)".into()),
        ),
        // numbers
        (
            "type: Integer",
            "[]",
            Field::Number("123456789012345678"),
            Ok("Integer(123456789012345678)".into()),
        ),
        (
            "type: String",
            "[]",
            Field::Number("123456789012345678"),
            string("123456789012345678"),
        ),
        (
            "type: Decimal",
            "[{decimal: {}}]",
            text("0.1"),
            Ok("Decimal(0.1)".into()),
        ),
        (
            "type: Money",
            "[{money: {currency: EUR}}]",
            text("12.345"),
            money("12.34", "EUR"),
        ),
        (
            "type: Money",
            "[{money: {currency: JPY}}]",
            Field::Number("1234.5"),
            money("1234", "JPY"),
        ),
        (
            "type: Money",
            "[{money: {currencyFrom: Currency, to: EUR}}]",
            Field::Number("108.34"),
            money("100", "EUR"),
        ),
        (
            "type: Decimal",
            "[{money: {currencyFrom: Currency, to: EUR}}]",
            Field::Number("108.34"),
            Ok("Decimal(100)".into()),
        ),
        (
            "type: Money",
            "[{decimal: {decimalSeparator: ','}}, {money: {currency: KWD, rounding: HalfUp}}]",
            text("1,2345"),
            money("1.235", "KWD"),
        ),
        (
            "type: Money, onNull: Default, default: 0 EUR",
            "[{money: {currency: EUR}}]",
            Field::Null,
            money("0", "EUR"),
        ),
        // words and tables
        (
            "type: Boolean",
            "[{boolean: {trueWords: [Ja, '1'], falseWords: [Nein]}}]",
            text("Ja"),
            Ok("Boolean(true)".into()),
        ),
        (
            "type: Boolean",
            "[{boolean: {trueWords: [Ja, '1'], falseWords: [Nein]}}]",
            Field::Number("1"),
            Ok("Boolean(true)".into()),
        ),
        (
            "type: Boolean",
            "[{boolean: {trueWords: [Ja], falseWords: [Nein]}}]",
            Field::Boolean(false),
            Ok("Boolean(false)".into()),
        ),
        (
            "type: Boolean",
            "[{boolean: {trueWords: [Ja], falseWords: [Nein]}}]",
            text("ja"),
            refused(UNLISTED),
        ),
        (
            "type: Boolean",
            "[{boolean: {trueWords: [Ja], falseWords: [Nein]}}]",
            text(""),
            refused(UNLISTED),
        ),
        ("type: Enum", "[{enum: {table: mood}}]", text("🙂"), string("happy")),
        ("type: Enum", "[{enum: {table: mood}}]", text("👍🏽"), string("approving")),
        ("type: Enum", "[{enum: {table: mood}}]", text("👍"), refused(unknown)),
        ("type: Enum", "[{enum: {table: mood}}]", text("NA"), string("sodium")),
        (
            "type: Enum",
            "[{nfc: {}}, {enum: {table: mood}}]",
            text("He\u{301}llo"),
            string("greeting"),
        ),
        ("type: Enum, enum: mood", "[]", text("happy"), string("happy")),
        (
            "type: Enum, enum: mood",
            "[{lower: {}}]",
            text("Sad"),
            refused("is no canonical value of enum table \"mood\""),
        ),
        (
            "type: Enum",
            "[{enum: {table: mood, otherwise: Keep}}]",
            text("sad"),
            refused("is no canonical value of enum table \"mood\""),
        ),
        // lists
        (
            "type: List, items: String",
            "[{multiSelect: {}}]",
            text("A; B;;A"),
            strings(&["A", "B"]),
        ),
        (
            "type: List, items: String",
            "[{multiSelect: {}}]",
            text(""),
            strings(&[]),
        ),
        (
            "type: List, items: String",
            "[{multiSelect: {}}]",
            Field::Null,
            Ok("left out".into()),
        ),
        (
            "type: List, items: Enum",
            "[{multiSelect: {}}, {enum: {table: mood, otherwise: Null}}]",
            text("🙂;x;NA"),
            strings(&["happy", "sodium"]),
        ),
        (
            "type: List, items: Enum",
            "[{multiSelect: {}}, {enum: {table: mood}}]",
            text("🙂;x"),
            refused(unknown),
        ),
        (
            "type: List, items: String",
            "[{split: {separator: ','}}, {trim: {}}, {upper: {}}]",
            text("a, b,a"),
            strings(&["A", "B", "A"]),
        ),
        (
            "type: List, items: Integer",
            "[{split: {separator: ','}}]",
            text("1,20"),
            Ok("List([Integer(1), Integer(20)])".into()),
        ),
        (
            "type: List, items: Integer",
            "[{split: {separator: ','}}]",
            text("1,x"),
            refused(number::NOT_A_NUMBER),
        ),
        (
            "type: List, items: Date",
            "[{split: {separator: ' '}}, {date: {formats: ['%d.%m.%Y']}}]",
            text("1.2.2026 3.4.2026"),
            Ok("List([Date(2026-02-01), Date(2026-04-03)])".into()),
        ),
        (
            "type: List, items: Integer, onNull: Default, default: '[1, 2]'",
            "[{multiSelect: {}}]",
            Field::Null,
            Ok("List([Integer(1), Integer(2)])".into()),
        ),
        (
            "type: String",
            "[{split: {separator: '@', index: -1}}]",
            text("ada@example.com"),
            string("example.com"),
        ),
        (
            "type: String",
            "[{split: {separator: '@', index: 1}}]",
            text("ada"),
            Ok("left out".into()),
        ),
        // JSON
        (
            "type: Json",
            "[]",
            text("{ \"a\": [1.50, null] }"),
            Ok("Json(\"{\\\"a\\\":[1.50,null]}\")".into()),
        ),
        ("type: Json", "[]", text("NA"), refused("is not a JSON document")),
        (
            "type: Decimal",
            "[{jsonPath: {path: $.a}}]",
            text("{\"a\": 12345678901234567.89}"),
            Ok("Decimal(12345678901234567.89)".into()),
        ),
        (
            "type: List, items: String",
            "[{jsonPath: {path: '$.a[*].b', all: true}}, {lower: {}}]",
            text("{\"a\": [{\"b\": \"X\"}, {\"b\": \"Y\"}]}"),
            strings(&["x", "y"]),
        ),
        // several fields
        (
            "type: String",
            "[{coalesce: {fields: [None, Empty, Second]}}]",
            Field::Null,
            string(""),
        ),
        ("type: String", "[{coalesce: {fields: [Second]}}]", text(""), string("")),
        (
            "type: String",
            "[{coalesce: {fields: [None]}}]",
            Field::Null,
            Ok("left out".into()),
        ),
        (
            "type: String",
            "[{concat: {fields: [None, Second, Number], separator: ' '}}]",
            text("first"),
            string("first second 7"),
        ),
        (
            "type: String",
            "[{concat: {fields: [Second], separator: ' '}}]",
            Field::Null,
            string("second"),
        ),
        (
            "type: String",
            "[{concat: {fields: [None], separator: ' '}}]",
            Field::Null,
            Ok("left out".into()),
        ),
        // nulls
        (
            "type: String, onNull: Unset",
            "[{trim: {}}]",
            Field::Null,
            Ok("Null".into()),
        ),
        (
            "type: String, onNull: Default, default: none",
            "[{trim: {}}]",
            Field::Null,
            string("none"),
        ),
        (
            "type: String, onNull: Default, default: none",
            "[{trim: {}}]",
            text(""),
            string(""),
        ),
        (
            "type: String, onNull: Default, default: none, onError: 'Null'",
            "[{email: {}}]",
            text("x"),
            string("none"),
        ),
        (
            "type: String, onNull: Reject",
            "[{trim: {}}]",
            Field::Null,
            refused("is null"),
        ),
        (
            "type: String, onError: Keep",
            "[{email: {}}]",
            text("x"),
            Ok("left out".into()),
        ),
    ];
    for (settings, transforms, field, expected) in &cases {
        assert_eq!(
            &mapped(settings, transforms, field),
            expected,
            "{settings} {transforms} {field:?}"
        );
    }
}

#[test]
fn every_chain_that_does_not_fit_is_a_compile_error_at_its_path() {
    let cases = [
        (
            "type: Money",
            "[]",
            "type: it is the field's own value, which does not fit Money; the transform money makes an amount",
        ),
        (
            "type: Decimal",
            "[{money: {currencyFrom: Currency}}]",
            "type: the transforms leave an amount in whatever currency the record has, which does not fit Decimal",
        ),
        (
            "type: Money",
            "[{money: {to: CHF}}]",
            "transforms[0].money.to: spec.rates has no rate for \"CHF\"",
        ),
        (
            "type: Money",
            "[{money: {currency: EURO}}]",
            "transforms[0].money.currency: \"EURO\" is no ISO 4217 code of a currency, like EUR; did you mean \"EUR\"?",
        ),
        (
            "type: String",
            "[{multiSelect: {}}]",
            "type: the transforms leave a list, which does not fit String",
        ),
        (
            "type: List, items: String",
            "[]",
            "type: it is the field's own value, which does not fit List; the transforms split and multiSelect make a list",
        ),
        (
            "type: List, items: Boolean",
            "[{multiSelect: {}}]",
            "type: the transforms leave text, which does not fit List; the transforms split and multiSelect make a list",
        ),
        (
            "type: List, items: String",
            "[{multiSelect: {}}, {decimal: {}}, {trim: {}}]",
            "transforms[2]: trim can't take a decimal number, which is what it may get here",
        ),
        (
            "type: List, items: String",
            "[{multiSelect: {}}, {multiSelect: {}}]",
            "transforms[1]: multiSelect can't take a list, which is what it may get here",
        ),
        (
            "type: List",
            "[{multiSelect: {}}]",
            "items: a List needs items: the type of its items, like String",
        ),
        (
            "type: List, items: Json",
            "[{multiSelect: {}}]",
            "items: a List's items can't be Json, only values of one part",
        ),
        (
            "type: String, items: String",
            "[]",
            "items: only a List has items, and the type is String",
        ),
        (
            "type: Enum",
            "[]",
            "enum: an Enum needs enum, the table of its values, or the transform enum",
        ),
        (
            "type: Enum, enum: moods",
            "[]",
            "enum: no enum table \"moods\"; did you mean \"mood\"?",
        ),
        (
            "type: String, enum: mood",
            "[]",
            "enum: only an Enum, or a List of them, has a table, and the type is String",
        ),
        (
            "type: Enum",
            "[{enum: {table: moood}}]",
            "transforms[0].enum.table: no enum table \"moood\"; did you mean \"mood\"?",
        ),
        (
            "type: Enum, onNull: Default, default: sad",
            "[{enum: {table: mood}}]",
            "default: \"sad\" is no canonical value of enum table \"mood\", and the type is Enum",
        ),
        (
            "type: String, default: x",
            "[]",
            "default: only onNull: Default takes it; say so, or leave default out",
        ),
        (
            "type: String, onNull: Default",
            "[]",
            "default: onNull: Default needs default, the value to take",
        ),
        (
            "type: Money, onNull: Default, default: '5'",
            "[{money: {currency: EUR}}]",
            "default: \"5\" is no amount with its currency like 12.50 EUR, and the type is Money",
        ),
        (
            "type: List, items: Integer, onNull: Default, default: '[1, \"x\"]'",
            "[{multiSelect: {}}]",
            "default: \"[1, \\\"x\\\"]\" has an item that is not a decimal number, and the type is List",
        ),
        (
            "type: Date",
            "[{timestamp: {}}, {date: {}}]",
            "transforms[1]: date can't take a timestamp, which is what it may get here",
        ),
        (
            "type: Date",
            "[{date: {formats: ['%d.%m.%y']}}]",
            "transforms[0].date.formats[0]: \"%d.%m.%y\" %y leaves open which century or order is meant; %Y is a year of four digits",
        ),
        (
            "type: Date",
            "[{date: {zone: Europe/Berln}}]",
            "transforms[0].date.zone: no time zone \"Europe/Berln\" in the IANA database; did you mean \"Europe/Berlin\"?",
        ),
        (
            "type: Boolean",
            "[{boolean: {trueWords: [Ja], falseWords: [Ja]}}]",
            "transforms[0].boolean.falseWords[0]: \"Ja\" is already trueWords[0]",
        ),
        (
            "type: Boolean",
            "[{boolean: {trueWords: [Ja], falseWords: []}}]",
            "transforms[0].boolean.falseWords: is empty; list at least one word",
        ),
        (
            "type: String",
            "[{regexReplace: {pattern: '(a'}}]",
            "transforms[0].regexReplace.pattern: unclosed group",
        ),
        (
            "type: String",
            "[{regexReplace: {pattern: '(?=a)'}}]",
            "transforms[0].regexReplace.pattern: look-around, including look-ahead and look-behind, is not supported",
        ),
        (
            "type: String",
            "[{url: {defaultScheme: htps}}]",
            "transforms[0].url.defaultScheme: \"htps\" is none of the schemes that are taken; did you mean \"https\"?",
        ),
        (
            "type: String",
            "[{coalesce: {fields: [Account.Name]}}]",
            "transforms[0].coalesce.fields[0]: \"Account.Name\": only the object's own fields, as they are now, can be read; no dot can be in their names",
        ),
    ];
    for (settings, transforms, expected) in cases {
        let yaml = format!(
            "
mapping: m
version: 1.0.0
enums: {{mood: {{'🙂': happy}}}}
rates: {{base: EUR, date: 2026-11-01, rates: {{USD: '1.0834'}}}}
objects:
- object: Contact
  entity: Person
  identity: [{{kind: crm_id, from: Id}}]
  traits: [{{trait: t, from: F, {settings}, transforms: {transforms}}}]
"
        );
        let errors = crate::mapping::Plan::check_spec(&crate::mapping::tests::spec(&yaml));
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [format!("spec.objects[0].traits[0].{expected}")],
            "{settings} {transforms}"
        );
    }
}

#[test]
fn a_keyed_hash_needs_its_key_and_differs_by_it() {
    let yaml = "
mapping: m
version: 1.0.0
objects:
- object: Contact
  entity: Person
  identity: [{kind: crm_id, from: Id, transforms: [{hmacSha256: {secretKeyRef: {name: hashing, key: pepper}}}]}]
";
    let spec = crate::mapping::tests::spec(yaml);
    let selector = SecretKeySelector {
        name: "hashing".to_owned(),
        key: "pepper".to_owned(),
    };
    assert_eq!(spec.secrets(), std::iter::once(selector.clone()).collect());
    let hashed = |key: Option<&str>| {
        let mut plan =
            crate::mapping::Plan::compile(&spec, "Contact", &crate::mapping::tests::sink(&[])).expect("a plan");
        let keys = key.map(|key| (selector.clone(), secrecy::SecretString::from(key)));
        let read = plan.read_keys(&crate::secrets::Secrets::Manifests(keys.into_iter().collect()));
        let fields = [text("what do ya want for nothing?")];
        let record = crate::record::Record {
            id: Cow::Borrowed("003A"),
            stamp: jiff::Timestamp::UNIX_EPOCH,
            deleted: false,
            fields: &fields,
        };
        let id = plan.map(&record).map(|mapped| mapped.user_id.map(Cow::into_owned));
        (read.is_ok(), id.map_err(|rejection| rejection.rule))
    };
    // https://www.rfc-editor.org/rfc/rfc4231#section-4.3
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(hashed(Some("Jefe")), (true, Ok(Some(expected.to_owned()))));
    assert_eq!(hashed(Some("")), (false, Err(NO_KEY.to_owned())));
    assert_eq!(hashed(None), (false, Err(NO_KEY.to_owned())));
}
