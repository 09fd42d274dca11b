use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn compile(source: &str) -> Result<(Expression, Vec<String>), Vec<String>> {
    let mut names: Vec<String> = vec!["Value".to_owned()];
    let compiled = Expression::compile(source, Some(0), |name| {
        names.push(name.to_owned());
        names.len() - 1
    });
    match compiled {
        Ok(expression) => Ok((expression, names)),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

fn text(text: &str) -> Field<'_> {
    Field::Text(Cow::Borrowed(text))
}

fn record() -> BTreeMap<&'static str, Field<'static>> {
    BTreeMap::from([
        ("Value", Field::Boolean(false)),
        ("FirstName", text("Ada")),
        ("LastName", text("Lovelace")),
        ("Empty", Field::Null),
        ("Country", text("DE")),
        ("Optin", Field::Boolean(true)),
        ("Count", Field::Number("7")),
        ("Amount", Field::Number("12.50")),
        ("Modified", text("2026-05-04T08:41:07.000+0000")),
        ("Tags", text("a;b;c")),
    ])
}

fn fields(names: &[String], record: &BTreeMap<&'static str, Field<'static>>) -> Vec<Field<'static>> {
    names
        .iter()
        .map(|name| record.get(name.as_str()).cloned().unwrap_or(Field::Null))
        .collect()
}

