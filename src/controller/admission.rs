//! Who may run now: the places of a source, `maxConcurrentRuns` of them, and who waits for one.
//!
//! A [`Queue`] a source, kept by the cache from every pipeline's status. What a decision has just taken counts at once, by a
//! reservation that stays until the cache shows the status in which the run is named.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::api::sync_pipeline::Lane;

/// A run that has waited so long goes ahead with the suppression lane, so that nothing waits for ever.
pub const PATIENCE: SignedDuration = SignedDuration::from_mins(15);
/// A stream without an objective is ranked as if its run were to be done so long after its slot.
const NO_OBJECTIVE: SignedDuration = SignedDuration::from_hours(1);

/// How often it is told anew who holds the places.
const TELL_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// A stream of a pipeline of the source's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claimant {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stream's name.
    pub stream: String,
}

/// Who goes first: the lesser rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// Suppression and whoever has lost patience go before the others.
    waits_its_turn: bool,
    /// The instant at which the objective is missed.
    missed_at: Timestamp,
}

impl Rank {
    /// The rank of a run that is due since `slot`. `complete_as_of` and `objective` are the stream's.
    pub fn of(
        lane: Lane,
        slot: Timestamp,
        complete_as_of: Option<Timestamp>,
        objective: Option<SignedDuration>,
        now: Timestamp,
    ) -> Rank {
        let missed_at = match objective {
            Some(objective) => complete_as_of.unwrap_or(slot).checked_add(objective),
            None => slot.checked_add(NO_OBJECTIVE),
        };
        Rank {
            waits_its_turn: lane == Lane::Standard && now.duration_since(slot) < PATIENCE,
            missed_at: missed_at.unwrap_or(Timestamp::MAX),
        }
    }
}

/// The places of a source, as one pipeline sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// How many there are.
    pub capacity: usize,
    /// How many are taken, by this pipeline's runs as well.
    pub taken: usize,
    /// Streams of other pipelines that wait, the first ones first; no more than there are free places.
    pub ahead: Vec<(Rank, Claimant)>,
}

impl Places {
    /// Places without anyone in them.
    pub fn free(capacity: usize) -> Places {
        Places {
            capacity,
            taken: 0,
            ahead: Vec::new(),
        }
    }

    /// Which of a pipeline's own claims get a place. Each is a rank and the claimant.
    pub fn admit(&self, claims: &[(Rank, Claimant)]) -> BTreeSet<Claimant> {
        let free = self.capacity.saturating_sub(self.taken);
        let mut all: Vec<_> = self
            .ahead
            .iter()
            .map(|claim| (claim, false))
            .chain(claims.iter().map(|claim| (claim, true)))
            .collect();
        all.sort();
        let first = all.into_iter().take(free).filter(|(_, own)| *own);
        first.map(|((_, claimant), _)| claimant.clone()).collect()
    }
}

