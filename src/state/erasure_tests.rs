//! The outbox of erasures: what puts a record in, what takes it out, and what is lost with a transaction.

use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::api::sync_pipeline::Erasures;
use crate::sink::Standing;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("an instant")
}

fn open(directory: &Path, sink: &str) -> Store {
    let opening = Opening {
        directory,
        stream: "contacts",
        between: Between {
            object: "Contact".into(),
            source: "org (https://crm.example)".into(),
            sink: sink.into(),
        },
        run: "run-1",
        epoch: 1,
        mapping: "customer 1.0.0",
    };
    let (mut store, _) = Store::open(&opening).expect("a store");
    store.erase_deleted(true, at(0)).expect("noted");
    store.commit().expect("committed");
    store
}

/// Applies records: each with whether it was deleted, and its fate.
fn apply(store: &mut Store, records: &[(&str, ErasureNote, Fate)]) {
    let mut entries = Entries::default();
    for (id, erasure, fate) in records {
        let entry = Entry {
            id,
            stamp: at(0),
            deleted: *erasure != ErasureNote::Void,
            fate: *fate,
            fingerprint: Some([7; 16]),
            watched: &[],
            identity: &[],
            in_order: true,
            counted: false,
            had_letter: false,
            consent_end: ConsentEnd::Never,
            erasure: *erasure,
            grounds: None,
        };
        entries.push(&entry, *fate != Fate::Unchanged);
    }
    store.apply(&entries, at(10)).expect("applied");
}

fn due(store: &Store) -> Vec<String> {
    store.due_erasures(at(100), "", 10).expect("a look")
}

fn left(store: &Store) -> (i64, i64) {
    let Erasures { waiting, running } = store.erasures().expect("a count").expect("it erases");
    (waiting, running)
}

fn request(store: &mut Store, records: &[&str], regulation: &str) {
    let records: Vec<String> = records.iter().map(|record| (*record).to_owned()).collect();
    let number = store.begin_erasure(&records, "DELETE_ONLY", at(20)).expect("begun");
    store.erasure_requested(number, regulation, at(21)).expect("noted");
}

fn end(store: &mut Store, standing: &Standing) {
    for running in store.running_erasures(at(1_000), 10).expect("a look") {
        store
            .erasure_stands(&running, standing, at(1_000), at(2_000))
            .expect("noted");
    }
}

#[test]
fn an_erasure_is_due_with_the_suppression_and_lost_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path(), "workspace");
    apply(
        &mut store,
        &[
            ("a", ErasureNote::Due, Fate::Suppressed),
            ("b", ErasureNote::Void, Fate::Delivered),
        ],
    );
    store.commit().expect("committed");
    apply(&mut store, &[("c", ErasureNote::Due, Fate::Suppressed)]);
    drop(store);
    let store = open(folder.path(), "workspace");
    assert_eq!((due(&store), left(&store)), (vec!["a".to_owned()], (1, 0)));
}

#[test]
fn what_is_read_of_a_record_decides_on_its_erasure() {
    use ErasureNote::{Due, Kept, Void};
    use Fate::{Delivered, Suppressed, Unchanged};
    let finished = Standing::Finished("FINISHED".into());
    // Before a request, while it runs, and after its end: what is due then, and who is delivered once more.
    type Reads = &'static [(ErasureNote, Fate)];
    type Ids = &'static [&'static str];
    let cases: [(Reads, Reads, Reads, Ids, Ids); 9] = [
        (&[(Due, Suppressed)], &[], &[], &[], &[]),
        (&[(Due, Suppressed)], &[(Due, Unchanged)], &[(Due, Unchanged)], &[], &[]),
        (&[(Due, Suppressed)], &[], &[(Void, Delivered)], &[], &[]),
        (&[(Due, Suppressed)], &[], &[(Void, Unchanged)], &[], &["a"]),
        (
            &[(Due, Suppressed)],
            &[],
            &[(Void, Delivered), (Due, Suppressed)],
            &["a"],
            &[],
        ),
        (&[(Due, Suppressed)], &[(Void, Delivered)], &[], &[], &["a"]),
        (
            &[(Due, Suppressed)],
            &[(Void, Delivered), (Due, Suppressed)],
            &[],
            &["a"],
            &[],
        ),
        (&[(Due, Suppressed)], &[(Kept, Suppressed)], &[], &[], &[]),
        (
            &[(Due, Unchanged)],
            &[(Void, Delivered)],
            &[(Due, Suppressed)],
            &["a"],
            &[],
        ),
    ];
    for (number, (before, during, after, expected_due, expected_again)) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = open(folder.path(), "workspace");
        let read = |store: &mut Store, reads: Reads| {
            reads
                .iter()
                .for_each(|(note, fate)| apply(store, &[("a", *note, *fate)]));
            store.commit().expect("committed");
        };
        read(&mut store, before);
        assert_eq!(due(&store), ["a"], "case {number}");
        request(&mut store, &["a"], "reg_1");
        read(&mut store, during);
        end(&mut store, &finished);
        read(&mut store, after);
        let again = returned(&store);
        assert_eq!(
            (due(&store), again),
            (owned(expected_due), owned(expected_again)),
            "case {number}"
        );
    }
}