#[test]
fn expressions_give_values_without_floats_or_secrets() {
    use TraitType::{Boolean, Date, Decimal, Integer, String, Timestamp};
    let cases: Vec<(&str, TraitType, Result<&str, &str>)> = vec![
        (
            "[record.FirstName, record.LastName].filter(x, x != null).join(' ')",
            String,
            Ok("Text(\"Ada Lovelace\")"),
        ),
        (
            "[record.FirstName, record.Empty].filter(x, x != null).join(' ')",
            String,
            Ok("Text(\"Ada\")"),
        ),
        (
            "[record.Empty].filter(x, x != null).join(' ')",
            String,
            Ok("Text(\"\")"),
        ),
        (
            "record.FirstName + ' ' + record.LastName",
            String,
            Ok("Text(\"Ada Lovelace\")"),
        ),
        ("record[\"FirstName\"]", String, Ok("Text(\"Ada\")")),
        ("record.Empty", String, Ok("Null")),
        (
            "record.Empty == null ? 'none' : record.Empty",
            String,
            Ok("Text(\"none\")"),
        ),
        (
            "record.LastName.lowerAscii().substring(0, 4).upperAscii()",
            String,
            Ok("Text(\"LOVE\")"),
        ),
        (
            "record.LastName.replace('lace', '').trim().charAt(0)",
            String,
            Ok("Text(\"L\")"),
        ),
        ("record.Tags.split(';')[1]", String, Ok("Text(\"b\")")),
        ("record.Tags.indexOf('b')", Integer, Ok("Integer(2)")),
        (
            "record.Tags.split(';').map(t, t + '!').join()",
            String,
            Ok("Text(\"a!b!c!\")"),
        ),
        (
            "'%s has %d'.format([record.FirstName, record.Count])",
            String,
            Ok("Text(\"Ada has 7\")"),
        ),
        ("record.LastName.matches('^Love')", Boolean, Ok("Boolean(true)")),
        ("record.Country in ['DE', 'AT']", Boolean, Ok("Boolean(true)")),
        ("record.Count + 1", Integer, Ok("Integer(8)")),
        ("record.Count", Decimal, Ok("Integer(7)")),
        ("size(record.FirstName)", Integer, Ok("Integer(3)")),
        (
            "record.Amount > 10.0 && record.Count >= 7",
            Boolean,
            Ok("Boolean(true)"),
        ),
        ("int(record.Amount)", Integer, Ok("Integer(12)")),
        ("math.greatest(record.Count, 9)", Integer, Ok("Integer(9)")),
        (
            "timestamp(record.Modified)",
            Timestamp,
            Ok("Timestamp(2026-05-04T08:41:07Z)"),
        ),
        (
            "timestamp('2026-05-04T08:41:07Z') == timestamp(record.Modified)",
            Boolean,
            Ok("Boolean(true)"),
        ),
        (
            "timestamp(record.Modified) + duration('1h')",
            Timestamp,
            Ok("Timestamp(2026-05-04T09:41:07Z)"),
        ),
        ("timestamp(record.Modified).getFullYear()", Integer, Ok("Integer(2026)")),
        ("record.Modified.substring(0, 10)", Date, Ok("Text(\"2026-05-04\")")),
        ("value == false", Boolean, Ok("Boolean(true)")),
        ("!value", Boolean, Ok("Boolean(true)")),
        ("value", Boolean, Ok("Boolean(false)")),
        (
            "record.Amount",
            Decimal,
            Err(
                "the expression gives a double, which is not exact: give a string and add the transform decimal, or wrap it in int()",
            ),
        ),
        (
            "record.FirstName",
            Boolean,
            Err("the expression gives a string, which is no Boolean"),
        ),
        (
            "record.Count",
            String,
            Err("the expression gives an int, which is no String; wrap it in string()"),
        ),
        (
            "record.FirstName == 'Ada' ? 1 : 'x'",
            String,
            Err("the expression gives an int, which is no String; wrap it in string()"),
        ),
        (
            "record.Empty + record.FirstName",
            String,
            Err("the expression fails: add of values of these types"),
        ),
        (
            "record.FirstName.join('')",
            String,
            Err("the expression fails: found no matching overload for 'join' applied to 'string.(string)'"),
        ),
        (
            "timestamp(record.FirstName)",
            Timestamp,
            Err("the expression fails in timestamp()"),
        ),
        ("int(record.FirstName)", Integer, Err("the expression fails in int()")),
        (
            "1 / (record.Count - 7)",
            Integer,
            Err("the expression fails: division by zero"),
        ),
        (
            "record.Count * 9223372036854775807",
            Integer,
            Err("the expression fails: the result is out of range"),
        ),
        (
            "record.Tags.split(';')[9]",
            String,
            Err("the expression fails: index out of bounds"),
        ),
        (
            "{'Ada': 1}[record.LastName]",
            Integer,
            Err("the expression fails: no such key"),
        ),
        (
            "record.Tags.split(';')",
            String,
            Err("the expression gives a list, which is no String; put its items into one text with join(', ')"),
        ),
    ];
    for (source, kind, expected) in cases {
        let (expression, names) = compile(source).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
        let fields = fields(&names, &record());
        let value = expression.value(&fields, kind, false).map(|value| format!("{value:?}"));
        assert_eq!(value.as_deref().map_err(|rule| &**rule), expected, "{source}");
    }
}

#[test]
fn only_the_fields_that_an_expression_names_are_read() {
    let cases: &[(&str, &[&str])] = &[
        ("record.B + record.A + record['B']", &["B", "A"]),
        ("[record.A].filter(record, record != null).join()", &["A"]),
        (
            "{'x': record.A}.x + [record.B][0] + string(record.C == 1 ? record.D : 2)",
            &["A", "B", "C", "D"],
        ),
        ("value == true", &[]),
    ];
    for (source, expected) in cases {
        let (_, names) = compile(source).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
        assert_eq!(names[1..], **expected, "{source}");
    }
}

