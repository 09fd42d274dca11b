//! Mapping and gate alone, on one core: `make bench-mapping`.

use std::borrow::Cow;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferrygate::api::{CdpSinkSpec, MappingVersionSpec};
use ferrygate::consent::Gate;
use ferrygate::mapping::{Filled, Plan};
use ferrygate::record::{Field, Record};
use jiff::Timestamp;

/// How many different records take turns.
const RECORDS: usize = 1_000;

const HEAD: &str = "
mapping: customer
version: 1.0.0
rates: {base: EUR, date: 2026-11-01, rates: {USD: '1.0834', JPY: '163.50', GBP: '0.8312'}}
enums:
  lifecycle: {Open - Not Contacted: lead, Working: lead, Customer: customer, Former: churned}
  interests: {Sailing: sailing, Rust: rust, Ferries: ferries}
objects:
- object: Contact
  entity: Person
  identity:
  - {kind: crm_id, from: Id}
  - {kind: email, from: Email, transforms: [{trim: {}}, {lower: {}}, {email: {}}]}
  group: {kind: account_id, from: AccountId}
  consent:
  - {purpose: marketing_email, from: HasOptedOutOfEmail, granted: value == false}
  traits:
";

/// One trait of each kind that people have, over the 21 fields of [`FIELDS`] without `Phone`.
const TRAITS: &str = "
  - {trait: email, from: Email, type: String, transforms: [{trim: {}}, {lower: {}}, {email: {}}], classification: Personal}
  - {trait: first_name, from: FirstName, type: String, transforms: [{trim: {}}, {nfc: {}}]}
  - {trait: last_name, from: LastName, type: String, transforms: [{trim: {}}, {nfc: {}}]}
  - {trait: job_title, from: Title, type: String, transforms: [{collapseSpaces: {}}, {trim: {}}]}
  - {trait: department, from: Department, type: String, transforms: [{trim: {}}, {default: {value: unknown}}]}
  - {trait: city, from: MailingCity, type: String, transforms: [{trim: {}}]}
  - {trait: postal_code, from: MailingPostalCode, type: String, transforms: [{trim: {}}, {upper: {}}]}
  - {trait: country, from: MailingCountry, type: String, transforms: [{isoCountry: {}}], onError: 'Null'}
  - {trait: language, from: Language__c, type: String, transforms: [{isoLanguage: {}}], onNull: Default, default: en}
  - {trait: lifecycle_stage, from: Lifecycle__c, type: Enum, transforms: [{enum: {table: lifecycle}}]}
  - {trait: lifetime_value, from: LTV__c, type: Money, transforms: [{money: {currencyFrom: CurrencyIsoCode, to: EUR}}]}
  - {trait: employees, from: Employees__c, type: Integer}
  - {trait: customer_since, from: Customer_Since__c, type: Timestamp, transforms: [{timestamp: {zone: Europe/Berlin}}]}
  - {trait: modified_at, from: LastModifiedDate, type: Timestamp}
  - {trait: birthday, from: Birthdate, type: Date}
  - {trait: interests, from: Interests__c, type: List, items: Enum, transforms: [{multiSelect: {}}, {enum: {table: interests}}]}
  - {trait: newsletter, from: Newsletter__c, type: Boolean, transforms: [{boolean: {trueWords: [Ja], falseWords: [Nein]}}]}
";

const PHONE: &str = "  - {trait: phone, from: Phone, type: String, transforms: [{e164: {default: DE}}]}\n";

/// Traits by CEL: the first by a shortcut, the others by the interpreter.
const CEL: [(&str, &str); 4] = [
    (
        "join",
        "type: String, cel: \"[record.FirstName, record.LastName].filter(x, x != null).join(' ')\"",
    ),
    (
        "concat",
        "type: String, cel: \"record.FirstName + ' ' + record.LastName\"",
    ),
    ("lower", "type: String, cel: \"record.LastName.lowerAscii()\""),
    (
        "compare",
        "type: Boolean, cel: \"record.Employees__c > 100 && record.MailingCountry == 'DE'\"",
    ),
];

