use std::path::Path;

use jiff::Timestamp;

use super::*;
use crate::api::mapping_version::LegalBasis;
use crate::source::{NextPart, ResumePoint};

const RECORDS: usize = 100_000;

fn opening(directory: &Path) -> Opening<'_> {
    Opening {
        directory,
        stream: "contacts",
        between: between("Contact", "workspace (https://a.example)"),
        run: "run-1",
        epoch: 1,
        mapping: "customer 1.0.0",
    }
}

fn between(object: &str, sink: &str) -> Between {
    Between {
        object: object.into(),
        source: "org (https://crm.example)".into(),
        sink: sink.into(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("an instant")
}

fn entry(id: &str, second: i64, fate: Fate) -> Entry<'_> {
    Entry {
        id,
        stamp: at(second),
        deleted: false,
        fate,
        fingerprint: Some([7; 16]).filter(|_| fate != Fate::Rejected),
        watched: &[],
        identity: &[],
        in_order: true,
        counted: false,
        had_letter: false,
        consent_end: ConsentEnd::Kept,
        erasure: ErasureNote::Kept,
        grounds: None,
    }
}

fn letter(rule: &str) -> Letter {
    Letter {
        stage: Stage::Map,
        path: "traits[phone]".into(),
        rule: rule.into(),
    }
}

fn write(store: &mut Store, fill: impl FnOnce(&mut Entries)) -> Result<(), StateError> {
    let mut entries = Entries::default();
    fill(&mut entries);
    store.apply(&entries, at(1000))?;
    store.commit()
}

fn watermark(second: i64, id: &str) -> Watermark {
    Watermark {
        stamp: at(second),
        id: id.into(),
    }
}

#[test]
fn what_is_committed_is_there_after_reopening_and_what_is_not_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, remembered) = Store::open(&opening(folder.path())).expect("a store");
    assert_eq!(
        remembered,
        Remembered {
            origin: Origin::New,
            empty: true
        }
    );
    store.complete_as_of(at(50));
    write(&mut store, |entries| {
        entries.push(&entry("a", 1, Fate::Delivered), true);
        entries.push(&entry("b", 2, Fate::Suppressed), true);
        entries.push(&entry("c", 2, Fate::Unchanged), false);
        entries.push_rejected(&entry("d", 3, Fate::Rejected), letter("no number"), false);
    })
    .expect("written");
    let committed = store.checkpoint().clone();
    let mut lost = Entries::default();
    lost.push(&entry("e", 4, Fate::Delivered), true);
    store.apply(&lost, at(1000)).expect("applied");
    drop(store);

    let (store, remembered) = Store::open(&opening(folder.path())).expect("a store");
    assert_eq!(
        (remembered, store.checkpoint(), &committed),
        (
            Remembered {
                origin: Origin::Kept,
                empty: false
            },
            &committed,
            &Checkpoint {
                watermark: Some(watermark(3, "d")),
                complete_as_of: Some(at(50)),
                counts: Counts {
                    read: 4,
                    delivered: 1,
                    unchanged: 1,
                    suppressed: 1,
                    rejected: 1
                },
                dead_letters: 1,
                standing: 4,
                partial: false,
            }
        )
    );
}

#[test]
fn a_look_back_never_moves_the_watermark_backwards() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    for (second, id, reached) in [
        (5, "b", (5, "b")),
        (5, "a", (5, "b")),
        (4, "z", (5, "b")),
        (5, "c", (5, "c")),
    ] {
        write(&mut store, |entries| {
            entries.push(&entry(id, second, Fate::Delivered), true)
        })
        .expect("written");
        assert_eq!(store.checkpoint().watermark, Some(watermark(reached.0, reached.1)));
    }
}

#[test]
fn a_record_that_was_modified_while_it_was_read_does_not_move_the_watermark() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        entries.push(&entry("a", 1, Fate::Delivered), true);
        let modified = Entry {
            in_order: false,
            ..entry("b", 900, Fate::Delivered)
        };
        entries.push(&modified, true);
    })
    .expect("written");
    assert_eq!(store.checkpoint().watermark, Some(watermark(1, "a")));
}

