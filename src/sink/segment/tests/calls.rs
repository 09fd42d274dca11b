//! The calls of each entity, byte by byte.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value as Json;

use super::spec;
use crate::api::mapping_version::Entity;
use crate::consent::{Decision, Statement};
use crate::identity::{Relation, Successor};
use crate::mapping::{ExternalId, Mapped, MappedEvent, Trigger, Value};
use crate::sink::segment::encode::{EncodeError, Encoder};
use crate::sink::{Encoded, Provenance};

fn provenance(run: &str) -> Provenance<'_> {
    Provenance {
        pipeline: "crm-prod/customers",
        stream: "contacts",
        run,
        mapping: "customer",
        mapping_version: "2.1.0",
        object: "Contact",
        record_id: "003Qy00000AbCdE",
        stamp: "2026-05-04T08:41:07Z".parse().unwrap(),
        extracted_at: "2026-05-04T09:00:00.123456Z".parse().unwrap(),
    }
}

fn mapped(entity: Entity) -> Mapped<'static> {
    let text = |text: &'static str| Value::String(Cow::Borrowed(text));
    let stamp: Timestamp = "2020-02-29T23:59:59.5Z".parse().unwrap();
    Mapped {
        entity,
        user_id: (entity != Entity::Account).then_some(Cow::Borrowed("003Qy00000AbCdE")),
        group_id: (entity != Entity::Deal).then_some(Cow::Borrowed("001A")),
        external_ids: vec![ExternalId {
            kind: "loyalty_id",
            sent_as: "loyalty_id",
            id: Cow::Borrowed("L-1"),
        }],
        traits: vec![
            ("email", text("ada@acme.example")),
            ("name", text("Zoë \"Ada\"\n\\ \u{1}")),
            ("fax", Value::Null),
            ("visits", Value::Integer(-42)),
            (
                "value",
                Value::Decimal("79228162514264337593543950.335".parse().unwrap()),
            ),
            ("tiny", Value::Decimal("-0.00000001".parse().unwrap())),
            ("active", Value::Boolean(true)),
            ("since", Value::Timestamp(stamp)),
            ("born", Value::Date("1815-12-10".parse().unwrap())),
        ],
        consent: vec![
            ("profiling", false).into(),
            Statement {
                sent_as: "Email",
                ..("marketing_email", true).into()
            },
            ("profiling", true).into(),
        ],
        events: vec![MappedEvent {
            name: "Stage Changed",
            sent_as: "Stage Changed",
            at: "2026-05-03T10:00:00Z".parse().unwrap(),
            properties: vec![("to", text("Won"))],
            trigger: Trigger::Created,
        }],
    }
}

fn encode(mapped: &Mapped<'_>, decision: Decision, run: &str) -> (Result<Encoded, EncodeError>, String) {
    let mut out = Vec::new();
    let events: Vec<&MappedEvent<'_>> = mapped.events.iter().collect();
    let encoder = Encoder::new(&spec("https://api.segment.io/v1", false, "writeKey"));
    let encoded = encoder.encode(mapped, decision, &events, &provenance(run), &mut out);
    (encoded, String::from_utf8(out).unwrap())
}

/// The calls without their ids, which are checked apart.
fn without_ids(calls: &str) -> String {
    let mut pieces = calls.split(",\"messageId\":\"");
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |text, piece| text + &piece[piece.find('"').unwrap() + 1..])
}