/// One transform, on a field that suits it.
const TRANSFORMS: [(&str, &str); 17] = [
    ("none", "from: FirstName, type: String"),
    ("trim", "from: FirstName, type: String, transforms: [{trim: {}}]"),
    ("lower", "from: FirstName, type: String, transforms: [{lower: {}}]"),
    ("title", "from: LastName, type: String, transforms: [{title: {}}]"),
    ("nfc", "from: LastName, type: String, transforms: [{nfc: {}}]"),
    (
        "email",
        "from: Email, type: String, transforms: [{trim: {}}, {lower: {}}, {email: {}}]",
    ),
    (
        "url",
        "from: Website, type: String, transforms: [{url: {defaultScheme: https}}]",
    ),
    ("sha256", "from: FirstName, type: String, transforms: [{sha256: {}}]"),
    (
        "isoCountry",
        "from: MailingCountry, type: String, transforms: [{isoCountry: {}}]",
    ),
    (
        "timestamp",
        "from: Customer_Since__c, type: Timestamp, transforms: [{timestamp: {zone: Europe/Berlin}}]",
    ),
    (
        "date formats",
        "from: Joined__c, type: Date, transforms: [{date: {formats: ['%d.%m.%Y']}}]",
    ),
    ("decimal", "from: Score__c, type: Decimal"),
    (
        "money",
        "from: LTV__c, type: Money, transforms: [{money: {currencyFrom: CurrencyIsoCode, to: EUR}}]",
    ),
    (
        "enum",
        "from: Lifecycle__c, type: Enum, transforms: [{enum: {table: lifecycle}}]",
    ),
    (
        "multiSelect",
        "from: Interests__c, type: List, items: String, transforms: [{multiSelect: {}}]",
    ),
    (
        "regexReplace",
        "from: MailingStreet, type: String, transforms: [{regexReplace: {pattern: '[0-9]+', replacement: '#'}}]",
    ),
    (
        "jsonPath",
        "from: Json__c, type: String, transforms: [{jsonPath: {path: $.address.city}}]",
    ),
];