#[test]
fn counts_go_on_in_the_same_run_and_begin_anew_in_the_next() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        entries.push(&entry("a", 1, Fate::Delivered), true)
    })
    .expect("written");
    drop(store);
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        let again = Entry {
            counted: true,
            ..entry("a", 1, Fate::Unchanged)
        };
        entries.push(&again, false);
        entries.push(&entry("b", 1, Fate::Delivered), true);
    })
    .expect("written");
    let same_run = store.checkpoint().counts;
    drop(store);
    let next = Opening {
        run: "run-2",
        epoch: 2,
        ..opening(folder.path())
    };
    let (store, _) = Store::open(&next).expect("a store");
    let two = Counts {
        read: 2,
        delivered: 2,
        ..Counts::default()
    };
    assert_eq!((same_run, store.checkpoint().counts), (two, Counts::default()));
    assert_eq!(Store::last_epoch(folder.path(), "contacts").expect("a number"), 2);
}

#[test]
fn of_several_that_open_a_new_store_at_once_one_makes_it() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().expect("a folder");
        std::thread::scope(|scope| {
            let open = || Store::open(&opening(folder.path())).map(|_| ());
            let opened: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            for opened in opened {
                opened.join().expect("no panic").expect("a store");
            }
        });
    }
}

#[test]
fn a_superseded_run_can_write_no_more_and_an_older_one_can_not_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let newer = Opening {
        run: "run-2",
        epoch: 2,
        ..opening(folder.path())
    };
    let (mut old, _) = Store::open(&opening(folder.path())).expect("a store");
    let (_new, _) = Store::open(&newer).expect("a store");
    let refused = write(&mut old, |entries| entries.push(&entry("a", 1, Fate::Delivered), true));
    let reopened = Store::open(&opening(folder.path())).map(|_| ());
    let words = "run \"run-1\" (number 1) was superseded: the state store belongs to run \"run-2\" (number 2)";
    assert_eq!(
        [refused, reopened].map(|result| result.map_err(|error| error.to_string())),
        [Err(words.to_owned()), Err(words.to_owned())]
    );
}

#[test]
fn a_second_pod_of_the_same_run_fences_off_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut first, _) = Store::open(&opening(folder.path())).expect("a store");
    let (mut second, _) = Store::open(&opening(folder.path())).expect("a store");
    let error = write(&mut first, |_| ()).expect_err("fenced");
    assert_eq!(error.outcome(), crate::api::common::Outcome::Superseded);
    write(&mut second, |_| ()).expect("written");
}

#[test]
fn a_dead_letter_counts_its_attempts_and_is_cleared_by_a_delivery() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    for rule in ["first", "second"] {
        write(&mut store, |entries| {
            entries.push_rejected(&entry("a", 1, Fate::Rejected), letter(rule), false);
        })
        .expect("written");
    }
    let letters = store.dead_letters(10).expect("letters");
    let mut known = Known::default();
    let found = store
        .reader()
        .expect("a reader")
        .snapshot()
        .expect("a view")
        .find("a", &mut known)
        .expect("a look");
    assert_eq!((found, known.fingerprint, known.has_letter), (true, None, true));
    write(&mut store, |entries| {
        let mended = Entry {
            had_letter: known.has_letter,
            ..entry("a", 2, Fate::Delivered)
        };
        entries.push(&mended, true);
    })
    .expect("written");
    assert_eq!(
        (
            letters,
            store.checkpoint().dead_letters,
            store.dead_letters(10).expect("letters")
        ),
        (
            vec![DeadLetter {
                record_id: "a".into(),
                stamp: at(1),
                stage: "Map".into(),
                path: "traits[phone]".into(),
                rule: "second".into(),
                mapping: "customer 1.0.0".into(),
                first: at(1000),
                last: at(1000),
                attempts: 2,
            }],
            0,
            vec![]
        )
    );
}

#[test]
fn a_refused_item_becomes_a_dead_letter_and_leaves_what_the_cdp_was_told_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        entries.push(&entry("b", 1, Fate::Delivered), true)
    })
    .expect("written");
    write(&mut store, |entries| {
        entries.push(&entry("a", 2, Fate::Unchanged), false);
        let other = Entry {
            fingerprint: Some([9; 16]),
            ..entry("b", 2, Fate::Delivered)
        };
        entries.push(&other, true);
        entries.push(&entry("c", 2, Fate::Delivered), true);
        entries.refuse([(0, "malformed JSON".to_owned())]);
    })
    .expect("written");
    let reader = store.reader().expect("a reader");
    let mut view = reader.snapshot().expect("a view");
    let mut known = Known::default();
    let fingerprints = ["a", "b", "c"].map(|id| {
        assert!(view.find(id, &mut known).expect("a look"));
        (known.fingerprint, known.has_letter)
    });
    assert_eq!(
        fingerprints,
        [(Some([7; 16]), false), (Some([7; 16]), true), (Some([7; 16]), false)]
    );
    assert_eq!(store.checkpoint().counts.rejected, 1);
}