const CONSENT: &str = r#""consent":{"categoryPreferences":{"profiling":false,"Email":true}},"#;
const DENIED: &str = r#""consent":{"categoryPreferences":{"profiling":false,"Email":false}},"#;
const ORIGIN: &str = concat!(
    r#""library":{"name":"ferrygate","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""},"ferrygate":{"pipeline":"crm-prod/customers","stream":"contacts","run":"run-1","mapping":"customer","mappingVersion":"2.1.0","object":"Contact","recordId":"003Qy00000AbCdE","extractedAt":"2026-05-04T09:00:00.123Z"}}}"#
);
const TRAITS: &str = r#""traits":{"email":"ada@acme.example","name":"Zoë \"Ada\"\n\\ \u0001","fax":null,"visits":-42,"value":79228162514264337593543950.335,"tiny":-0.00000001,"active":true,"since":"2020-02-29T23:59:59.500Z","born":"1815-12-10"}"#;
const TIME: &str = r#""timestamp":"2026-05-04T08:41:07.000Z""#;
const IDS: &str = r#""externalIds":[{"id":"L-1","type":"loyalty_id","collection":"users","encoding":"none"}],"#;

#[test]
fn each_entity_becomes_its_calls() {
    let user = r#""userId":"003Qy00000AbCdE""#;
    let account = r#""anonymousId":"26c8d0f2""#;
    let track = format!(
        r#"{{"type":"track",{user},"event":"Stage Changed","timestamp":"2026-05-03T10:00:00.000Z","properties":{{"to":"Won"}},"context":{{{CONSENT}{ORIGIN}"#
    );
    let cases = [
        (
            Entity::Person,
            3,
            format!(
                r#"{{"type":"identify",{user},{TIME},{TRAITS},"context":{{{CONSENT}{IDS}"groupId":"001A",{ORIGIN},{{"type":"group",{user},"groupId":"001A",{TIME},"traits":{{}},"context":{{{CONSENT}{ORIGIN},{track}"#
            ),
        ),
        (
            Entity::Account,
            1,
            format!(
                r#"{{"type":"group",{account},"groupId":"001A",{TIME},{TRAITS},"context":{{{CONSENT}{IDS}{ORIGIN}"#
            ),
        ),
        (Entity::Deal, 1, track.clone()),
        (
            Entity::Membership,
            2,
            format!(
                r#"{{"type":"group",{user},"groupId":"001A",{TIME},"traits":{{}},"context":{{{CONSENT}{TRAITS},{ORIGIN},{track}"#
            ),
        ),
    ];
    for (entity, calls, expected) in cases {
        let mut mapped = mapped(entity);
        if entity == Entity::Account {
            mapped.events.clear();
        }
        let (encoded, out) = encode(&mapped, Decision::Activate, "run-1");
        let anonymous = out
            .split_once(r#""anonymousId":""#)
            .map(|(_, rest)| &rest[..rest.find('"').unwrap()]);
        let expected = expected.replace("26c8d0f2", anonymous.unwrap_or_default());
        assert_eq!((encoded, without_ids(&out)), (Ok(Encoded { calls }), expected));
        assert!(anonymous.is_none_or(|id| id.len() == 64), "{anonymous:?}");
        let parsed: Vec<Json> = serde_json::from_str(&format!("[{out}]")).unwrap();
        assert_eq!(parsed.len(), calls as usize);
    }
}

#[test]
fn a_suppression_denies_every_purpose_and_carries_no_trait() {
    let mut nothing_known = mapped(Entity::Person);
    nothing_known.consent.clear();
    let cases = [
        (
            mapped(Entity::Person),
            1,
            format!(r#"{{"type":"identify","userId":"003Qy00000AbCdE",{TIME},"context":{{{DENIED}{ORIGIN}"#),
        ),
        (
            nothing_known,
            1,
            format!(
                r#"{{"type":"identify","userId":"003Qy00000AbCdE",{TIME},"context":{{"consent":{{"categoryPreferences":{{"marketing_email":false}}}},{ORIGIN}"#
            ),
        ),
        (mapped(Entity::Deal), 0, String::new()),
        (mapped(Entity::Membership), 0, String::new()),
    ];
    for (mapped, calls, expected) in cases {
        let (encoded, out) = encode(&mapped, Decision::Suppress, "run-1");
        assert_eq!((encoded, without_ids(&out)), (Ok(Encoded { calls }), expected));
    }
    let (encoded, out) = encode(&mapped(Entity::Account), Decision::Suppress, "run-1");
    assert_eq!(
        (encoded, out.contains("traits"), out.contains("L-1")),
        (Ok(Encoded { calls: 1 }), false, false)
    );
}

#[test]
fn a_message_id_is_the_same_for_the_same_content_whichever_run_sends_it() {
    let ids = |mapped: &Mapped<'_>, decision, run| -> Vec<String> {
        let (_, out) = encode(mapped, decision, run);
        let calls: Vec<Json> = serde_json::from_str(&format!("[{out}]")).unwrap();
        calls
            .iter()
            .map(|call| call["messageId"].as_str().unwrap().to_owned())
            .collect()
    };
    let person = mapped(Entity::Person);
    let mut changed = person.clone();
    changed.traits[0].1 = Value::Null;
    let first = ids(&person, Decision::Activate, "run-1");
    let mut all: Vec<String> = first.clone();
    all.extend(ids(&changed, Decision::Activate, "run-1").into_iter().take(1));
    all.extend(ids(&person, Decision::Suppress, "run-1"));
    assert_eq!(ids(&person, Decision::Activate, "run-2"), first);
    assert!(all.iter().all(|id| id.len() == 40), "{all:?}");
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "each content has its own id");
}

