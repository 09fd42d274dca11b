//! When consent ends, and the audit trail of what was sent.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::audit_reader::AuditError;
use super::*;
use crate::api::mapping_version::LegalBasis;
use crate::consent::{Denial, Statement};
use crate::source::Recalled;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("an instant")
}

fn open(directory: &Path, epoch: i64) -> Store {
    let opening = Opening {
        directory,
        stream: "contacts",
        between: Between {
            object: "Contact".into(),
            source: "org (https://crm.example)".into(),
            sink: "workspace (https://a.example)".into(),
        },
        run: &format!("run-{epoch}"),
        epoch,
        mapping: "customer 1.0.0",
    };
    let (mut store, _) = Store::open(&opening).expect("a store");
    store.name_purposes(vec![
        ("email".into(), LegalBasis::Consent),
        ("service".into(), LegalBasis::Contract),
    ]);
    store
}

fn entry<'a>(id: &'a str, fate: Fate, consent_end: ConsentEnd, grounds: Option<&'a [u8]>) -> Entry<'a> {
    Entry {
        id,
        stamp: at(0),
        deleted: false,
        fate,
        fingerprint: Some([7; 16]),
        watched: &[],
        identity: &[],
        in_order: true,
        counted: false,
        had_letter: false,
        consent_end,
        erasure: ErasureNote::Kept,
        grounds,
    }
}

fn write(store: &mut Store, now: i64, fill: impl FnOnce(&mut Entries)) {
    let mut entries = Entries::default();
    fill(&mut entries);
    store.apply(&entries, at(now)).expect("applied");
    store.commit().expect("committed");
}

fn ended(store: &Store, by: i64, limit: usize) -> Vec<(String, i64)> {
    let reader = store.reader().expect("a reader");
    let (mut all, mut after): (Vec<Recalled>, Option<Recalled>) = (Vec::new(), None);
    loop {
        let some = reader.ended(at(by), after.as_ref(), limit).expect("a look");
        after = some.last().cloned();
        if after.is_none() {
            break;
        }
        all.extend(some);
    }
    let second = |instant: Timestamp| instant.as_second() - 1_700_000_000;
    all.into_iter()
        .map(|ended| (ended.record_id, second(ended.at)))
        .collect()
}

#[test]
fn what_has_ended_by_an_instant_is_found_until_it_is_dealt_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path(), 1);
    assert!(!store.keeps_ends());
    let ends = [("a", 10), ("b", 10), ("c", 5), ("d", 20), ("e", 10)];
    write(&mut store, 0, |entries| {
        for (id, end) in ends {
            entries.push(&entry(id, Fate::Delivered, ConsentEnd::At(at(end)), None), true);
        }
        entries.push(&entry("f", Fate::Delivered, ConsentEnd::Never, None), true);
    });
    let found = |store: &Store, by| {
        let all = ended(store, by, 2);
        assert_eq!(all, ended(store, by, 100));
        all.into_iter()
            .map(|(id, end)| format!("{id} {end}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(&store, 4), Vec::<String>::new());
    assert_eq!(found(&store, 10), ["c 5", "a 10", "b 10", "e 10"]);

    drop(store);
    let mut store = open(folder.path(), 2);
    assert!(store.keeps_ends(), "it is known again after reopening");
    write(&mut store, 10, |entries| {
        entries.push(&entry("c", Fate::Suppressed, ConsentEnd::Never, None), true);
        entries.push(&entry("a", Fate::Unchanged, ConsentEnd::At(at(30)), None), false);
        entries.push(&entry("b", Fate::Rejected, ConsentEnd::Kept, None), false);
        entries.push(&entry("e", Fate::Suppressed, ConsentEnd::Never, None), true);
        // The CDP refuses the suppression of e, the second item that was sent.
        entries.refuse([(1, "refused".to_owned())]);
    });
    assert_eq!(found(&store, 40), ["b 10", "e 10", "d 20", "a 30"]);
}

#[test]
fn what_is_withheld_keeps_what_the_cdp_was_told_and_is_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path(), 1);
    write(&mut store, 0, |entries| {
        entries.push(&entry("a", Fate::Delivered, ConsentEnd::At(at(90)), None), true);
    });
    write(&mut store, 10, |entries| {
        let changed = |id, end| Entry {
            fingerprint: Some([8; 16]),
            ..entry(id, Fate::Delivered, ConsentEnd::At(at(end)), None)
        };
        entries.push(&changed("a", 9), true);
        entries.push(&changed("b", 9), true);
        entries.push(&changed("c", 50), true);
        entries.withhold([0, 1]);
    });
    let reader = store.reader().expect("a reader");
    let mut view = reader.snapshot().expect("a view");
    let mut known = Known::default();
    let fingerprints = ["a", "b", "c"].map(|id| {
        assert!(view.find(id, &mut known).expect("a look"));
        known.fingerprint
    });
    assert_eq!(fingerprints, [Some([7; 16]), None, Some([8; 16])]);
    assert_eq!(ended(&store, 10, 10), [("a".to_owned(), 9), ("b".to_owned(), 9)]);
    let counts = store.checkpoint().counts;
    assert_eq!((counts.delivered, counts.suppressed), (2, 2));
}

