//! What holds for every history of updates, deletes and undeletes: no verdict rests on the order of delivery within a run, and
//! nobody is joined to somebody else by a value that identifies nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use ferrygate::identity::{
    self, Evidence, Key, KeyHash, Place, Refusal, Relation, Resolved, Secret, Successor, Verdict,
};
use ferrygate::source::Recalled;
use ferrygate::state::{Between, ConsentEnd, Entries, Entry, ErasureNote, Fate, Opening, Store};
use jiff::Timestamp;
use proptest::prelude::*;

const RECORDS: usize = 6;
const VALUES: usize = 3;
const THRESHOLD: u32 = 3;

/// What the CRM shows of each record that changed before a run: its value, or none where it was deleted or has none.
type Changes = BTreeMap<usize, Option<usize>>;

/// A run: what changed, who was merged into whom, and the orders in which its readings deliver.
#[derive(Clone, Debug)]
struct Run {
    changes: Changes,
    merges: BTreeMap<usize, usize>,
    orders: [u64; 2],
}

fn any_run() -> impl Strategy<Value = Run> {
    let changes = prop::collection::btree_map(0..RECORDS, prop::option::weighted(0.8, 0..VALUES), 1..=RECORDS);
    let merge = prop::option::weighted(0.3, (0..RECORDS, 0..RECORDS));
    (changes, merge, any::<[u64; 2]>()).prop_map(|(mut changes, merge, orders)| {
        let merges: BTreeMap<_, _> = merge.into_iter().filter(|(loser, winner)| loser != winner).collect();
        // The CRM deletes who loses a merge, and keeps the one that stays.
        for (loser, winner) in &merges {
            changes.insert(*loser, None);
            changes.entry(*winner).or_insert(Some(0));
        }
        Run {
            changes,
            merges,
            orders,
        }
    })
}

/// A stream's state, and what the CRM shows now.
struct World {
    folder: tempfile::TempDir,
    secret: Secret,
    shown: Changes,
    verdicts: BTreeMap<usize, Verdict>,
    /// The records of the last run, in the order in which they were delivered.
    delivered: Vec<usize>,
    epoch: i64,
}

impl World {
    fn new() -> World {
        World {
            folder: tempfile::tempdir().expect("a folder"),
            secret: Secret::new(&[1; 32]),
            shown: Changes::new(),
            verdicts: BTreeMap::new(),
            delivered: Vec::new(),
            epoch: 0,
        }
    }

    fn hash(&self, value: usize) -> KeyHash {
        self.secret.hash("email", &value.to_string())
    }

    /// One run, as the worker does it: keys, records, and those once more whose verdict others have changed.
    fn run(&mut self, Run { changes, merges, .. }: &Run, order: u64) {
        self.epoch += 1;
        self.delivered.clear();
        self.shown.extend(changes.clone());
        let opening = Opening {
            directory: self.folder.path(),
            stream: "contacts",
            between: Between {
                object: "Contact".into(),
                source: "org".into(),
                sink: "cdp".into(),
            },
            run: &format!("run-{}", self.epoch),
            epoch: self.epoch,
            mapping: "customer 1.0.0",
        };
        let (mut store, _) = Store::open(&opening).expect("a store");
        store.track([("email", "v1")]).expect("tracked");
        let mut entries = Entries::default();
        for record in shuffled(changes.keys().copied().collect(), order) {
            entries.observe(&id(record), "email", self.shown[&record].map(|value| self.hash(value)));
        }
        for (loser, winner) in merges {
            self.delivered.push(*loser);
            let successor = Successor {
                relation: Relation::Merged,
                id: &id(*winner),
            };
            entries.succeed(&id(*loser), &successor);
        }
        store.apply(&entries, Timestamp::UNIX_EPOCH).expect("applied");
        store.tracked([("email", "v1")]).expect("tracked");
        store.commit().expect("committed");
        let records = changes.keys().copied().filter(|record| !merges.contains_key(record));
        self.deliver(&mut store, shuffled(records.collect(), order.rotate_left(7)));
        self.deliver_deleted(&mut store, merges.keys());
        store.settle([("email", THRESHOLD)]).expect("settled");
        store.commit().expect("committed");
        for forced in [true, false] {
            let reader = store.reader().expect("a reader");
            let again = reader.again(forced, Timestamp::UNIX_EPOCH, None, 100).expect("ids");
            let number = |again: &Recalled| again.record_id[3..].parse().expect("a number");
            let again = again.iter().map(number).collect();
            self.deliver(&mut store, shuffled(again, order.rotate_left(13)));
        }
        store.delivered_again().expect("noted");
        store.commit().expect("committed");
    }