#[test]
fn faults_name_their_place_and_what_would_be_right() {
    let whole = "record can't be used as a whole, only its fields by name, like record.Email or record[\"Email\"]: just those are read";
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("record", vec![format!("column 1: {whole}")]),
        ("size(record)", vec![format!("column 6: {whole}")]),
        ("record[value]", vec![format!("column 1: {whole}")]),
        ("'A' in record", vec![format!("column 8: {whole}")]),
        ("recrod.A == 1", vec!["column 1: there is no variable \"recrod\"; did you mean \"record\"?".into()]),
        ("Email", vec!["column 1: there is no variable \"Email\"; a field is read as record.Email".into()]),
        (
            "has(record.Email)",
            vec!["column 4: has(record.Email) would always be true, the CRM sends null for an empty field; write record.Email != null".into()],
        ),
        (
            "record.A.lowerASCI() == lower(record.B)",
            vec![
                "column 19: there is no function \"lowerASCI\"; did you mean \"lowerAscii\"?".into(),
                "column 30: there is no function \"lower\"".into(),
            ],
        ),
        ("lowerAscii(record.A)", vec!["column 11: lowerAscii is called after a dot, on the value that it works on: value.lowerAscii(…)".into()]),
        ("record.A.timestamp()", vec!["column 19: timestamp is called as timestamp(…), not after a dot".into()]),
        ("math.bas(1)", vec!["column 9: there is no function \"math.bas\"; did you mean \"math.abs\"?".into()]),
        ("Thing{a: 1}", vec!["column 6: there is no type \"Thing\"".into()]),
    ];
    for (source, expected) in cases {
        assert_eq!(
            compile(source).map(|(_, names)| names).unwrap_err(),
            expected,
            "{source}"
        );
    }
}

#[test]
fn what_would_fail_for_every_record_is_a_fault() {
    let cases: &[(&str, Result<(), &str>)] = &[
        ("record.A + 'x'", Ok(())),
        ("record.A + 1", Ok(())),
        ("'x' + string(1)", Ok(())),
        ("timestamp(record.A) + duration('1h')", Ok(())),
        ("size(record.A) > 1.5", Ok(())),
        ("record.A.matches('^a+$')", Ok(())),
        (
            "'x' + 1",
            Err("column 5: + can't add a string and an int; wrap the other one in string()"),
        ),
        (
            "size(record.A) + 1.5",
            Err("column 16: + can't add an int and a double; wrap the int in double()"),
        ),
        (
            "record.A && 'x'",
            Err("column 10: && takes true or false, and here a string"),
        ),
        (
            "!size(record.A)",
            Err("column 1: ! takes true or false, and here an int"),
        ),
        (
            "'x' ? 1 : 2",
            Err("column 5: ?: takes true or false, and here a string"),
        ),
        (
            "size(record.A) == '1'",
            Err("column 16: an int and a string are never equal"),
        ),
        (
            "timestamp(record.A) < 1",
            Err("column 21: a timestamp and an int have no order"),
        ),
        ("'7' * 2", Err("column 5: * takes numbers, and here a string")),
        (
            "size(record.A).startsWith('1')",
            Err("column 26: startsWith() is called on a string, and here on an int; wrap it in string()"),
        ),
        (
            "record.A.matches('[')",
            Err("column 17: matches() needs a regular expression: unclosed character class"),
        ),
        (
            "record.A.split(',').all(x, x != '') + 1",
            Err("column 37: + can't add a bool and an int"),
        ),
    ];
    for (source, expected) in cases {
        let found = compile(source).map(drop).map_err(|faults| faults.join("; "));
        assert_eq!(found.as_ref().copied().map_err(String::as_str), *expected, "{source}");
    }
}

#[test]
fn an_expression_that_may_take_too_long_is_a_fault() {
    let within = [
        "record.A.split(',').filter(x, x.startsWith('a')).map(x, x.trim()).join(' ')",
        "['a', 'b'].exists(x, record.A.split(',').all(y, x != y))",
        "lists.range(100).map(x, x * 2).size() > 3",
    ];
    for source in within {
        assert!(compile(source).is_ok(), "{source}: {:?}", compile(source).map(drop));
    }
    let beyond = [
        "record.A.split(',').all(x, record.B.split(',').all(y, x != y))",
        "lists.range(1000000000).size() > 3",
        "lists.range(record.A).size() > 3",
    ];
    for source in beyond {
        let faults = compile(source).map(drop).expect_err(source);
        assert!(faults[0].contains("steps for a record"), "{source}: {faults:?}");
    }
}

