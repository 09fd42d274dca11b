//! Two or three processes contend for the lead while everything fails, under virtual time.

mod rounds;
mod world;

use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::{Instant, advance, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{ACT, Candidate, GIVE_UP, LEASE, Leadership, RENEW, RETRY};
use crate::controller::fake_api::{FakeApi, Fault, Verb};
use world::{Network, Weather};

const NAMESPACE: &str = "ferrygate-system";
const NAME: &str = "ferrygate-controller";

fn candidate(network: &Network, seed: u64) -> Candidate {
    Candidate::new(network.client(), NAMESPACE, NAME, "pod", Rng::with_seed(seed))
}

fn network(api: &FakeApi) -> Network {
    Network::new(api, Rng::with_seed(7))
}

async fn leads(candidate: &mut Candidate) -> Leadership {
    candidate.lead(&CancellationToken::new()).await.unwrap()
}

fn put_lease(api: &FakeApi, spec: Value) {
    let lease: Lease =
        serde_json::from_value(json!({"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": spec})).unwrap();
    api.put(&lease);
}

fn holder(api: &FakeApi) -> String {
    let lease: Lease = api.get(NAMESPACE, NAME).unwrap();
    lease.spec.unwrap().holder_identity.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_taken_when_it_was_unchanged_for_its_own_duration_whatever_its_times_say() {
    let at = |hours: i64| {
        let then = Timestamp::now() + SignedDuration::from_hours(hours);
        format!("{then:.6}")
    };
    let held = |seconds: Value, renewed: String| json!({"holderIdentity": "other", "leaseDurationSeconds": seconds, "acquireTime": renewed, "renewTime": renewed});
    for (spec, expected) in [
        (None, 0),
        (Some(json!({})), 0),
        (
            Some(json!({"holderIdentity": "", "leaseDurationSeconds": 15, "renewTime": at(0)})),
            0,
        ),
        (Some(json!({"holderIdentity": "other"})), 15),
        (Some(held(json!(15), at(0))), 15),
        (Some(held(json!(15), at(-100_000))), 15),
        (Some(held(json!(15), at(100_000))), 15),
        (Some(held(json!(40), at(0))), 40),
        (Some(held(json!(5), at(0))), 5),
        (Some(held(json!(0), at(0))), 15),
        (Some(held(json!(-1), at(0))), 15),
    ] {
        let api = FakeApi::new();
        if let Some(spec) = spec.clone() {
            put_lease(&api, spec);
        }
        let began = Instant::now();
        leads(&mut candidate(&network(&api), 1)).await;
        let took = began.elapsed();
        let expected = Duration::from_secs(expected);
        assert!(
            took >= expected && took < expected + Duration::from_millis(200),
            "{spec:?}: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_change_of_the_lease_counts_as_a_sign_of_life() {
    let api = FakeApi::new();
    let held = |turn: u32| json!({"holderIdentity": "other", "leaseDurationSeconds": 15, "leaseTransitions": turn});
    put_lease(&api, held(0));
    let began = Instant::now();
    let network = network(&api);
    let mut candidate = candidate(&network, 1);
    let signs = async {
        for turn in 1..=10 {
            sleep(Duration::from_secs(14)).await;
            put_lease(&api, held(turn));
        }
        sleep(Duration::from_secs(600)).await;
    };
    tokio::select! {
        () = signs => panic!("it was never taken"),
        _ = leads(&mut candidate) => {}
    }
    let last = Duration::from_secs(140);
    let took = began.elapsed();
    assert!(
        took >= last + LEASE && took < last + LEASE + RETRY + Duration::from_millis(200),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_quiet_leader_writes_once_a_renewal_and_reads_nothing() {
    let api = FakeApi::new();
    let mut leadership = leads(&mut candidate(&network(&api), 1)).await;
    let (calls, writes) = (api.calls(), api.writes().len());
    let _ = timeout(Duration::from_secs(60), leadership.hold()).await;
    let renewals = api.writes().len() - writes;
    assert_eq!(
        (
            api.calls() - calls,
            api.writes().iter().filter(|write| write.code > 201).count()
        ),
        (renewals, 0)
    );
    assert!((28..=30).contains(&renewals), "{renewals}");
    assert!(api.writes().iter().skip(1).all(|write| write.verb == Verb::Update));
}

#[tokio::test(start_paused = true)]
async fn the_term_is_counted_from_when_the_last_renewal_that_was_taken_was_sent() {
    for weather in [Weather::Silent, Weather::Refused, Weather::AnswersLost] {
        let api = FakeApi::new();
        let network = network(&api);
        let mut leadership = leads(&mut candidate(&network, 1)).await;
        let term = leadership.term();
        assert!(term.is_current());
        network.set(weather);
        let began = Instant::now();
        leadership.hold().await;
        let took = began.elapsed();
        // It was sent up to 40 ms before it was answered.
        let least = GIVE_UP - Duration::from_millis(41);
        assert!(took >= least && took <= GIVE_UP, "{weather:?}: {took:?}");
        assert!(!term.is_current());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_late_makes_no_term_longer() {
    let api = FakeApi::new();
    let network = network(&api);
    let mut leadership = leads(&mut candidate(&network, 1)).await;
    network.set(Weather::AnswersLate);
    let began = Instant::now();
    let silence = async {
        sleep(RENEW + Duration::from_millis(500)).await;
        network.set(Weather::Silent);
    };
    tokio::join!(leadership.hold(), silence);
    let (took, most) = (began.elapsed(), RENEW + GIVE_UP);
    assert!(took > most - Duration::from_millis(100) && took <= most, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_frozen_may_not_act_when_it_wakes() {
    let api = FakeApi::new();
    let mut leadership = leads(&mut candidate(&network(&api), 1)).await;
    let term = leadership.term();
    advance(GIVE_UP).await;
    assert!(!term.is_current());
    timeout(Duration::from_millis(1), leadership.hold()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_renewal_whose_answer_is_lost_loses_no_lead() {
    let api = FakeApi::new();
    let network = network(&api);
    let mut leadership = leads(&mut candidate(&network, 1)).await;
    let weather = async {
        for _ in 0..20 {
            network.set(Weather::AnswersLost);
            sleep(RENEW + Duration::from_secs(1)).await;
            network.set(Weather::Fair);
            sleep(Duration::from_secs(5)).await;
        }
    };
    tokio::select! {
        () = weather => {}
        () = leadership.hold() => panic!("lost"),
    }
    assert!(api.writes().iter().any(|write| write.code == 409));
}

#[tokio::test(start_paused = true)]
async fn a_take_whose_answer_is_lost_is_taken_up_again_at_once() {
    let api = FakeApi::new();
    api.fail_at(2, Fault::AnswerLost);
    let mut candidate = candidate(&network(&api), 1);
    let healed = async {
        sleep(Duration::from_millis(200)).await;
        api.heal();
        sleep(RETRY * 2).await;
    };
    tokio::select! {
        () = healed => panic!("it doesn't lead"),
        _ = leads(&mut candidate) => {}
    }
    let lease: Lease = api.get(NAMESPACE, NAME).unwrap();
    assert_eq!(lease.spec.unwrap().lease_transitions, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_process_of_the_same_name_is_another_candidate() {
    let api = FakeApi::new();
    let network = network(&api);
    let _killed = leads(&mut candidate(&network, 1)).await;
    let began = Instant::now();
    leads(&mut candidate(&network, 2)).await;
    assert!(began.elapsed() >= LEASE);
    assert!(holder(&api).starts_with("pod_"));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_ends_the_lead_and_is_waited_for_by_who_knew_it() {
    let api = FakeApi::new();
    let network = network(&api);
    let mut leadership = leads(&mut candidate(&network, 1)).await;
    let mut standby = candidate(&network, 2);
    let deleted = Instant::now() + Duration::from_secs(5);
    let delete = async {
        tokio::time::sleep_until(deleted).await;
        api.delete::<Lease>(NAMESPACE, NAME);
        std::future::pending::<()>().await;
    };
    let (lost, taken) = tokio::select! {
        () = delete => unreachable!(),
        both = async {
            tokio::join!(
                async { leadership.hold().await; deleted.elapsed() },
                async { leads(&mut standby).await; deleted.elapsed() },
            )
        } => both,
    };
    assert!(lost <= RENEW + Duration::from_millis(100), "{lost:?}");
    assert!(taken >= LEASE && taken < LEASE + Duration::from_secs(2), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_stop_waits_for_the_lead_no_longer() {
    let api = FakeApi::new();
    let network = network(&api);
    let _leader = leads(&mut candidate(&network, 1)).await;
    network.set(Weather::Silent);
    let shutdown = CancellationToken::new();
    let mut standby = candidate(&network, 2);
    let stop = async {
        sleep(Duration::from_millis(1500)).await;
        shutdown.cancel();
        Instant::now()
    };
    let (leadership, stopped) = tokio::join!(standby.lead(&shutdown), stop);
    assert!(leadership.is_none() && stopped.elapsed() < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn a_lead_is_released_only_where_it_is_still_held() {
    let api = FakeApi::new();
    let network = network(&api);
    let leadership = leads(&mut candidate(&network, 1)).await;
    // A renewal that was under way, or a hand, has changed it since.
    let mut lease: Lease = api.get(NAMESPACE, NAME).unwrap();
    lease.labels_mut().insert("touched".into(), "yes".into());
    api.put(&lease);
    let term = leadership.term();
    leadership.release().await;
    assert_eq!((holder(&api).as_str(), term.is_current()), ("", false));

    let leadership = leads(&mut candidate(&network, 2)).await;
    put_lease(&api, json!({"holderIdentity": "other"}));
    leadership.release().await;
    assert_eq!(holder(&api), "other");
}
