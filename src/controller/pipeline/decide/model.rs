//! A model of the API server, of stale caches, of controllers that end in the middle, and of a clock that jumps.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::super::jobs::{WorkerImage, sync_job};
use super::tests::{at, decide, failed, light, observed, pipeline};
use super::*;

/// How many traces are tried; `MODEL_TRACES` asks for more.
fn traces() -> u32 {
    std::env::var("MODEL_TRACES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(64)
}

#[derive(Clone, Debug)]
enum Step {
    /// A controller decides on what its caches hold, so many writes old, and ends after so many calls.
    Reconcile {
        pipeline_age: usize,
        jobs_age: usize,
        calls: usize,
    },
    /// The run under way ends; its worker's report arrives or not.
    End { succeeds: bool, reports: bool },
    /// The clock moves.
    Tick { seconds: i64 },
    /// Somebody wipes the status; the Jobs that have ended go, or stay.
    Wipe { jobs: bool },
}

fn steps(faults: bool) -> impl Strategy<Value = Vec<Step>> {
    // Most reconciles go well, or no trace would come far.
    let fault = u32::from(faults);
    let age = || prop_oneof![3 => Just(0), fault => 0..14_usize];
    let calls = prop_oneof![3 => Just(9), fault => 0..4_usize];
    let reconcile = (age(), age(), calls).prop_map(|(pipeline_age, jobs_age, calls)| Step::Reconcile {
        pipeline_age,
        jobs_age,
        calls,
    });
    let end = (any::<bool>(), any::<bool>()).prop_map(move |(succeeds, reports)| Step::End {
        succeeds: succeeds || !faults,
        reports: reports || !faults,
    });
    let seconds = if faults { -400_i64..900 } else { 0..900 };
    let tick = seconds.prop_map(|seconds| Step::Tick { seconds });
    proptest::collection::vec(prop_oneof![4 => reconcile, 2 => end, 2 => tick], 1..90)
}

/// What the API server holds, and what it held after each of the last writes.
struct World {
    now: Timestamp,
    pipelines: Vec<SyncPipeline>,
    jobs: Vec<BTreeMap<String, Arc<LightJob>>>,
    /// Every Job that there ever was.
    created: BTreeSet<String>,
    /// The number of the last run.
    epoch: i64,
    /// The slots that runs were started for.
    slots: BTreeSet<Timestamp>,
}

impl World {
    fn new() -> World {
        World {
            now: at("08:00:01"),
            pipelines: vec![pipeline(Value::Null)],
            jobs: vec![BTreeMap::new()],
            created: BTreeSet::new(),
            epoch: 0,
            slots: BTreeSet::new(),
        }
    }

    fn pipeline(&self) -> &SyncPipeline {
        &self.pipelines[self.pipelines.len() - 1]
    }

    fn jobs(&self) -> &BTreeMap<String, Arc<LightJob>> {
        &self.jobs[self.jobs.len() - 1]
    }

    fn status(&self) -> SyncPipelineStatus {
        self.pipeline().status.clone().unwrap_or_default()
    }

    /// Writes a status as the API server keeps it: through JSON, whose times have no fractions.
    fn write(&mut self, status: &SyncPipelineStatus) {
        let mut pipeline = self.pipeline().clone();
        pipeline.status = serde_json::from_value(json!(status)).unwrap();
        self.pipelines.push(pipeline);
    }

    /// The calls that a reconcile makes, in its order.
    fn reconcile(&mut self, pipeline_age: usize, jobs_age: usize, calls: usize) -> Option<Timestamp> {
        let seen = self.pipelines.len() - 1 - pipeline_age.min(self.pipelines.len() - 1);
        let current = seen == self.pipelines.len() - 1;
        let mut view = observed();
        view.made.jobs = self.jobs[self.jobs.len() - 1 - jobs_age.min(self.jobs.len() - 1)].clone();
        let before = self.pipelines[seen].clone();
        let decision = decide(&before, &view, self.now);
        let changes = before.status.as_ref() != Some(&decision.status);
        // A write under an old resourceVersion is refused; where nothing is written, Jobs are touched of a current view only.
        if calls == 0 || (!current && (changes || !decision.work.is_empty())) {
            return decision.wake;
        }
        if changes {
            self.write(&decision.status);
        }
        for work in decision.work.into_iter().take(calls - 1) {
            let mut jobs = self.jobs().clone();
            match work {
                Work::Create(run) => {
                    if !jobs.contains_key(&run.name) {
                        assert!(self.created.insert(run.name.clone()), "run {} was made twice", run.name);
                        assert!(
                            run.epoch > self.epoch,
                            "run {} has the number of an older one",
                            run.name
                        );
                        self.epoch = run.epoch;
                        let active = self.status().streams[0].active_run.clone().unwrap();
                        self.slots.insert(active.slot_time.0);
                        jobs.insert(run.name.clone(), Arc::new(self.job(&run)));
                    }
                }
                Work::Delete(name) => drop(jobs.remove(&name)),
                Work::CreateClaim | Work::PatchClaim(_) => {}
            }
            self.jobs.push(jobs);
        }
        decision.wake
    }

    fn end(&mut self, succeeds: bool, reports: bool) {
        let Some(name) = self.active().pop() else { return };
        let mut status = self.status();
        let active = status.streams.iter_mut().find_map(|stream| stream.active_run.as_mut());
        if let Some(run) = active.filter(|run| run.name == name && reports) {
            let outcome = if succeeds { "Succeeded" } else { "SourceUnavailable" };
            run.report = serde_json::from_value(json!({"outcome": outcome, "message": ""})).unwrap();
            self.write(&status);
        }
        let mut jobs = self.jobs().clone();
        let standing = if succeeds { Standing::Complete } else { failed() };
        jobs.entry(name)
            .and_modify(|job| Arc::make_mut(job).standing = standing);
        self.jobs.push(jobs);
    }

    /// The Job of a run, as it is made.
    fn job(&self, run: &OwnedRun) -> LightJob {
        let worker = WorkerImage {
            image: "ferrygate".to_owned(),
            pull_policy: "Never".to_owned(),
        };
        light(&sync_job(
            self.pipeline(),
            &run.borrowed(),
            &run.source.spec,
            &run.sink.spec,
            None,
            &worker,
        ))
    }

    /// Takes a second, as nobody is faster: the clock numbers the run that starts after it.
    fn wipe(&mut self, jobs: bool) {
        self.write(&SyncPipelineStatus::default());
        if jobs {
            let mut left = self.jobs().clone();
            left.retain(|_, job| job.is_active());
            self.jobs.push(left);
        }
        self.now += SignedDuration::from_secs(1);
    }

    fn active(&self) -> Vec<String> {
        let active = self.jobs().iter().filter(|(_, job)| job.is_active());
        active.map(|(name, _)| name.clone()).collect()
    }

    fn play(&mut self, step: &Step) {
        match *step {
            Step::Reconcile {
                pipeline_age,
                jobs_age,
                calls,
            } => drop(self.reconcile(pipeline_age, jobs_age, calls)),
            Step::End { succeeds, reports } => self.end(succeeds, reports),
            Step::Wipe { jobs } => self.wipe(jobs),
            Step::Tick { seconds } => self.now += SignedDuration::from_secs(seconds),
        }
        assert!(self.active().len() <= 1, "two runs at once: {:?}", self.active());
    }

    /// With no faults any more, the stream goes on.
    fn goes_on(&mut self) {
        let runs = self.created.len();
        for _ in 0..40 {
            let wake = self.reconcile(0, 0, 9);
            if self.active().is_empty() {
                self.now = wake.unwrap_or(self.now).max(self.now) + SignedDuration::from_millis(5);
            } else {
                self.end(true, true);
            }
        }
        assert!(
            self.created.len() >= runs + 3,
            "the stream stands still: {:?}",
            self.status()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(traces()))]

    #[test]
    fn never_two_runs_at_once_and_never_none_again(steps in steps(true)) {
        let mut world = World::new();
        for step in &steps {
            world.play(step);
        }
        world.goes_on();
    }

    #[test]
    fn a_wiped_status_starts_no_second_run(steps in proptest::collection::vec(
        prop_oneof![4 => steps(false), 1 => any::<bool>().prop_map(|jobs| vec![Step::Wipe { jobs }])], 1..12,
    )) {
        let mut world = World::new();
        for step in steps.iter().flatten() {
            world.play(step);
        }
        world.goes_on();
    }

    #[test]
    fn every_slot_has_its_run_or_is_counted(steps in steps(false)) {
        let mut world = World::new();
        for step in &steps {
            world.play(step);
        }
        world.goes_on();
        let stream = world.status().streams[0].clone();
        let cadence = resolve(world.pipeline(), &observed(), world.now).ok().unwrap().cadences.remove(0);
        let (first, last) = (*world.slots.first().unwrap(), *world.slots.last().unwrap());
        // The first run is beside the schedule.
        let due = cadence.between(first, last).map_or(0, |(count, _)| count) + 1;
        let ran = world.slots.len() as i64 - 1;
        prop_assert_eq!(ran + stream.skipped.map_or(0, |skipped| skipped.count), due);
    }
}
