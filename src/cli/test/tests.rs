//! Examples that hold, and what is told of those that do not.

use super::*;

const MAPPING: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: MappingVersion
metadata: {name: customer-1.0.0}
spec:
  mapping: customer
  version: 1.0.0
  enums: {stage: {Working: lead}}
  objects:
    - object: Contact
      entity: Person
      identity:
        - {kind: crm_id, from: Id}
        - {kind: email, from: Email, transforms: [{trim: {}}, {lower: {}}]}
      group: {kind: account_id, from: AccountId}
      traits:
        - {trait: email, from: Email, type: String, transforms: [{trim: {}}, {lower: {}}], classification: Sensitive}
        - {trait: stage, from: Stage, type: String, transforms: [{enum: {table: stage}}]}
        - {trait: value, from: Value, type: Decimal}
        - {trait: since, from: Since, type: Timestamp, onNull: Unset}
      consent:
        - {purpose: marketing, from: OptOut, granted: value == false}
    - object: Opportunity
      entity: Deal
      identity: [{kind: deal_id, from: Id}]
      subject: {entity: Person, kind: crm_id, from: ContactId}
      events:
        - {name: Made, when: {created: {}}}
        - name: Stage Changed
          when: {changed: StageName}
          properties: [{property: stage, from: StageName, type: String}]
  projections:
    - {cdp: segment, entity: Person, traits: {since: customer.since, value: null}}
";

const AGING: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: MappingVersion
metadata: {name: aging-1.0.0}
spec:
  mapping: aging
  version: 1.0.0
  objects:
    - object: Contact
      entity: Person
      identity: [{kind: crm_id, from: Id}]
      consent:
        - {purpose: marketing, from: OptOut, granted: value == false, at: Asked, expiresAfter: 30d}