#[test]
fn an_expression_reads_so_much_text_and_no_more() {
    let (expression, names) = compile("record.A.contains('x') && record.B.contains('x')").expect("it compiles");
    let mut fields = vec![text("x"); names.len()];
    assert_eq!(expression.answer(&fields), Answer::True);
    fields[1] = Field::Text(Cow::Owned("x".repeat(LONGEST)));
    assert_eq!(
        expression.value(&fields, TraitType::Boolean, false),
        Err(Cow::Borrowed(TOO_LONG))
    );
    assert_ne!(expression.answer(&fields), Answer::True);
}

#[test]
fn syntax_errors_say_where() {
    for (source, place) in [
        ("record.A ==", "column 12: "),
        ("record.A\n  == 'x", "line 2, column 6: "),
        ("", "column 1: "),
        ("1 +* 2", "column 4: "),
    ] {
        let faults = compile(source).map(|(_, names)| names).unwrap_err();
        assert!(faults[0].starts_with(place), "{source:?}: {faults:?}");
    }
}

#[test]
fn types_that_can_be_told_before_a_record_is_seen_are() {
    let cases: &[(&str, TraitType, Result<Kinds, &str>)] = &[
        ("record.A", TraitType::String, Ok(Kinds::FIELD)),
        ("record.A == null ? null : 'x'", TraitType::String, Ok(Kinds::TEXT)),
        ("record.A == 1", TraitType::Boolean, Ok(Kinds::BOOLEAN)),
        (
            "record.A == 1",
            TraitType::String,
            Err("the expression gives a bool, which is no String; wrap it in string()"),
        ),
        (
            "size(record.A)",
            TraitType::Boolean,
            Err("the expression gives an int, which is no Boolean"),
        ),
        (
            "1.5",
            TraitType::Decimal,
            Err(
                "the expression gives a double, which is no Decimal; a double is not exact: give a string, and add the transform decimal",
            ),
        ),
        (
            "'1.5'",
            TraitType::Decimal,
            Err("the expression gives a string, which is no Decimal; add the transform decimal"),
        ),
        (
            "'2026'",
            TraitType::Timestamp,
            Err(
                "the expression gives a string, which is no Timestamp; wrap it in timestamp(), or add the transform timestamp",
            ),
        ),
        (
            "[1]",
            TraitType::String,
            Err("the expression gives a list, which is no String; put its items into one text with join(', ')"),
        ),
        ("[1]", TraitType::List, Ok(Kinds::list(Kinds::FIELD))),
        ("[1]", TraitType::Json, Ok(Kinds::list(Kinds::FIELD))),
        (
            "'a'",
            TraitType::List,
            Err(
                "the expression gives a string, which is no List; add the transform split or multiSelect, or call split() on it",
            ),
        ),
        (
            "{'a': 1}",
            TraitType::List,
            Err("the expression gives a map, which is no List; put it into one: [x]"),
        ),
    ];
    for (source, kind, expected) in cases {
        let (expression, _) = compile(source).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
        assert_eq!(
            expression.check(*kind, false).as_ref().map_err(String::as_str),
            expected.as_ref().map_err(|text| *text),
            "{source}"
        );
    }
}