/// A trail of two runs: deliveries of a, b and c, then a suppression of a.
fn trail(directory: &Path) -> AuditTrail {
    let grounds = |email: Result<(), Denial>, evidence: Option<i64>| {
        let email = Statement {
            evidence: evidence.map(at),
            ..Statement::new("email", LegalBasis::Consent, email)
        };
        let mut out = Vec::new();
        write_grounds(
            &[email, Statement::new("service", LegalBasis::Contract, Ok(()))],
            &mut out,
        );
        out
    };
    let granted = grounds(Ok(()), Some(-1_000));
    let mut store = open(directory, 1);
    write(&mut store, 1, |entries| {
        entries.push(&entry("003-a", Fate::Delivered, ConsentEnd::Kept, Some(&granted)), true);
        entries.push(
            &entry("003-u", Fate::Unchanged, ConsentEnd::Kept, Some(&granted)),
            false,
        );
        entries.push(&entry("003-b", Fate::Delivered, ConsentEnd::Kept, Some(&granted)), true);
        entries.push(&entry("003-r", Fate::Delivered, ConsentEnd::Kept, Some(&granted)), true);
        entries.push(&entry("001-company", Fate::Delivered, ConsentEnd::Kept, None), true);
        entries.refuse([(2, "refused".to_owned())]);
    });
    write(&mut store, 2, |entries| {
        entries.push(&entry("003-c", Fate::Delivered, ConsentEnd::Kept, Some(&granted)), true);
        entries.withhold([0]);
    });
    write(&mut store, 3, |entries| {
        entries.push(
            &entry("003-u", Fate::Unchanged, ConsentEnd::Kept, Some(&granted)),
            false,
        );
    });
    drop(store);
    let denied = grounds(Err(Denial::Region(2)), None);
    let mut store = open(directory, 2);
    write(&mut store, 4, |entries| {
        entries.push(
            &entry("003-a", Fate::Suppressed, ConsentEnd::Never, Some(&denied)),
            true,
        );
    });
    AuditTrail::open(&file_of(directory, "contacts")).expect("a trail")
}

fn exported(trail: &AuditTrail, record: Option<&str>) -> Vec<Value> {
    let mut lines = Vec::new();
    trail
        .export(record, |delivery| {
            lines.push(serde_json::to_value(delivery)?);
            Ok(())
        })
        .expect("an export");
    lines
}