fn sink() -> CdpSinkSpec {
    serde_saphyr::from_str(
        "
segment: {endpoint: https://cdp.example, writeKey: {secretKeyRef: {name: cdp, key: key}}}
identity: {userId: crm_id, groupId: account_id, externalIds: [email]}
consent: {require: [marketing_email]}
maxClassification: Personal
",
    )
    .expect("the sink")
}

/// A field of the n-th record.
fn field(name: &str, n: usize) -> Field<'static> {
    let text = |text: String| Field::Text(Cow::Owned(text));
    let one_of = |texts: &[&'static str]| Field::Text(Cow::Borrowed(texts[n % texts.len()]));
    match name {
        "Id" => text(format!("003{n:015}")),
        "AccountId" => text(format!("001{:015}", n / 3)),
        "Email" => text(format!(" Ada.Lovelace{n}@Example.com")),
        "FirstName" => one_of(&["Ada", "Grace", "José", "Zoë ", "Linus"]),
        "LastName" => one_of(&["Lovelace", "Hopper", "Müller", "O'Neil", "Çelik", "Smith"]),
        "Title" => one_of(&["Captain", "Head of  Ferries", "Chief Data Officer"]),
        "Department" if n.is_multiple_of(4) => Field::Null,
        "Department" => one_of(&["Marketing", "Sales", "Operations"]),
        "MailingStreet" => text(format!("Hafenstraße {n}")),
        "MailingCity" => one_of(&["Hamburg", "Köln", "Wien", "New York"]),
        "MailingPostalCode" => text(format!("{:05}", 10_000 + n)),
        "MailingCountry" => one_of(&["DE", "AT", "US", "Germany"]),
        "Phone" => text(format!("030 {}", 1_234_500 + n)),
        "Language__c" if n.is_multiple_of(5) => Field::Null,
        "Language__c" => one_of(&["de", "en_US", "fr"]),
        "Lifecycle__c" => one_of(&["Open - Not Contacted", "Working", "Customer", "Former"]),
        "LTV__c" => Field::Number(["1200.50", "99.9", "1234567.89", "0", "15"][n % 5]),
        "CurrencyIsoCode" => one_of(&["EUR", "USD", "GBP", "JPY"]),
        "Score__c" => Field::Number(["0.75", "12.5", "3", "99.999"][n % 4]),
        "Employees__c" => Field::Number(["3", "120", "45000"][n % 3]),
        "Customer_Since__c" => text(format!("20{:02}-{:02}-{:02}", n % 26, n % 12 + 1, n % 28 + 1)),
        "LastModifiedDate" => text(format!("2026-05-{:02}T08:41:07.000+0000", n % 28 + 1)),
        "Birthdate" => text(format!("19{:02}-{:02}-{:02}", n % 100, n % 12 + 1, n % 28 + 1)),
        "Joined__c" => text(format!("{:02}.{:02}.20{:02}", n % 28 + 1, n % 12 + 1, n % 26)),
        "Interests__c" => one_of(&["Sailing;Rust", "Ferries", "Sailing;Rust;Ferries"]),
        "Newsletter__c" => one_of(&["Ja", "Nein"]),
        "Website" => one_of(&["www.Acme.example", "https://acme.example/a?b=c"]),
        "Json__c" => one_of(&["{\"address\": {\"city\": \"Köln\", \"zip\": \"50667\"}, \"tags\": [1, 2.50]}"]),
        "HasOptedOutOfEmail" => Field::Boolean(n.is_multiple_of(9)),
        _ => Field::Null,
    }
}

/// Maps records and lets the gate decide of each, without the records' making.
fn measure(criterion: &mut Criterion, group: &str, name: &str, traits: &str) {
    let spec: MappingVersionSpec = serde_saphyr::from_str(&format!("{HEAD}{traits}")).expect("the mapping");
    let sink = sink();
    let plan = Plan::compile(&spec, "Contact", &sink).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    let gate = Gate::new(&sink);
    let fields: Vec<Vec<Field>> = (0..RECORDS)
        .map(|n| plan.fields().iter().map(|name| field(name, n)).collect())
        .collect();
    let records: Vec<Record> = fields
        .iter()
        .map(|fields| Record {
            id: Cow::Borrowed("003"),
            stamp: Timestamp::UNIX_EPOCH,
            deleted: false,
            fields,
        })
        .collect();
    for record in &records {
        plan.map(record)
            .unwrap_or_else(|rejection| panic!("{name}: {rejection}"));
    }
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(1));
    let (mut next, mut filled) = (0, Filled::default());
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            next = (next + 1) % RECORDS;
            let mut mapped = plan
                .map_counting(black_box(&records[next]), &mut filled)
                .expect("it maps");
            let ruling = gate.decide(mapped.entity, &mut mapped.consent, false, Timestamp::UNIX_EPOCH);
            black_box((mapped, ruling));
        });
    });
}

fn records(criterion: &mut Criterion) {
    measure(criterion, "record", "identities and consent alone", "    []");
    measure(criterion, "record", "21 fields", TRAITS);
    measure(
        criterion,
        "record",
        "21 fields and a phone number",
        &format!("{TRAITS}{PHONE}"),
    );
}

fn one_trait(criterion: &mut Criterion) {
    for (group, traits) in [("cel", &CEL[..]), ("transform", &TRANSFORMS[..])] {
        for (name, rule) in traits {
            measure(criterion, group, name, &format!("  - {{trait: one, {rule}}}"));
        }
    }
}

criterion_group!(benches, records, one_trait);
criterion_main!(benches);