---
apiVersion: ferrygate.io/v1alpha1
kind: CdpSink
metadata: {name: strict}
spec:
  segment: {endpoint: https://api.segment.io/v1, writeKey: {secretKeyRef: {name: s, key: k}}}
  identity: {userId: crm_id}
  consent: {require: [marketing]}
";

const SINK: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: CdpSink
metadata: {name: cdp}
spec:
  segment: {endpoint: https://api.segment.io/v1, writeKey: {secretKeyRef: {name: s, key: k}}}
  identity: {userId: crm_id}
";

/// What becomes of a file with these examples: the differences of each, by name.
fn ran(head: &str, examples: &str) -> Vec<(String, Vec<String>)> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("mapping.yaml", MAPPING);
    write("sink.yaml", SINK);
    write("aging.yaml", AGING);
    write("customer.examples.yaml", &format!("{head}\nexamples:\n{examples}"));
    let (manifests, errors) = Manifests::read_all(folder.path());
    assert!(errors.is_empty(), "{errors:?}");
    let [file] = manifests.examples() else {
        panic!("one file of examples")
    };
    let outcomes = run_file(file, &manifests).into_iter();
    outcomes.map(|outcome| (outcome.example, outcome.differences)).collect()
}

const HEAD: &str = "mapping: {name: customer, version: ~1}";

#[test]
fn examples_that_hold_have_no_differences() {
    let examples = "
  - name: a contact
    object: Contact
    record: {Id: 1, Email: ' A@B.example ', Stage: Working, Value: 12.50, Since: '2026-05-04T10:00:00+02:00', OptOut: false}
    expect:
      identity: {crm_id: '1', email: a@b.example}
      group: null
      traits: {email: a@b.example, stage: lead, value: 12.5, since: '2026-05-04T08:00:00Z'}
      consent: {marketing: true}
  - name: what is null is forgotten or left out
    object: Contact
    record: {Id: '1', AccountId: '7'}
    expect: {group: '7', traits: {since: null}, consent: {marketing: false}}
  - name: an unknown stage
    object: Contact
    record: {Id: '1', Stage: Gone}
    rejected: {path: 'traits[stage]', rule: has no such value}
  - name: a deal's first delivery
    object: Opportunity
    record: {Id: '2', ContactId: '1', StageName: Won}
    modified: '2026-05-04T08:00:00Z'
    expect:
      subject: '1'
      events:
        - {name: Made, at: '2026-05-04T08:00:00Z'}
        - {name: Stage Changed, properties: {stage: Won}}
  - name: a deal whose stage changed
    object: Opportunity
    record: {Id: '2', ContactId: '1', StageName: Won}
    previous: {Id: '2', ContactId: '1', StageName: Open}
    expect: {events: [{name: Stage Changed, properties: {stage: Won}}]}
  - name: a deal whose stage did not change
    object: Opportunity
    record: {Id: '2', ContactId: '1', StageName: Won}
    previous: {Id: '2', ContactId: '1', StageName: Won}
    expect: {events: []}
";
    for (name, differences) in ran(HEAD, examples) {
        assert_eq!(differences, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_hash_with_a_key_needs_one_in_the_folder_for_tests() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let hashed = MAPPING.replace(
        "{trait: value, from: Value, type: Decimal}",
        "{trait: value, from: Value, type: String, transforms: [{hmacSha256: {secretKeyRef: {name: s, key: k}}}]}",
    );
    write("mapping.yaml", &hashed);
    let example = "{name: one, object: Contact, record: {Id: '1', Value: Hi There}, expect: {traits: {since: null, value: HASH}}}";
    // `printf 'Hi There' | openssl dgst -sha256 -hmac test`
    let hash = "55ce1f627ddc5eccbb2a982ae10d77509cff38700447384c2b109c07a281c754";
    write(
        "a.examples.yaml",
        &format!("{HEAD}\nexamples: [{}]\n", example.replace("HASH", hash)),
    );
    let told = || {
        let (manifests, _) = Manifests::read_all(folder.path());
        run_file(&manifests.examples()[0], &manifests).remove(0).differences
    };
    let without = told();
    assert!(
        without.len() == 1 && without[0].starts_with("examples need the mapping's keys"),
        "{without:?}"
    );
    write(
        "secret.yaml",
        "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {k: test}}",
    );
    assert_eq!(told(), Vec::<String>::new());
}

#[test]
fn a_sink_gets_what_it_takes_and_may_hold_under_its_cdps_names() {
    let examples = "
  - name: a contact
    object: Contact
    record: {Id: '1', Email: a@b.example, AccountId: '7', Value: 3}
    expect: {identity: {crm_id: '1'}, group: null, traits: {customer: {since: null}}}
";
    let head = format!("{HEAD}\nsink: cdp");
    assert_eq!(ran(&head, examples), [("a contact".to_owned(), Vec::new())]);
}

#[test]
fn what_differs_is_told_part_by_part_with_the_fields_that_the_record_lacks() {
    let examples = "
  - name: wrong
    object: Contact
    record: {Id: '1', Stage: Working, Value: 3, OptOut: true}
    expect: {traits: {stage: customer, value: 3, title: Dr.}, consent: {marketing: true}}
  - name: not rejected
    object: Contact
    record: {Id: '1'}
    rejected: {path: 'traits[stage]'}
  - name: rejected elsewhere
    object: Contact
    record: {Id: '1', Value: x}
    rejected: {path: 'traits[stage]'}
  - name: rejected at all
    object: Contact
    record: {Id: '1', Stage: Gone}
    expect: {traits: {}}
";
    let told = ran(HEAD, examples);
    let lines: Vec<Vec<&str>> = told
        .iter()
        .map(|(_, lines)| lines.iter().map(String::as_str).take(8).collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "- traits.since: not there",
            "+ traits.since: null",
            "- traits.stage: \"customer\"",
            "+ traits.stage: \"lead\"",
            "- traits.title: \"Dr.\"",
            "+ traits.title: not there",
            "- consent.marketing: true",
            "+ consent.marketing: false",
        ]
    );
    assert_eq!(
        told[0].1.last().map(String::as_str),
        Some("  the record has none of these fields, which are null then: AccountId, Email, Since")
    );
    assert_eq!(lines[1][..2], ["- rejected by traits[stage]", "+ mapped"]);
    assert_eq!(lines[2][0], "- rejected by traits[stage]");
    assert!(lines[2][1].starts_with("+ rejected by traits[value]: "), "{told:?}");
    assert!(lines[3][0].starts_with("+ rejected by traits[stage]: "), "{told:?}");
}

#[test]
fn a_file_that_is_not_of_the_form_says_where() {
    let one = "\n  - {name: one, object: Contact, record: {}, expect: {traits: {}}}\n";
    let cases = [
        (
            HEAD,
            "\n  - {name: one, object: Contact, record: {}, expected: {}}\n",
            "examples[0].expected: unknown field `expected`",
        ),
        (
            HEAD,
            "\n  - {name: one, object: Contact, record: {}}\n",
            "examples[0]: an example has exactly one of expect, rejected",
        ),
        (
            HEAD,
            "\n  - {name: one, object: Contact, record: {}, expect: {}}\n",
            "examples[0].expect: names nothing",
        ),
        (
            HEAD,
            "\n  - {name: one, object: Lead, record: {}, expect: {group: a}}\n",
            "object: the mapping has no object \"Lead\"",
        ),
        (
            HEAD,
            "\n  - {name: one, object: Contact, record: {Id: [1]}, expect: {group: a}}\n",
            "record.Id: a field is text",
        ),
        (
            "mapping: {name: customer, version: ~2}",
            one,
            "mapping.version: mapping \"customer\" has no version that fits \"~2\"",
        ),
        (
            "mapping: {name: customer, version: ~1}\nsink: cpd",
            one,
            "sink: there is no CdpSink \"cpd\" in the folder; there are: cdp",
        ),
    ];
    for (head, examples, words) in cases {
        let told = ran(head, examples);
        assert!(told[0].1[0].starts_with(words), "{words:?} does not begin {told:?}");
    }
}

#[test]
fn the_samples_hold() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples");
    let (manifests, errors) = Manifests::read_all(&samples);
    assert!(errors.is_empty(), "{errors:?}");
    let outcomes: Vec<_> = manifests
        .examples()
        .iter()
        .flat_map(|file| run_file(file, &manifests))
        .collect();
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|outcome| !outcome.differences.is_empty())
        .collect();
    assert!(failed.is_empty() && outcomes.len() == 4, "{failed:#?}");
}