#[test]
fn the_trail_answers_what_stood_of_a_persons_consent_when_something_was_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let trail = trail(folder.path());
    let outcomes = |record| -> Vec<String> {
        let lines = exported(&trail, record);
        lines
            .iter()
            .map(|line| format!("{} {}", line["run"], line["outcome"]).replace('"', ""))
            .collect()
    };
    assert_eq!(outcomes(Some("003-a")), ["run-1 Delivered", "run-2 Suppressed"]);
    assert_eq!(outcomes(Some("003-c")), ["run-1 Withheld"]);
    assert_eq!(
        [
            outcomes(Some("003-u")),
            outcomes(Some("003-r")),
            outcomes(Some("001-company"))
        ],
        [const { Vec::<String>::new() }; 3],
        "what was not sent or not taken, and what is no person, is not in it"
    );
    let lines = exported(&trail, None);
    assert_eq!(lines.len(), 4);
    let mut last = lines[3].clone();
    let (record, hash) = (last["record"].take(), last["entryHash"].take());
    assert_eq!(
        (record.as_str().map(str::len), hash.as_str().map(str::len)),
        (Some(32), Some(64))
    );
    assert_eq!(record, lines[0]["record"], "a record has one hash");
    let expected = json!({
        "record": null, "time": at(4).to_string(), "outcome": "Suppressed",
        "consent": [
            {"purpose": "email", "verdict": "Denied", "reason": "Region[2]", "legalBasis": "Consent"},
            {"purpose": "service", "verdict": "Granted", "legalBasis": "Contract"},
        ],
        "mapping": "customer 1.0.0", "run": "run-2", "stream": "contacts", "object": "Contact",
        "source": "org (https://crm.example)", "sink": "workspace (https://a.example)", "entry": 3, "entryHash": null,
    });
    assert_eq!(last, expected);
    assert_eq!(lines[0]["consent"][0]["evidence"], json!(at(-1_000).to_string()));
    assert!(!format!("{lines:?}").contains("003-"), "ids are hashed");
}

#[test]
fn a_trail_that_was_tampered_with_is_found_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = trail(folder.path());
    let verified = whole.verify(None).expect("whole");
    assert_eq!((verified.entries, verified.deliveries), (3, 4));
    let known = verified.last_hash.expect("a hash");
    assert_eq!(whole.verify(Some(&known)).expect("whole").holds_expected, Some(true));

    let path = file_of(folder.path(), "contacts");
    let file = rusqlite::Connection::open(&path).expect("the file");
    for refused in [
        "DELETE FROM audit WHERE number = 3",
        "UPDATE audit SET head = '{}' WHERE number = 1",
    ] {
        let error = file.execute_batch(refused).expect_err("refused").to_string();
        assert!(error.contains("only grows"), "{error}");
    }
    file.execute_batch("DROP TRIGGER audit_is_never_changed; DROP TRIGGER audit_is_never_removed")
        .expect("dropped");
    file.execute_batch("CREATE TEMP TABLE kept AS SELECT * FROM audit")
        .expect("kept");
    let cases = [
        (
            "UPDATE audit SET head = replace(head, 'run-1', 'run-9') WHERE number = 1",
            1,
        ),
        (
            "UPDATE audit SET deliveries = zeroblob(length(deliveries)) WHERE number = 2",
            2,
        ),
        ("UPDATE audit SET hash = zeroblob(32) WHERE number = 2", 2),
        ("UPDATE audit SET previous = zeroblob(32) WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 2", 2),
        ("UPDATE audit SET number = 7 WHERE number = 3", 3),
    ];
    for (tampering, expected) in cases {
        file.execute_batch(&format!("BEGIN; {tampering}; COMMIT"))
            .expect("changed");
        match whole.verify(None) {
            Err(AuditError::Broken { number, .. }) => assert_eq!(number, expected, "{tampering}"),
            other => panic!("{tampering}: {other:?}"),
        }
        assert!(
            matches!(whole.export(None, |_| Ok(())), Err(AuditError::Broken { .. })),
            "{tampering}"
        );
        file.execute_batch("DELETE FROM audit; INSERT INTO audit SELECT * FROM kept")
            .expect("restored");
    }
    // What was cut off at the end is found out by a hash that is kept elsewhere.
    file.execute_batch("DELETE FROM audit WHERE number = 3").expect("cut");
    let cut = whole.verify(Some(&known)).expect("a chain");
    assert_eq!((cut.entries, cut.holds_expected), (2, Some(false)));
}
