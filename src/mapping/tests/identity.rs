//! Identity keys: what is wrong with them, and what the plan makes of them.

use super::{lines, mapping, sink};
use crate::api::MappingVersionSpec;
use crate::identity::{self, Evidence, Refusal, Relation, Secret, Successor};
use crate::mapping::Plan;
use crate::record::{Field, Record};
use jiff::Timestamp;

const KEYS: &str = "\
object: Contact
entity: Person
identity:
- {kind: crm_id, from: Id}
- {kind: email, from: Email, transforms: [{trim: {}}, {lower: {}}], blockWhenSharedBy: 3, blockValues: [info@, none@example.com]}
- {kind: email_sha256, from: Email, transforms: [{trim: {}}, {lower: {}}, {sha256: {}}], role: Informational}
mergedInto: {kind: crm_id, from: MasterRecordId}
traits:
- {trait: name, from: Name, type: String}
";

fn record<'a>(fields: &'a [Field<'a>]) -> Record<'a> {
    Record {
        id: "003A".into(),
        stamp: Timestamp::UNIX_EPOCH,
        deleted: false,
        fields,
    }
}

fn plan(spec: &MappingVersionSpec) -> Plan {
    let mut sink = sink(&[]);
    sink.identity.external_ids.push("email_sha256".into());
    Plan::compile(spec, "Contact", &sink).expect("a plan")
}

#[test]
fn what_is_wrong_with_a_keys_rules_is_told_with_its_path() {
    let cases = [
        (
            "blockWhenSharedBy: 3",
            "blockWhenSharedBy: 1",
            "spec.objects[0].identity[1].blockWhenSharedBy: 1: a value can be shared by 2 records or more, and is counted up to 1000",
        ),
        (
            "[info@, none@example.com]",
            "[Info@]",
            "spec.objects[0].identity[1].blockValues[0]: \"Info@\" never matches: the transforms leave \"info@\" of it, and entries are compared with what the transforms leave",
        ),
        (
            "[info@, none@example.com]",
            "[info@, '@', info@]",
            "spec.objects[0].identity[1].blockValues[1]: \"@\" matches no value; give a whole value, or a local part like info@\n\
             spec.objects[0].identity[1].blockValues[2]: \"info@\" is already blockValues[0]",
        ),
        (
            "{sha256: {}}], role: Informational",
            "{sha256: {}}], blockValues: [info@]",
            "spec.objects[0].identity[2].blockValues[0]: \"info@\" never matches: the transforms leave \"3b66c2cb98ad6a1b5dd2d2b2e8a8d5b3\" of it",
        ),
        (
            "entity: Person",
            "entity: Account",
            "spec.objects[0].mergedInto: only a Person goes on as another record; leave it out",
        ),
        (
            "identity:\n- {kind: crm_id, from: Id}\n",
            "identity:\n- {kind: crm_id, from: Id, role: Informational}\n",
            "",
        ),
    ];
    for (before, after, expected) in cases {
        assert!(KEYS.contains(before), "{before}");
        let found = lines(&Plan::check_spec(&mapping(&KEYS.replace(before, after)))).join("\n");
        let start = expected.split("leave \"3b66").next().unwrap_or_default();
        assert!(
            if expected.contains("3b66") {
                found.starts_with(start)
            } else {
                found == expected
            },
            "{after}: {found}"
        );
    }
    let none = KEYS
        .replace("from: Id}", "from: Id, role: Informational}")
        .replace("blockWhenSharedBy: 3", "role: Informational");
    assert_eq!(
        lines(&Plan::check_spec(&mapping(&none))),
        ["spec.objects[0].identity: every key is Informational, and none says who a record is; make one Identifying"]
    );
}

#[test]
fn what_only_the_sink_makes_wrong_with_a_key_is_told_with_its_path() {
    let spec = mapping(&KEYS.replace("from: Id}", "from: Id, role: Informational}").replace(
        "{kind: crm_id, from: MasterRecordId}",
        "{kind: email, from: MasterRecordId}",
    ));
    let found = Plan::compile(&spec, "Contact", &sink(&[]))
        .map(|_| ())
        .expect_err("refused");
    assert_eq!(
        lines(&found),
        [
            "spec.objects[0].identity[0].role: the sink takes \"crm_id\" as its user id or group id, by which it tells who a \
             record is; an Informational key can be no more than one of the sink's externalIds",
            "spec.objects[0].mergedInto.kind: the sink's user id is \"crm_id\", so that it can't be told of a successor that is \
             named by \"email\"",
        ]
    );
}

#[test]
fn a_blocked_value_is_left_out_and_another_one_delivered() {
    let plan = plan(&mapping(KEYS));
    let cases = [
        (" Ada@Example.com", Some("ada@example.com"), None),
        ("INFO@acme.example", None, Some(Refusal::BlockedValue)),
        ("none@example.com", None, Some(Refusal::BlockedValue)),
        ("  ", None, Some(Refusal::Absent)),
    ];
    for (email, delivered, barred) in cases {
        let fields: Vec<Field> = (plan.fields().iter())
            .map(|name| match name.as_str() {
                "Id" => Field::Text("003A".into()),
                "Email" => Field::Text(email.into()),
                _ => Field::Null,
            })
            .collect();
        let record = record(&fields);
        let mapped = plan.map(&record).expect("mapped");
        let found = mapped.external_ids.iter().find(|external| external.kind == "email");
        let key = plan.keys(&record).find(|key| key.kind == "email").expect("a key");
        assert_eq!(
            (found.map(|external| &*external.id), key.barred),
            (delivered, barred),
            "{email:?}"
        );
    }
}

#[test]
fn the_keys_are_read_first_where_one_may_be_shared_or_merged_and_no_trait_with_them() {
    let (all, none) = (mapping(KEYS), mapping(super::CONTACT));
    let merges = mapping(&KEYS.replace("blockWhenSharedBy: 3, ", ""));
    let found = [&all, &merges, &none].map(|spec| (plan(spec).reads_keys_first(), plan(spec).tracks()));
    let mut sink = sink(&[]);
    sink.identity.external_ids.push("email_sha256".into());
    let keys = Plan::compile_keys(&all, "Contact", &sink).expect("a plan");
    assert_eq!(found, [(true, true), (true, false), (false, false)]);
    assert_eq!(keys.fields(), ["Id", "Email", "MasterRecordId"]);
}

#[test]
fn a_record_goes_on_as_the_one_that_its_field_names_and_never_as_itself() {
    let plan = plan(&mapping(KEYS));
    let cases = [
        (Field::Null, None),
        (Field::Text("".into()), None),
        (Field::Text("003A".into()), None),
        (Field::Text("003B".into()), Some("003B")),
    ];
    for (master, expected) in cases {
        let fields: Vec<Field> = (plan.fields().iter())
            .map(|name| {
                if name == "MasterRecordId" {
                    master.clone()
                } else {
                    Field::Null
                }
            })
            .collect();
        let relation = Relation::Merged;
        assert_eq!(
            plan.successor(&record(&fields)),
            expected.map(|id| Successor { relation, id }),
            "{master:?}"
        );
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --lib mapping -- --ignored --nocapture"]
fn a_delivered_records_verdicts_take_less_than_two_microseconds() {
    let plan = plan(&mapping(&KEYS.replace("blockWhenSharedBy: 3, ", "")));
    let secret = Secret::new(&[1; 32]);
    let fields: Vec<Field> = (plan.fields().iter())
        .map(|name| match name.as_str() {
            "MasterRecordId" => Field::Null,
            _ => Field::Text("ada@example.com".into()),
        })
        .collect();
    let record = record(&fields);
    let (mut bytes, mut total) = (Vec::new(), 0);
    let started = std::time::Instant::now();
    for _ in 0..200_000 {
        bytes.clear();
        let resolved = identity::resolve(plan.keys(&record), |_, _, _| Err::<Evidence, _>("asked")).expect("not asked");
        identity::remember(&resolved, false, &secret, &mut bytes);
        total += bytes.len();
    }
    let each = started.elapsed() / 200_000;
    println!("{each:?} a record with three keys, {} bytes", total / 200_000);
    assert!(each.as_nanos() < 2_000, "{each:?}");
}