#[test]
fn a_snapshot_sees_what_was_committed_before_it_was_renewed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    let reader = store.reader().expect("a reader");
    let mut view = reader.snapshot().expect("a view");
    let mut known = Known::default();
    let before = view.find("a", &mut known).expect("a look");
    let watched: Vec<u8> = [watched_key("Stage Changed"), 42]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    write(&mut store, |entries| {
        let watching = Entry {
            watched: &watched,
            ..entry("a", 1, Fate::Delivered)
        };
        entries.push(&watching, true);
    })
    .expect("written");
    let held = view.find("a", &mut known).expect("a look");
    view.renew().expect("renewed");
    let renewed = view.find("a", &mut known).expect("a look");
    assert_eq!((before, held, renewed), (false, false, true));
    assert_eq!(
        (
            known.is_of(at(1)),
            known.is_of(at(2)),
            known.epoch,
            known.watched(watched_key("Stage Changed")),
            known.watched(1)
        ),
        (true, false, 1, Some(42), None)
    );
}

#[test]
fn a_stream_of_another_object_source_or_sink_starts_over() {
    let first = opening(Path::new("")).between;
    let others = [
        between("Lead", &first.sink),
        between("Contact", "workspace (https://b.example)"),
        Between {
            source: "sandbox (https://crm.example)".into(),
            ..first.clone()
        },
    ];
    for other in others {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
        write(&mut store, |entries| {
            entries.push(&entry("a", 1, Fate::Delivered), true)
        })
        .expect("written");
        drop(store);
        let next = Opening {
            between: other.clone(),
            epoch: 2,
            ..opening(folder.path())
        };
        let (store, remembered) = Store::open(&next).expect("a store");
        assert_eq!(
            (remembered, store.checkpoint()),
            (
                Remembered {
                    origin: Origin::Other(first.clone()),
                    empty: true
                },
                &Checkpoint::default()
            ),
            "{other}"
        );
    }
}

#[test]
fn pods_that_open_a_new_store_at_once_make_it_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().expect("a folder");
        let start = std::sync::Barrier::new(4);
        let opened: Vec<Result<(), StateError>> = std::thread::scope(|scope| {
            let pods = [1, 2, 3, 4].map(|_| {
                scope.spawn(|| {
                    start.wait();
                    Store::open(&opening(folder.path())).map(drop)
                })
            });
            pods.map(|pod| pod.join().expect("a pod")).into()
        });
        assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    }
}

#[test]
fn records_stand_until_they_are_deleted_and_again_when_they_are_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    let cases: [(&str, Fate, bool, i64); 9] = [
        ("a", Fate::Delivered, false, 1),
        ("b", Fate::Suppressed, true, 1),
        ("c", Fate::Withheld, false, 2),
        ("a", Fate::Delivered, false, 2),
        ("a", Fate::Suppressed, true, 1),
        ("a", Fate::Withheld, true, 1),
        ("b", Fate::Delivered, false, 2),
        ("a", Fate::Unchanged, false, 3),
        ("c", Fate::Unchanged, true, 2),
    ];
    for (stamp, (id, fate, deleted, standing)) in (1..).zip(cases) {
        write(&mut store, |entries| {
            let entry = Entry {
                deleted,
                ..entry(id, stamp, fate)
            };
            entries.push(&entry, true);
        })
        .expect("written");
        assert_eq!(store.checkpoint().standing, standing, "{id} at {stamp}");
    }
}