fn returned(store: &Store) -> Vec<String> {
    let reader = store.reader().expect("a reader");
    let again = reader.returned(at(0), None, 10).expect("a look");
    again.into_iter().map(|recalled| recalled.record_id).collect()
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn who_returns_while_a_request_is_in_doubt_is_not_asked_for_if_it_never_arrived_and_delivered_again_if_it_did() {
    for arrived in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut store = open(folder.path(), "workspace");
        let deleted = ["a", "b"].map(|id| (id, ErasureNote::Due, Fate::Suppressed));
        apply(&mut store, &deleted);
        store
            .begin_erasure(&owned(&["a", "b"]), "DELETE_ONLY", at(20))
            .expect("begun");
        drop(store);

        let mut store = open(folder.path(), "workspace");
        apply(&mut store, &[("a", ErasureNote::Void, Fate::Delivered)]);
        let doubts = store.doubtful_erasures().expect("a look");
        let [(number, sought)] = doubts.as_slice() else {
            panic!("{doubts:?}");
        };
        assert_eq!(
            sought.subjects,
            crate::sink::subjects_hash(["b", "a"]),
            "of all who were in it"
        );
        if arrived {
            store.erasure_requested(*number, "reg_1", at(30)).expect("noted");
            end(&mut store, &Standing::Finished("FINISHED".into()));
        } else {
            store.undo_erasure(*number).expect("undone");
        }
        let again = returned(&store);
        let expected = if arrived {
            (vec![], owned(&["a"]))
        } else {
            (owned(&["b"]), vec![])
        };
        assert_eq!((due(&store), again), expected, "arrived: {arrived}");
    }
}

#[test]
fn a_file_of_the_fifth_format_is_kept_with_its_trail_and_learns_to_erase() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path(), "workspace");
    apply(
        &mut store,
        &[
            ("a", ErasureNote::Kept, Fate::Suppressed),
            ("b", ErasureNote::Void, Fate::Delivered),
        ],
    );
    store.commit().expect("committed");
    drop(store);
    let path = file_of(folder.path(), "contacts");
    rusqlite::Connection::open(&path)
        .and_then(|file| {
            file.execute_batch(
                "ALTER TABLE stream DROP COLUMN standing;
                 DROP TABLE erasing; DROP TABLE erasure; DROP TABLE erasure_request; DROP TABLE erasure_back;
                 DROP TABLE resume_point; DROP TABLE replay;
                 PRAGMA user_version = 5;",
            )
        })
        .expect("a file of the fifth format");
    let mut store = open(folder.path(), "workspace");
    assert_eq!(due(&store), ["a"], "it was deleted before the stream erased");
    request(&mut store, &["a"], "reg_1");
    let trail = AuditTrail::open(&path).expect("a trail").verify(None).expect("whole");
    assert_eq!((trail.entries, trail.deliveries, trail.erasures), (1, 0, 1));
}

#[test]
fn a_stream_that_goes_elsewhere_tells_how_many_erasures_it_leaves_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path(), "workspace");
    apply(
        &mut store,
        &["a", "b", "c"].map(|id| (id, ErasureNote::Due, Fate::Suppressed)),
    );
    request(&mut store, &["b"], "reg_1");
    drop(store);
    let store = open(folder.path(), "elsewhere");
    assert_eq!((store.erasures_left(), left(&store)), (2, (0, 0)));
}