/// Shapes that have a shortcut, and some that come near one.
const SHAPES: &[(&str, bool)] = &[
    ("value", true),
    ("!value", true),
    ("record.A", true),
    ("value == true", true),
    ("value == false", true),
    ("false == value", true),
    ("value != true", true),
    ("value == null", true),
    ("record.A == 'x'", true),
    ("record.A != ''", true),
    ("record.A in ['x', 'true', null, true]", true),
    ("record.A in []", true),
    ("value == false && record.A != null", true),
    ("value == true || record.A == 'x' && record.B != null", true),
    ("[record.A, record.B].filter(x, x != null).join(' ')", true),
    ("[record.A, value].filter(value, value != null).join('')", true),
    ("[record.A, record.B].filter(x, x != '').join(' ')", false),
    ("[record.A, record.B].map(x, x != null, x).join(' ')", true),
    ("[record.A, record.B].join(' ')", false),
    ("record.A == 1", false),
    ("!(value == true)", false),
    ("value && record.A", false),
    ("record.A in ['x', 1]", false),
    ("record.A == record.B", false),
];

#[test]
fn common_shapes_have_a_shortcut() {
    let found: Vec<(&str, bool)> = SHAPES
        .iter()
        .map(|(source, _)| {
            (
                *source,
                compile(source).is_ok_and(|(expression, _)| expression.shortcut.is_some()),
            )
        })
        .collect();
    assert_eq!(found, SHAPES);
}

fn any_field() -> impl Strategy<Value = Field<'static>> {
    prop_oneof![
        Just(Field::Null),
        any::<bool>().prop_map(Field::Boolean),
        prop::sample::select(vec!["0", "1", "-7", "1.0", "2.5E3", "9223372036854775808", "1E400"])
            .prop_map(Field::Number),
        prop::sample::select(vec!["", "x", "true", "null", " "]).prop_map(|text| Field::Text(Cow::Borrowed(text))),
        ".{0,8}".prop_map(|text| Field::Text(Cow::Owned(text))),
    ]
}

proptest! {
    #[test]
    fn a_shortcut_finds_what_the_interpreter_finds(
        shape in prop::sample::select(SHAPES),
        record in prop::collection::vec(any_field(), 4),
    ) {
        let (expression, names) = compile(shape.0).expect(shape.0);
        let fields = &record[..names.len()];
        prop_assert_eq!(expression.evaluate(fields, None), expression.interpret(fields, None), "{}", shape.0);
    }

    #[test]
    fn no_expression_text_panics(source in ".{0,40}") {
        let _ = compile(&source);
    }

    #[test]
    fn no_expression_of_cels_own_words_panics(
        words in prop::collection::vec(prop::sample::select(vec![
            "record", ".", "A", "value", "(", ")", "[", "]", "{", "}", "'x'", "1", "2.5", "null", "true", "==", "&&", "||",
            "!", "?", ":", ",", "+", "-", "/", "in", "filter", "map", "has", "x", "join", "timestamp", "size", "\n", "all",
        ]), 0..16),
        record in prop::collection::vec(any_field(), 4),
    ) {
        if let Ok((expression, names)) = compile(&words.concat()) && names.len() <= record.len() {
            let _ = expression.value(&record, TraitType::String, true);
        }
    }
}

#[test]
fn no_rule_holds_a_value_that_an_expression_failed_on() {
    let expressions = [
        "record.A + 1",
        "record.A - record.B",
        "record.A < 1",
        "!record.A",
        "-record.A",
        "record.A && true",
        "record.A ? 1 : 2",
        "int(record.A)",
        "double(record.A)",
        "bool(record.A)",
        "timestamp(record.A)",
        "duration(record.A)",
        "record.A.join('')",
        "[record.A, 1].join('')",
        "record.A[0]",
        "record.A.field",
        "{record.A: 1}['x']",
        "{'x': 1}[record.A]",
        "{record.A: 1, record.B: 2}",
        "[1][record.A]",
        "record.A in 1",
        "record.A.all(x, x)",
        "'x'.matches(record.A + '[')",
        "'%d'.format([record.A])",
        "record.A.charAt(99)",
        "record.A.substring(99)",
        "record.A.substring(2, 1)",
        "[record.A, 1].sort()",
        "math.abs(record.A)",
        "timestamp('2026-05-04T08:41:07Z').getHours(record.A)",
        "size(record.A) + record.A",
        "record.A.orValue(1)",
        "[record.A]",
    ];
    for source in expressions {
        let (expression, names) = compile(source).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
        let fields = vec![text("s3cret"); names.len()];
        let rule = expression.value(&fields, TraitType::Integer, false).expect_err(source);
        assert!(!rule.contains("s3cret"), "{source}: {rule}");
    }
}