#[test]
fn a_file_of_the_first_format_is_kept_and_learns_what_it_is_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        entries.push(&entry("a", 1, Fate::Delivered), true)
    })
    .expect("written");
    drop(store);
    let path = file_of(folder.path(), "contacts");
    rusqlite::Connection::open(&path)
        .and_then(|file| {
            file.execute_batch(
                "ALTER TABLE stream DROP COLUMN standing;
                 ALTER TABLE stream DROP COLUMN source; ALTER TABLE stream DROP COLUMN sink; DROP TABLE described;
                 ALTER TABLE record DROP COLUMN identity; ALTER TABLE record DROP COLUMN delivered_epoch;
                 ALTER TABLE record DROP COLUMN delivered_at;
                 DROP TABLE run; DROP TABLE identity_tracking; DROP TABLE identity_held; DROP TABLE identity_used;
                 DROP TABLE identity_touched; DROP TABLE identity_again; DROP TABLE identity_link;
                 DROP TABLE consent_end; DROP TABLE delivering; DROP TABLE audit; DROP TABLE audit_salt;
                 DROP TABLE erasing; DROP TABLE erasure; DROP TABLE erasure_request; DROP TABLE erasure_back;
                 DROP TABLE resume_point; DROP TABLE replay;
                 PRAGMA user_version = 1;",
            )
        })
        .expect("a file of the first format");
    let (store, kept) = Store::open(&opening(folder.path())).expect("a store");
    assert_eq!(store.checkpoint().standing, 1);
    drop(store);
    let other = Opening {
        between: between("Contact", "elsewhere (https://b.example)"),
        ..opening(folder.path())
    };
    let (_, emptied) = Store::open(&other).expect("a store");
    assert_eq!(
        [kept.origin, emptied.origin],
        [Origin::Kept, Origin::Other(opening(folder.path()).between)]
    );
}

#[test]
fn a_full_disk_is_told_and_keeps_the_last_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        entries.push(&entry("a", 1, Fate::Delivered), true)
    })
    .expect("written");
    store.limit_pages(16);
    let error = write(&mut store, |entries| {
        for n in 0..10_000 {
            entries.push(&entry(&format!("record-{n}"), 2, Fate::Delivered), true);
        }
    })
    .expect_err("no room");
    assert!(matches!(error, StateError::Full { .. }), "{error}");
    drop(store);
    let (store, _) = Store::open(&opening(folder.path())).expect("a store");
    assert_eq!(store.checkpoint().watermark, Some(watermark(1, "a")));
}

#[test]
fn a_damaged_file_is_told_and_never_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        for n in 0..10_000 {
            entries.push(&entry(&format!("record-{n}"), 2, Fate::Delivered), true);
        }
    })
    .expect("written");
    drop(store);
    let path = file_of(folder.path(), "contacts");
    let whole = std::fs::read(&path).expect("the file");
    let mut torn = whole.clone();
    torn[8192..16384].fill(0xa5);
    for damaged in [
        b"no database at all, just a long text in its place...................................................."
            .to_vec(),
        torn,
        whole[..whole.len() / 2].to_vec(),
    ] {
        std::fs::write(&path, &damaged).expect("written");
        let error = Store::open(&opening(folder.path())).map(|_| ()).expect_err("damaged");
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        assert_eq!(std::fs::read(&path).expect("the file"), damaged);
    }
}

#[test]
#[ignore = "a measurement: cargo test --release --lib state -- --ignored --nocapture"]
fn a_hundred_thousand_records_are_written_in_less_than_400_ms() {
    let folder = tempfile::tempdir().expect("a folder");
    let grounds = [0; 10];
    let ends = ConsentEnd::At(at(1_000));
    let (audited, _) = write_many(&folder.path().join("audited"), Some(&grounds), ConsentEnd::Never);
    let (ending, _) = write_many(&folder.path().join("ending"), Some(&grounds), ends);
    let (written, store) = write_many(folder.path(), None, ConsentEnd::Never);
    println!("written in {audited:?} with an audit trail, in {ending:?} with the end of consent as well");
    let reader = store.reader().expect("a reader");
    let mut view = reader.snapshot().expect("a view");
    let mut known = Known::default();
    let started = std::time::Instant::now();
    for n in 0..RECORDS {
        assert!(view.find(&format!("003Qy{n:013}"), &mut known).expect("a look"));
    }
    let read = started.elapsed();
    drop(view);
    drop((reader, store));
    let started = std::time::Instant::now();
    let size = std::fs::metadata(file_of(folder.path(), "contacts"))
        .expect("the file")
        .len();
    Store::open(&opening(folder.path())).expect("a store");
    println!(
        "written in {written:?}, looked up in {read:?}, {size} bytes checked and opened in {:?}",
        started.elapsed()
    );
    assert!(written.as_millis() < 400, "{written:?}");
}

