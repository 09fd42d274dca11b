//! What holds for every record, whatever the CRM sends.

use std::borrow::Cow;
use std::sync::LazyLock;

use ferrygate::api::mapping_version::Entity;
use ferrygate::api::{CdpSinkSpec, MappingVersionSpec};
use ferrygate::consent::{Decision, Gate, Statement};
use ferrygate::mapping::{Mapped, Plan, Value};
use ferrygate::record::{Field, Record};
use jiff::Timestamp;
use proptest::prelude::*;

/// A mapping with every transform, every type and every way to take nulls and errors, all of the field `F`.
static MAPPING: LazyLock<MappingVersionSpec> = LazyLock::new(|| {
    serde_saphyr::from_str(
        "
mapping: everything
version: 1.0.0
rates: {base: EUR, date: 2026-11-01, rates: {USD: '1.0834', JPY: '163.5'}}
enums: {table: {a: b, 'true': 'yes', '1': one}}
objects:
- object: Contact
  entity: Person
  identity:
  - {kind: crm_id, from: Id}
  - {kind: email, from: F, transforms: [{trim: {}}, {lower: {}}]}
  group: {kind: account_id, from: AccountId}
  traits:
  - {trait: string, from: F, type: String, onNull: Unset, onError: Keep}
  - {trait: integer, from: F, type: Integer, onNull: Unset, onError: Keep}
  - {trait: decimal, from: F, type: Decimal, onNull: Unset, onError: 'Null'}
  - {trait: boolean, from: F, type: Boolean, onNull: Unset, onError: 'Null'}
  - {trait: timestamp, from: F, type: Timestamp, onError: Keep}
  - {trait: date, from: F, type: Date, onError: Keep}
  - {trait: trim, from: F, type: String, transforms: [{trim: {}}], onError: Keep}
  - {trait: trim_twice, from: F, type: String, transforms: [{trim: {}}, {trim: {}}], onError: Keep}
  - {trait: lower, from: F, type: String, transforms: [{lower: {}}], onError: Keep}
  - {trait: lower_twice, from: F, type: String, transforms: [{lower: {}}, {lower: {}}], onError: Keep}
  - {trait: upper, from: F, type: String, transforms: [{upper: {}}], onError: Keep}
  - {trait: upper_twice, from: F, type: String, transforms: [{upper: {}}, {upper: {}}], onError: Keep}
  - {trait: sha256, from: F, type: String, transforms: [{sha256: {}}], onError: Keep}
  - {trait: e164, from: F, type: String, transforms: [{e164: {countryFrom: G, default: DE}}], onError: Keep}
  - {trait: e164_twice, from: F, type: String, transforms: [{e164: {countryFrom: G, default: DE}}, {e164: {}}], onError: Keep}
  - {trait: local, from: F, type: Timestamp, transforms: [{timestamp: {zone: America/New_York}}], onError: Keep}
  - {trait: comma, from: F, type: Decimal, transforms: [{decimal: {decimalSeparator: ',', groupSeparator: .}}], onError: Keep}
  - {trait: enum, from: F, type: String, transforms: [{enum: {table: table, otherwise: Keep}}], onError: Keep}
  - {trait: default, from: F, type: Integer, transforms: [{default: {value: '7'}}], onError: Keep}
  - {trait: joined, type: String, cel: \"[record.F, record.G].filter(x, x != null).join(' ')\", onError: Keep}
  - {trait: computed, type: String, cel: \"string(record.F).lowerAscii().split('a').join(string(record.G))\", onError: Keep}
  - {trait: spaces, from: F, type: String, transforms: [{collapseSpaces: {}}], onError: Keep}
  - {trait: spaces_twice, from: F, type: String, transforms: [{collapseSpaces: {}}, {collapseSpaces: {}}], onError: Keep}
  - {trait: nfc, from: F, type: String, transforms: [{nfc: {}}], onError: Keep}
  - {trait: nfc_twice, from: F, type: String, transforms: [{nfc: {}}, {nfc: {}}], onError: Keep}
  - {trait: title, from: F, type: String, transforms: [{title: {}}], onError: Keep}
  - {trait: email, from: F, type: String, transforms: [{email: {}}], onError: Keep}
  - {trait: email_twice, from: F, type: String, transforms: [{email: {}}, {email: {}}], onError: Keep}
  - {trait: url, from: F, type: String, transforms: [{url: {defaultScheme: https}}], onError: Keep}
  - {trait: url_twice, from: F, type: String, transforms: [{url: {defaultScheme: https}}, {url: {}}], onError: Keep}
  - {trait: country, from: F, type: String, transforms: [{isoCountry: {}}], onError: Keep}
  - {trait: country_twice, from: F, type: String, transforms: [{isoCountry: {}}, {isoCountry: {}}], onError: Keep}
  - {trait: language, from: F, type: String, transforms: [{isoLanguage: {}}], onError: Keep}
  - {trait: currency, from: F, type: String, transforms: [{isoCurrency: {}}], onError: Keep}
  - {trait: money, from: F, type: Money, transforms: [{money: {currencyFrom: G, currency: USD, to: JPY, groupSeparator: ','}}], onError: Keep}
  - {trait: own_money, from: F, type: Money, transforms: [{money: {currency: KWD}}], onError: Keep}
  - {trait: words, from: F, type: Boolean, transforms: [{boolean: {trueWords: [a, '1'], falseWords: ['', DE]}}], onError: Keep}
  - {trait: strict, from: F, type: Enum, transforms: [{enum: {table: table, otherwise: Keep}}], onError: Keep}
  - {trait: many, from: F, type: List, items: String, transforms: [{multiSelect: {}}, {upper: {}}], onError: Keep}
  - {trait: numbers, from: F, type: List, items: Decimal, transforms: [{split: {separator: ','}}], onError: Keep}
  - {trait: json, from: F, type: Json, onError: Keep}
  - {trait: found, from: F, type: String, transforms: [{jsonPath: {path: '$..a'}}], onError: Keep}
  - {trait: slice, from: F, type: String, transforms: [{slice: {start: -3, length: 2}}], onError: Keep}
  - {trait: redact, from: F, type: String, transforms: [{redact: {keepFirst: 1, keepLast: 2}}], onError: Keep}
  - {trait: regex, from: F, type: String, transforms: [{regexReplace: {pattern: '(\\w)\\W', replacement: '${1}-'}}], onError: Keep}
  - {trait: strict_local, from: F, type: Timestamp, transforms: [{timestamp: {zone: Europe/Berlin, ambiguous: Reject}}], onError: Keep}
  - {trait: formatted, from: F, type: Date, transforms: [{date: {formats: ['%d.%m.%Y', '%Y-%m-%d'], zone: Asia/Kolkata}}], onError: Keep}
  - {trait: coalesced, from: F, type: String, transforms: [{coalesce: {fields: [G]}}, {concat: {fields: [G], separator: '/'}}], onError: Keep}
  - {trait: instant, type: Timestamp, cel: 'timestamp(record.F)', onError: Keep}
  - {trait: secret, from: Secret__c, type: String, classification: Sensitive}
  consent:
  - {purpose: email, from: F, granted: value == true}
  - {purpose: sms, from: F, granted: \"value && record.G != null\"}
  events:
  - {name: Created, when: {created: {}}, properties: [{property: f, from: Id, type: String}]}
  - {name: Changed, when: {changed: F}}
",
    )
    .expect("the mapping")
});

static SINK: LazyLock<CdpSinkSpec> = LazyLock::new(|| {
    serde_saphyr::from_str(
        "
segment: {endpoint: https://cdp.example, writeKey: {secretKeyRef: {name: cdp, key: key}}}
identity: {userId: crm_id, groupId: account_id, externalIds: [email]}
consent: {require: [email, sms]}
",
    )
    .expect("the sink")
});

static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan::compile(&MAPPING, "Contact", &SINK).expect("a plan"));

/// Text that comes near something that a transform reads.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ \u{a0}]{0,2}[A-Za-zÄÖÜäöüßİıΣς]{0,12}[ \n]{0,2}",
        "[-+]?[0-9.,']{0,40}([eE][-+]?[0-9]{1,9})?",
        r"\+?[0-9 ()./-]{0,30}( ?x[0-9]{1,4})?",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,12})?(Z|[+-][0-9]{2}:?[0-9]{2})?)?",
        "[a-zA-Z.+-]{1,8}@[a-zA-Zäß.-]{1,10}\\.[a-z]{1,4}",
        "(https?://)?[a-zA-Zä.-]{1,12}(:[0-9]{1,5})?(/[a-z %?#]{0,6})?",
        "([A-Z]{3} ?)?-?[0-9,]{1,20}(\\.[0-9]{0,20})?( ?[A-Z]{3})?",
        r#"(\{"a": ?(-?[0-9]{1,30}(\.[0-9]{1,9})?|"x"|null|\[ 1, \{"a":2\}\]) ?\}|\[1, ?2\]|\{)"#,
        prop::sample::select(vec!["", "NA", "null", "true", "a", "DE", "Germany"]).prop_map(str::to_owned),
    ]
}