#[test]
fn a_record_that_can_not_be_sent_leaves_nothing_behind() {
    let mut large = mapped(Entity::Person);
    large.traits.push(("notes", Value::String("x".repeat(32_000).into())));
    let mut large_event = mapped(Entity::Deal);
    large_event.events[0]
        .properties
        .push(("notes", Value::String("x".repeat(32_000).into())));
    let mut nobody = mapped(Entity::Person);
    nobody.user_id = None;
    let mut no_group = mapped(Entity::Account);
    no_group.group_id = Some("".into());
    let errors =
        [large, large_event, nobody, no_group].map(|mapped| match encode(&mapped, Decision::Activate, "run-1") {
            (Err(EncodeError::TooLarge { call, bytes }), out) => (call, bytes > 32_000, out),
            (Err(EncodeError::NoIdentity(name)), out) => (name, false, out),
            (Ok(_), out) => ("encoded", false, out),
        });
    let expected = [
        ("identify", true),
        ("track", true),
        ("user id", false),
        ("group id", false),
    ];
    assert_eq!(
        errors,
        expected.map(|(what, too_large)| (what, too_large, String::new()))
    );
}

#[test]
fn a_person_who_goes_on_as_another_one_is_suppressed_and_then_aliased() {
    let encoder = Encoder::new(&spec("https://cdp.example", false, "writeKey"));
    let (mapped, mut out) = (mapped(Entity::Person), Vec::new());
    let successor = Successor {
        relation: Relation::Merged,
        id: "003Survivor",
    };
    let encoded = encoder.encode_successor(&mapped, &successor, &provenance("run"), &mut out);
    let calls: Vec<Json> = serde_json::from_str(&format!("[{}]", String::from_utf8(out).unwrap())).unwrap();
    assert_eq!(encoded, Ok(Encoded { calls: 2 }));
    assert_eq!(
        [
            &calls[0]["type"],
            &calls[0]["userId"],
            &calls[0]["traits"],
            &calls[0]["context"]["externalIds"]
        ],
        [
            &Json::from("identify"),
            &Json::from("003Qy00000AbCdE"),
            &Json::Null,
            &Json::Null
        ]
    );
    assert_eq!(
        [
            &calls[1]["type"],
            &calls[1]["previousId"],
            &calls[1]["userId"],
            &calls[1]["traits"]
        ],
        [
            &Json::from("alias"),
            &Json::from("003Qy00000AbCdE"),
            &Json::from("003Survivor"),
            &Json::Null
        ]
    );
    assert_ne!(calls[0]["messageId"], calls[1]["messageId"]);
}