/// Writes many records, each delivered; returns how long it took.
fn write_many(folder: &Path, grounds: Option<&[u8]>, consent_end: ConsentEnd) -> (std::time::Duration, Store) {
    let (mut store, _) = Store::open(&opening(folder)).expect("a store");
    store.name_purposes(vec![("email".into(), LegalBasis::Consent)]);
    let started = std::time::Instant::now();
    let mut entries = Entries::default();
    for n in 0..RECORDS {
        // Ids in no order: the worst that a first sync can bring.
        let id = format!("003Qy{:013}", (n * 7_919) % RECORDS);
        let entry = Entry {
            grounds,
            consent_end,
            ..entry(&id, 1, Fate::Delivered)
        };
        entries.push(&entry, true);
        if entries.len() == 500 {
            store.apply(&entries, at(0)).expect("applied");
            entries.clear();
        }
        if n % 10_000 == 9_999 {
            store.commit().expect("committed");
        }
    }
    (started.elapsed(), store)
}

fn resume_point(next: NextPart, reached: Option<Watermark>) -> ResumePoint {
    ResumePoint {
        job: "7501".into(),
        question: "a hash".into(),
        next,
        complete_as_of: at(60),
        settled_until: at(50),
        reached,
    }
}

#[test]
fn where_a_reading_can_be_gone_on_with_is_written_with_the_records_up_to_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let points = [
        resume_point(NextPart::First, None),
        resume_point(NextPart::Named("MjAwMA".into()), Some(watermark(2, "b"))),
        resume_point(NextPart::End, Some(watermark(3, "c"))),
    ];
    for (number, point) in points.into_iter().enumerate() {
        let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
        let id = format!("record-{number}");
        let unordered = Entry {
            in_order: false,
            ..entry(&id, 9, Fate::Delivered)
        };
        write(&mut store, |entries| {
            entries.push(&unordered, true);
            entries.resume_at("records", point.clone());
        })
        .expect("written");
        let mut lost = Entries::default();
        lost.resume_at("records", resume_point(NextPart::Named("lost".into()), None));
        store.apply(&lost, at(1000)).expect("applied");
        drop(store);
        let (store, _) = Store::open(&opening(folder.path())).expect("a store");
        let found = ["records", "keys"].map(|reading| store.resume_point(reading).expect("a look"));
        assert_eq!(found, [Some(point), None]);
        assert_eq!(store.checkpoint().watermark, None, "it moves at the end");
    }
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    store.advance(watermark(3, "c"));
    store.advance(watermark(2, "d"));
    store.forget_resume_points().expect("forgotten");
    store.commit().expect("committed");
    assert_eq!(store.resume_point("records").expect("a look"), None);
    assert_eq!(store.checkpoint().watermark, Some(watermark(3, "c")));
}

#[test]
fn what_another_org_would_go_on_with_is_forgotten_with_its_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        entries.resume_at("records", resume_point(NextPart::First, None))
    })
    .expect("written");
    drop(store);
    let other = Opening {
        between: between("Contact", "elsewhere (https://b.example)"),
        ..opening(folder.path())
    };
    let (store, _) = Store::open(&other).expect("a store");
    assert_eq!(store.resume_point("records").expect("a look"), None);
}

#[test]
fn a_file_of_the_seventh_format_is_kept_and_learns_where_to_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = Store::open(&opening(folder.path())).expect("a store");
    write(&mut store, |entries| {
        entries.push(&entry("a", 1, Fate::Delivered), true)
    })
    .expect("written");
    drop(store);
    rusqlite::Connection::open(file_of(folder.path(), "contacts"))
        .and_then(|file| file.execute_batch("DROP TABLE resume_point; DROP TABLE replay; PRAGMA user_version = 7;"))
        .expect("a file of the seventh format");
    let (mut store, kept) = Store::open(&opening(folder.path())).expect("a store");
    assert_eq!((kept.origin, kept.empty), (Origin::Kept, false));
    let point = resume_point(NextPart::First, None);
    write(&mut store, |entries| entries.resume_at("keys", point.clone())).expect("written");
    assert_eq!(store.resume_point("keys").expect("a look"), Some(point));
}