    /// What the store learns of the losers of merges.
    fn deliver_deleted<'r>(&mut self, store: &mut Store, records: impl Iterator<Item = &'r usize>) {
        let before = self.delivered.clone();
        self.deliver(store, records.copied().collect());
        self.delivered = before;
    }

    /// Delivers records one by one, each lasting before the next one is judged: the worst that can be for an order.
    fn deliver(&mut self, store: &mut Store, records: Vec<usize>) {
        for record in records {
            let mut blob = Vec::new();
            self.delivered.push(record);
            let value = self.shown[&record];
            let id = id(record);
            if let Some(value) = value {
                let resolved = self.resolve(store, &id, value);
                self.verdicts.insert(record, resolved.verdict);
                identity::remember(&[resolved], false, &self.secret, &mut blob);
            } else {
                self.verdicts.remove(&record);
            }
            let mut entries = Entries::default();
            let entry = Entry {
                id: &id,
                stamp: Timestamp::UNIX_EPOCH,
                deleted: value.is_none(),
                fate: if value.is_none() {
                    Fate::Suppressed
                } else {
                    Fate::Delivered
                },
                fingerprint: Some([1; 16]),
                watched: &[],
                identity: &blob,
                in_order: true,
                counted: false,
                had_letter: false,
                consent_end: ConsentEnd::Never,
                erasure: ErasureNote::Kept,
                grounds: None,
            };
            entries.push(&entry, true);
            store.apply(&entries, Timestamp::UNIX_EPOCH).expect("applied");
            store.commit().expect("committed");
        }
    }

    fn resolve(&self, store: &Store, id: &str, value: usize) -> Resolved<'static> {
        let reader = store.reader().expect("a reader");
        let snapshot = reader.snapshot().expect("a snapshot");
        let key = key(value.to_string(), false);
        let resolved = identity::resolve([key], |key, value, threshold| {
            snapshot.evidence(id, key.kind, self.secret.hash(key.kind, value), threshold, self.epoch)
        });
        resolved.expect("evidence").remove(0)
    }

    /// The records that have each value now.
    fn holders(&self) -> BTreeMap<usize, BTreeSet<usize>> {
        let mut holders: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (record, value) in &self.shown {
            if let Some(value) = value {
                holders.entry(*value).or_default().insert(*record);
            }
        }
        holders
    }
}

fn id(record: usize) -> String {
    format!("003{record}")
}

fn key(value: String, informational: bool) -> Key<'static> {
    Key {
        kind: "email",
        place: Place::ExternalId,
        informational,
        shared_by: Some(THRESHOLD),
        value: Some(value.into()),
        barred: None,
    }
}

/// The same numbers in an order that `seed` chooses.
fn shuffled(mut numbers: Vec<usize>, mut seed: u64) -> Vec<usize> {
    for place in (1..numbers.len()).rev() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        numbers.swap(place, usize::try_from(seed >> 33).expect("31 bits") % (place + 1));
    }
    numbers
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_verdict_rests_on_the_order_of_delivery_and_nobody_is_joined_by_a_shared_or_a_recycled_value(
        history in prop::collection::vec(any_run(), 1..5),
    ) {
        let mut worlds = [World::new(), World::new()];
        // By which values the CDP knows whom, from the runs before.
        let mut known: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for run in &history {
            for (world, order) in worlds.iter_mut().zip(run.orders) {
                world.run(run, order);
                for (loser, winner) in &run.merges {
                    let last = |record| world.delivered.iter().rposition(|delivered| delivered == record);
                    prop_assert!(last(loser) < last(winner), "the one that stays is heard last: {:?}", history);
                }
            }
            let [one, other] = &worlds;
            prop_assert_eq!(&one.verdicts, &other.verdicts, "{:?}", history);
            let holders = one.holders();
            for (record, verdict) in &one.verdicts {
                let value = one.shown[record].expect("it was judged by a value");
                let (sharing, before) = (&holders[&value], known.get(&value).cloned().unwrap_or_default());
                // The spec, anew: shared by too many; else one that another gave up, that nobody has kept.
                let kept = before.intersection(sharing).next().is_some();
                let expected = if sharing.len() >= THRESHOLD as usize {
                    Verdict::Refused(Refusal::Shared { by: THRESHOLD })
                } else if !before.contains(record) && !kept && !before.is_empty() {
                    Verdict::Refused(Refusal::Recycled)
                } else {
                    Verdict::ExternalId
                };
                // Who wasn't in the run is judged again only where that changes what is delivered: a refusal keeps its reason.
                if run.changes.contains_key(record) {
                    prop_assert_eq!(*verdict, expected, "record {} of {:?}", record, history);
                } else if sharing.iter().any(|other| run.changes.contains_key(other)) {
                    prop_assert_eq!(verdict.is_delivered(), expected.is_delivered(), "record {} of {:?}", record, history);
                }
                if *verdict == Verdict::ExternalId {
                    prop_assert!(sharing.len() < THRESHOLD as usize, "{:?}", history);
                }
            }
            for (record, verdict) in &one.verdicts {
                if *verdict == Verdict::ExternalId {
                    known.entry(one.shown[record].expect("a value")).or_default().insert(*record);
                }
            }
        }
    }

    #[test]
    fn an_informational_key_is_never_more_than_that(
        holders in 1..5_u32, settled in any::<bool>(), given_up in any::<bool>(), own in any::<bool>(), value in ".*",
    ) {
        let evidence = Evidence { holders, settled, given_up, own };
        let resolved = identity::resolve([key(value, true)], |_, _, _| Ok::<_, Infallible>(evidence));
        let Ok(resolved) = resolved;
        prop_assert!(matches!(resolved[0].verdict, Verdict::Informational | Verdict::Refused(_)));
    }
}