/// A value that a JSON document can hold; a number's digits are kept apart, as the page keeps them.
#[derive(Clone, Debug)]
enum Sent {
    Null,
    Text(String),
    Number(String),
    Boolean(bool),
}

fn any_sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        1 => Just(Sent::Null),
        6 => any_text().prop_map(Sent::Text),
        3 => "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][-+]?[0-9]{1,9})?".prop_map(Sent::Number),
        1 => any::<bool>().prop_map(Sent::Boolean),
    ]
}

impl Sent {
    fn field(&self) -> Field<'_> {
        match self {
            Sent::Null => Field::Null,
            Sent::Text(text) => Field::Text(Cow::Borrowed(text)),
            Sent::Number(digits) => Field::Number(digits),
            Sent::Boolean(boolean) => Field::Boolean(*boolean),
        }
    }
}

/// The fields of a contact in the plan's order: `Id` is given, all others are `f` or `g`.
fn fields<'a>(f: &'a Sent, g: &'a Sent) -> Vec<Field<'a>> {
    let field = |name: &String| match name.as_str() {
        "Id" => Field::Text(Cow::Borrowed("003A")),
        "F" => f.field(),
        "G" => g.field(),
        _ => Field::Null,
    };
    PLAN.fields().iter().map(field).collect()
}