#[test]
fn lists_and_maps_are_values_of_lists_and_documents() {
    let cases = [
        (
            "record.Tags.split(';')",
            TraitType::List,
            Ok("List([Text(\"a\"), Text(\"b\"), Text(\"c\")])"),
        ),
        (
            "[1, null, record.Empty, true]",
            TraitType::List,
            Ok("List([Integer(1), Null, Null, Boolean(true)])"),
        ),
        (
            "[timestamp('2026-05-04T00:00:00Z')]",
            TraitType::List,
            Ok("List([Timestamp(2026-05-04T00:00:00Z)])"),
        ),
        (
            "[[1, 'a'], {'b': 2}]",
            TraitType::List,
            Ok(r#"List([Json("[1,\"a\"]"), Json("{\"b\":2}")])"#),
        ),
        ("[]", TraitType::List, Ok("List([])")),
        (
            "{'z': record.FirstName, 'a': [1, null, {'x': true}], 'm': timestamp('2026-05-04T00:00:00Z')}",
            TraitType::Json,
            Ok(r#"Json("{\"a\":[1,null,{\"x\":true}],\"m\":\"2026-05-04T00:00:00Z\",\"z\":\"Ada\"}")"#),
        ),
        (
            "record.Tags.split(';')",
            TraitType::Json,
            Ok(r#"Json("[\"a\",\"b\",\"c\"]")"#),
        ),
        (
            "[1.5]",
            TraitType::List,
            Err("the expression gives a double in a list or a map, which is not exact: wrap it in string() or int()"),
        ),
        (
            "{1: 'a'}",
            TraitType::Json,
            Err("the expression gives a map whose keys are not all strings"),
        ),
        (
            "[duration('1h')]",
            TraitType::List,
            Err("the expression gives a list or a map with a duration in it, which no trait can hold"),
        ),
        ("lists.range(1000)", TraitType::List, Ok("1000")),
        (
            "lists.range(1001)",
            TraitType::List,
            Err("the expression gives more than 1,000 items"),
        ),
        (
            "[lists.range(500), lists.range(500)]",
            TraitType::Json,
            Err("the expression gives more than 1,000 items"),
        ),
    ];
    for (source, kind, expected) in cases {
        let (expression, names) = compile(source).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
        let fields = fields(&names, &record());
        let told = expression.value(&fields, kind, false).map(|value| match &value {
            Current::List(items) if items.len() > 100 => items.len().to_string(),
            value => format!("{value:?}"),
        });
        assert_eq!(told.as_deref().map_err(|rule| &**rule), expected, "{source}");
    }
}

#[test]
fn what_a_list_holds_is_bounded_in_bytes() {
    let text = "x".repeat(30_000);
    let (expression, names) = compile("[record.A, record.A]").unwrap();
    assert_eq!(names[1..], ["A"]);
    let fields = [Field::Null, Field::Text(text.as_str().into())];
    assert!(expression.value(&fields, TraitType::List, false).is_ok());
    let (expression, _) = compile("[record.A, record.A, record.A]").unwrap();
    assert_eq!(
        expression.value(&fields, TraitType::List, false).unwrap_err(),
        "the expression gives more than 65,536 bytes"
    );
}

#[test]
fn no_macro_goes_over_a_map_since_a_map_has_no_order() {
    let faults = compile("{'a': 1, 'b': 2}.map(key, key).join()").unwrap_err();
    assert!(faults[0].contains("a map has no order"), "{faults:?}");
    assert!(compile("'a' in {'a': 1}").is_ok());
}