/// The runs of a source: those under way, and those that wait.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Streams with a run, and whether the cache does not show that yet.
    running: BTreeMap<Claimant, Reserved>,
    waiting: BTreeMap<Claimant, Rank>,
    order: BTreeSet<(Rank, Claimant)>,
    /// Who was last told to hold the places, and when.
    told: Option<(Timestamp, Vec<Claimant>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserved {
    Yes,
    No,
}

impl Queue {
    /// What a status in the cache says of a pipeline's runs. A reservation stays.
    pub fn observe(&mut self, pipeline: &str, running: impl IntoIterator<Item = Claimant>) {
        let of_pipeline = |claimant: &Claimant| claimant.pipeline == pipeline;
        self.running
            .retain(|claimant, reserved| !of_pipeline(claimant) || *reserved == Reserved::Yes);
        for claimant in running {
            self.running.entry(claimant).or_insert(Reserved::No);
        }
    }

    /// What was decided for a pipeline, before it is written: these of its streams run, these wait.
    pub fn decide(
        &mut self,
        pipeline: &str,
        running: impl IntoIterator<Item = Claimant>,
        waiting: impl IntoIterator<Item = (Rank, Claimant)>,
    ) {
        self.running.retain(|claimant, _| claimant.pipeline != pipeline);
        self.running
            .extend(running.into_iter().map(|claimant| (claimant, Reserved::Yes)));
        self.wait_no_more(pipeline);
        for (rank, claimant) in waiting {
            self.order.insert((rank, claimant.clone()));
            self.waiting.insert(claimant, rank);
        }
    }

    /// The write has ended: from here the cache tells.
    pub fn settle(&mut self, pipeline: &str) {
        for (claimant, reserved) in &mut self.running {
            if claimant.pipeline == pipeline {
                *reserved = Reserved::No;
            }
        }
    }

    /// A pipeline waits for nothing: it could not be written, or is gone.
    pub fn wait_no_more(&mut self, pipeline: &str) {
        let gone: Vec<_> = self
            .waiting
            .iter()
            .filter(|(claimant, _)| claimant.pipeline == pipeline)
            .map(|(claimant, rank)| (*rank, claimant.clone()))
            .collect();
        for claim in gone {
            self.waiting.remove(&claim.1);
            self.order.remove(&claim);
        }
    }

    /// The places, as a pipeline sees them.
    pub fn places(&self, capacity: usize, pipeline: &str) -> Places {
        let free = capacity.saturating_sub(self.running.len());
        let others = self.order.iter().filter(|(_, claimant)| claimant.pipeline != pipeline);
        Places {
            capacity,
            taken: self.running.len(),
            ahead: others.take(free).cloned().collect(),
        }
    }

    /// The pipelines whose waiting streams have a place now.
    pub fn next(&self, capacity: usize) -> BTreeSet<&str> {
        let free = capacity.saturating_sub(self.running.len());
        let first = self.order.iter().take(free);
        first.map(|(_, claimant)| claimant.pipeline.as_str()).collect()
    }

    /// Who is to be told to hold the places while others wait, and until when that stays what is told: each change of it is a write
    /// of the source's status, and where runs wait they also come and go.
    pub fn holders(&mut self, now: Timestamp) -> (Vec<Claimant>, Timestamp) {
        let until = |told: Timestamp| told.checked_add(TELL_AGAIN).unwrap_or(Timestamp::MAX);
        if let Some((at, told)) = self.told.as_ref().filter(|(at, _)| *at <= now && now < until(*at)) {
            return (told.clone(), until(*at));
        }
        let told: Vec<_> = self.running.keys().cloned().collect();
        self.told = Some((now, told.clone()));
        (told, until(now))
    }

    /// Who runs.
    pub fn running(&self) -> impl Iterator<Item = &Claimant> {
        self.running.keys()
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn claimant(pipeline: &str) -> Claimant {
        Claimant {
            pipeline: pipeline.to_owned(),
            stream: "s".to_owned(),
        }
    }

    #[test]
    fn suppression_goes_first_then_whoever_is_nearest_to_missing_its_objective_and_nobody_waits_for_ever() {
        let minutes = |count| Some(SignedDuration::from_mins(count));
        let now = at(10_000);
        let slot = at(9_990);
        let old = at(10_000 - PATIENCE.as_secs());
        let claims = [
            ("no objective", Rank::of(Lane::Standard, slot, None, None, now)),
            (
                "near",
                Rank::of(Lane::Standard, slot, Some(at(9_500)), minutes(15), now),
            ),
            ("far", Rank::of(Lane::Standard, slot, Some(at(9_900)), minutes(30), now)),
            ("never complete", Rank::of(Lane::Standard, slot, None, minutes(15), now)),
            (
                "withdrawals",
                Rank::of(Lane::Suppression, slot, Some(at(9_990)), minutes(1), now),
            ),
            (
                "waits since long",
                Rank::of(Lane::Standard, old, Some(old), minutes(15), now),
            ),
        ];
        let mut order: Vec<_> = claims.iter().collect();
        order.sort_by_key(|(_, rank)| *rank);
        let names: Vec<_> = order.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "waits since long",
                "withdrawals",
                "near",
                "never complete",
                "far",
                "no objective"
            ]
        );
    }

    #[test]
    fn a_reservation_counts_until_the_cache_shows_it_and_not_after_the_write_failed() {
        let mut queue = Queue::default();
        queue.decide("a", [claimant("a")], []);
        // A view from before the write.
        queue.observe("a", []);
        assert_eq!(queue.places(1, "b").taken, 1);
        queue.settle("a");
        queue.observe("a", []);
        assert_eq!(queue.places(1, "b").taken, 0);
    }

    #[test]
    fn whoever_waits_is_next_when_a_place_is_free_and_the_others_leave_it() {
        let rank = |second| Rank {
            waits_its_turn: true,
            missed_at: at(second),
        };
        let mut queue = Queue::default();
        queue.observe("a", [claimant("a")]);
        queue.decide("b", [], [(rank(9), claimant("b"))]);
        queue.decide("c", [], [(rank(5), claimant("c"))]);
        assert_eq!(queue.next(1), BTreeSet::new());
        queue.observe("a", []);
        assert_eq!(queue.next(1), BTreeSet::from(["c"]));
        assert_eq!(queue.places(1, "b").admit(&[(rank(9), claimant("b"))]), BTreeSet::new());
        assert_eq!(
            queue.places(1, "c").admit(&[(rank(5), claimant("c"))]),
            BTreeSet::from([claimant("c")])
        );
        queue.wait_no_more("c");
        assert_eq!(queue.next(1), BTreeSet::from(["b"]));
    }

    #[test]
    fn who_holds_the_places_is_told_anew_every_half_minute() {
        let mut queue = Queue::default();
        queue.observe("a", [claimant("a")]);
        assert_eq!(queue.holders(at(100)), (vec![claimant("a")], at(130)));
        queue.observe("a", []);
        queue.observe("b", [claimant("b")]);
        assert_eq!(queue.holders(at(129)), (vec![claimant("a")], at(130)));
        assert_eq!(queue.holders(at(130)), (vec![claimant("b")], at(160)));
    }

    proptest! {
        /// Streams come, wait, run for a while and end; suppression comes without pause.
        #[test]
        fn no_more_run_than_there_are_places_and_every_run_starts(
            capacity in 1..4_usize,
            arrivals in proptest::collection::vec((0_i64..600, any::<bool>(), 1_i64..120), 1..40),
        ) {
            let mut queue = Queue::default();
            let names: Vec<String> = (0..arrivals.len()).map(|number| number.to_string()).collect();
            let mut ends: BTreeMap<usize, i64> = BTreeMap::new();
            let mut started: BTreeSet<usize> = BTreeSet::new();
            // Enough for all of them, one after another, after the last has lost its patience.
            for second in 0..(600 + PATIENCE.as_secs() + 40 * 120) {
                ends.retain(|number, end| {
                    let runs = *end > second;
                    if !runs {
                        queue.observe(&names[*number], []);
                    }
                    runs
                });
                for (number, (slot, suppression, long)) in arrivals.iter().enumerate() {
                    if *slot > second || started.contains(&number) {
                        continue;
                    }
                    let lane = if *suppression { Lane::Suppression } else { Lane::Standard };
                    let claim = (Rank::of(lane, at(*slot), None, None, at(second)), claimant(&names[number]));
                    let admitted = queue.places(capacity, &names[number]).admit(std::slice::from_ref(&claim));
                    if admitted.is_empty() {
                        queue.decide(&names[number], [], [claim]);
                    } else {
                        queue.decide(&names[number], admitted, []);
                        queue.settle(&names[number]);
                        started.insert(number);
                        ends.insert(number, second + long);
                    }
                    prop_assert!(queue.running().count() <= capacity);
                }
            }
            prop_assert_eq!(started.len(), arrivals.len());
        }
    }
}
