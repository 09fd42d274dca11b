//! Whole lives of processes, by seeded chance.

use std::cell::Cell;
use std::time::Duration;

use fastrand::Rng;
use futures::future::join_all;
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::world::{Network, Watchman, Weather, controller, freezable};
use super::{ACT, LEASE, NAME, NAMESPACE};
use crate::controller::fake_api::FakeApi;
use crate::controller::leader::Candidate;

/// How long faults happen in a round.
const STORM: Duration = Duration::from_secs(60);
/// How long after that somebody must be at work: the last slow request arrives, and the Lease that it renewed expires.
const CALM: Duration = Duration::from_secs(10 + 15 + 2);
/// How long an act takes where nothing is wrong.
const SHORT: Duration = Duration::from_millis(50);

fn under_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(work)
}

/// A machine on which one process follows another, with faults until it is calm.
async fn machine(api: &FakeApi, watchman: &Watchman, mut rng: Rng, calm: Instant) {
    let network = Network::new(api, rng.fork());
    loop {
        let candidate = Candidate::new(network.client(), NAMESPACE, NAME, "pod", rng.fork());
        let (frozen, shutdown) = (Cell::new(Instant::now()), CancellationToken::new());
        let process = controller(candidate, watchman.enlist(), ACT, watchman, rng.fork(), &shutdown);
        tokio::select! {
            () = freezable(&frozen, process) => {}
            // Dropped: the process is killed.
            () = faults(&network, &frozen, &shutdown, rng.fork(), calm) => {}
        }
        sleep(Duration::from_millis(rng.u64(0..2_000))).await;
    }
}

/// What befalls a process, until it is killed or all is calm.
async fn faults(network: &Network, frozen: &Cell<Instant>, shutdown: &CancellationToken, mut rng: Rng, calm: Instant) {
    loop {
        let next = Instant::now() + Duration::from_millis(rng.u64(0..10_000));
        sleep_until(next.min(calm)).await;
        if next >= calm {
            network.set(Weather::Fair);
            return std::future::pending().await;
        }
        match rng.u8(0..16) {
            0..7 => network.set(Weather::Fair),
            7 => network.set(Weather::AnswersLate),
            8 => network.set(Weather::Slow),
            9 => network.set(Weather::AnswersLost),
            10 => network.set(Weather::Silent),
            11 => network.set(Weather::Refused),
            12 => frozen.set(calm.min(Instant::now() + Duration::from_millis(rng.u64(0..40_000)))),
            13 => return,
            _ => shutdown.cancel(),
        }
    }
}

#[test]
fn two_or_three_processes_that_contend_for_1000_rounds_are_never_at_work_at_once() {
    let mut changes = 0;
    for seed in 0..1000 {
        changes += under_virtual_time(async {
            let (api, watchman, mut rng) = (FakeApi::new(), Watchman::default(), Rng::with_seed(seed));
            let calm = Instant::now() + STORM;
            let machines = (0..2 + seed % 2).map(|_| machine(&api, &watchman, rng.fork(), calm));
            let settled = async {
                sleep_until(calm).await;
                while watchman.last().is_none_or(|(_, began)| began < calm) {
                    assert!(calm.elapsed() < CALM, "round {seed}: nobody works");
                    sleep(SHORT).await;
                }
            };
            tokio::select! {
                _ = join_all(machines) => {}
                () = settled => {}
            }
            watchman.changes()
        });
    }
    // The rounds are worth something only while the lead goes from one to another, which takes a fault each time.
    assert!(changes > 1000, "{changes}");
}

/// How long after the leader's end another begins.
async fn handover(seed: u64, end: impl AsyncFnOnce(CancellationToken)) -> Duration {
    let (api, watchman, mut rng) = (FakeApi::new(), Watchman::default(), Rng::with_seed(seed));
    let network = Network::new(&api, rng.fork());
    let never = CancellationToken::new();
    let shutdown = CancellationToken::new();
    let mut process = |shutdown| {
        let candidate = Candidate::new(network.client(), NAMESPACE, NAME, "pod", rng.fork());
        controller(candidate, watchman.enlist(), SHORT, &watchman, rng.fork(), shutdown)
    };
    let (leader, standby) = (process(&shutdown), process(&never));
    let at = Duration::from_millis(rng.u64(1_000..20_000));
    let scenario = async {
        let ended = async {
            sleep(at).await;
            end(shutdown.clone()).await;
        };
        tokio::select! {
            () = leader => {}
            () = ended => {}
        }
        assert_eq!(
            watchman.last().map(|(process, _)| process),
            Some(1),
            "the first one leads"
        );
    };
    let followed = async {
        scenario.await;
        while watchman.changes() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let began = Instant::now();
    // The leader is a step ahead.
    let standby = async {
        sleep(Duration::from_millis(300)).await;
        standby.await;
    };
    tokio::select! {
        () = followed => {}
        () = standby => {}
    }
    began.elapsed() - at
}

#[test]
fn a_leader_that_is_told_to_stop_is_followed_within_two_seconds() {
    for seed in 0..100 {
        let took = under_virtual_time(handover(seed, async |shutdown| {
            shutdown.cancel();
            std::future::pending().await
        }));
        assert!(took < Duration::from_secs(2), "{seed}: {took:?}");
    }
}

#[test]
fn a_leader_that_is_killed_is_followed_within_the_lease_and_two_seconds() {
    for seed in 0..100 {
        let took = under_virtual_time(handover(seed, async |_| {}));
        assert!(took < LEASE + Duration::from_secs(2), "{seed}: {took:?}");
    }
}