fn record<'a>(fields: &'a [Field<'a>]) -> Record<'a> {
    Record {
        id: Cow::Borrowed("003A"),
        stamp: Timestamp::UNIX_EPOCH,
        deleted: false,
        fields,
    }
}

fn find<'m>(mapped: &'m Mapped<'_>, name: &str) -> Option<&'m Value<'m>> {
    mapped
        .traits
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_record_maps_the_same_way_every_time(f in any_sent(), g in any_sent()) {
        let fields = fields(&f, &g);
        let record = record(&fields);
        let (first, second) = (PLAN.map(&record), PLAN.map(&record));
        prop_assert_eq!(&first, &second);
        if let (Ok(first), Ok(second)) = (first, second) {
            for decision in [Decision::Activate, Decision::Suppress] {
                prop_assert_eq!(first.fingerprint(&decision), second.fingerprint(&decision));
            }
        }
    }

    #[test]
    fn a_transform_that_puts_text_in_order_changes_nothing_the_second_time(f in any_sent(), g in any_sent()) {
        let fields = fields(&f, &g);
        let record = record(&fields);
        if let Ok(mapped) = PLAN.map(&record) {
            for name in ["trim", "lower", "upper", "e164", "spaces", "nfc", "email", "url", "country"] {
                prop_assert_eq!(find(&mapped, name), find(&mapped, &format!("{name}_twice")), "{}", name);
            }
        }
    }

    #[test]
    fn only_true_itself_grants(f in any_sent(), g in any_sent()) {
        let fields = fields(&f, &g);
        let record = record(&fields);
        let yes = matches!(f, Sent::Boolean(true));
        let both = yes && !matches!(g, Sent::Null);
        let mut mapped = PLAN.map_suppression(&record).expect("it has an id");
        let stated: Vec<_> = mapped.consent.iter().map(|each| (each.purpose, each.is_granted())).collect();
        prop_assert_eq!(stated, [("email", yes), ("sms", both)]);
        let expected = if both { Decision::Activate } else { Decision::Suppress };
        prop_assert_eq!(Gate::new(&SINK).decide(mapped.entity, &mut mapped.consent, false, Timestamp::UNIX_EPOCH).decision, expected);
    }

    #[test]
    fn the_gate_lets_nobody_through_without_every_required_purpose(
        consent in prop::collection::vec((prop::sample::select(vec!["email", "sms", "Email", "post"]), any::<bool>()), 0..5),
        deleted in any::<bool>(),
    ) {
        let mut statements: Vec<Statement> = consent.iter().map(|each| (*each).into()).collect();
        let ruling = Gate::new(&SINK).decide(Entity::Person, &mut statements, deleted, Timestamp::UNIX_EPOCH);
        let granted = |purpose| consent.contains(&(purpose, true)) && !consent.contains(&(purpose, false));
        let expected = !deleted && granted("email") && granted("sms");
        prop_assert_eq!(ruling.decision == Decision::Activate, expected);
    }

    #[test]
    fn a_rejection_and_its_record_share_no_text(f in "[a-z]{9,12}") {
        let sent = Sent::Text(f.clone());
        let id = PLAN.fields().iter().position(|name| name == "Id").expect("Id");
        let mut fields = fields(&sent, &sent);
        fields[id] = Field::Null;
        let rejection = PLAN.map(&record(&fields)).expect_err("it has no id").to_string();
        prop_assert!(!rejection.contains(&f));
    }

    #[test]
    fn what_the_sink_may_not_hold_is_not_even_read(f in any_sent()) {
        prop_assert!(!PLAN.fields().iter().any(|name| name == "Secret__c"));
        let fields = fields(&f, &f);
        if let Ok(mapped) = PLAN.map(&record(&fields)) {
            prop_assert_eq!(find(&mapped, "secret"), None);
        }
    }
}