#[test]
fn consent_is_held_against_the_clock_that_an_example_states() {
    let head = "mapping: {name: aging, version: 1.0.0}\nsink: strict";
    let example = |name: &str, more: &str, expect: &str| {
        format!(
            "
  - name: {name}
    object: Contact
    record: {{Id: '1', OptOut: false, Asked: 2026-01-31}}
{more}    expect: {expect}
"
        )
    };
    let examples = [
        example(
            "the newest evidence is the clock",
            "",
            "{consent: {marketing: true}, suppressed: false}",
        ),
        example(
            "the last instant",
            "    now: 2026-03-01T23:59:59Z\n",
            "{consent: {marketing: true}, suppressed: false}",
        ),
        example(
            "it has ended",
            "    now: 2026-03-02T00:00:00Z\n",
            "{consent: {marketing: Expired}, suppressed: true}",
        ),
        example(
            "a record that was modified later is read later",
            "    modified: 2027-01-01T00:00:00Z\n",
            "{consent: {marketing: false}}",
        ),
        example(
            "the evidence is still to come",
            "    now: 2026-01-01T00:00:00Z\n",
            "{consent: {marketing: EvidenceInFuture}}",
        ),
        example(
            "no deletion asks the clock",
            "    deleted: true\n",
            "{suppressed: true, consent: {marketing: Deleted}}",
        ),
        example(
            "wrong",
            "    now: 2026-04-01T00:00:00Z\n",
            "{consent: {marketing: true}, suppressed: false}",
        ),
    ];
    let told = ran(head, &examples.concat());
    let failed: Vec<_> = told.iter().filter(|(_, lines)| !lines.is_empty()).collect();
    let lines = [
        "- consent.marketing: true",
        "+ consent.marketing: false",
        "- suppressed: false",
        "+ suppressed: true",
    ];
    assert_eq!(failed, [&("wrong".to_owned(), lines.map(str::to_owned).to_vec())]);
}
