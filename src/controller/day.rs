//! A day of a pipeline, by the real reconcile against an API server in this process: once undisturbed, and once for each call
//! that the day makes, with the controller's process ending at that call.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::channel::mpsc;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ServiceAccount};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::events::{Recorder, Reporter};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::act::Context;
use super::cache::{Cache, Watched};
use super::fake_api::{FakeApi, Fault, Verb};
use super::jobs::{EPOCH_ANNOTATION, SLOT_ANNOTATION, STREAM_LABEL, WorkerImage};
use super::key::Name;
use super::light::{LightJob, WatchedJob, WatchedPod};
use super::metrics::Metrics;
use super::pipeline::reconcile;
use crate::api::sync_pipeline::Watermark;
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};

/// The day on which Berlin's clocks go back.
const MORNING: Timestamp = Timestamp::constant(1_792_879_201, 0);
/// How long a run takes.
const RUN: SignedDuration = SignedDuration::from_secs(90);
const NAMESPACE: &str = "crm";

fn resource<K: DeserializeOwned>(kind: &str, name: &str, spec: Value) -> K {
    let ready = json!([{
        "type": "Ready", "status": "True", "reason": "Succeeded", "message": "", "lastTransitionTime": MORNING.to_string(),
    }]);
    let status = if kind == "SyncPipeline" {
        Value::Null
    } else {
        json!({"conditions": ready})
    };
    let object = json!({
        "apiVersion": "ferrygate.io/v1alpha1", "kind": kind, "spec": spec, "status": status,
        "metadata": {"name": name, "namespace": NAMESPACE, "generation": 1},
    });
    serde_json::from_value(object).unwrap()
}

/// An API server with a pipeline of two streams, of a source that has one place.
fn server() -> FakeApi {
    let api = FakeApi::new();
    api.set_time(MORNING);
    let key = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    api.put(&resource::<CrmSource>("CrmSource", "org", json!({
        "salesforce": {"instanceUrl": "https://a.example", "auth": {"clientCredentials": {"clientId": key, "clientSecret": key}}},
        "maxConcurrentRuns": 1,
    })));
    api.put(&resource::<CdpSink>(
        "CdpSink",
        "cdp",
        json!({
            "segment": {"endpoint": "https://b.example/v1", "writeKey": key}, "identity": {"userId": "crm_id"},
        }),
    ));
    api.put(&resource::<MappingVersion>(
        "MappingVersion",
        "contact-1.0.0",
        json!({
            "mapping": "contact", "version": "1.0.0",
            "objects": [{"object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}]}],
        }),
    ));
    let account = json!({"metadata": {"name": "ferrygate-worker", "namespace": NAMESPACE}});
    api.put(&serde_json::from_value::<ServiceAccount>(account).unwrap());
    api.put(&resource::<SyncPipeline>("SyncPipeline", "people", json!({
        "sourceRef": {"name": "org"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "contact", "version": "1.0.0"},
        "streams": [
            {"name": "contacts", "object": "Contact", "schedule": {"every": "4h"}, "freshness": {"objective": "6h"}},
            {"name": "opt-outs", "object": "Contact", "schedule": {"cron": "0 */6 * * *", "timeZone": "Europe/Berlin"}, "lane": "Suppression"},
        ],
    })));
    api
}

/// A new process: its cache is filled by lists.
fn process(api: &FakeApi) -> Context {
    let (touched, _) = mpsc::unbounded();
    let client = api.client();
    let reporter = Reporter {
        controller: "ferrygate".to_owned(),
        instance: None,
    };
    let context = Context {
        cache: Cache::new(touched),
        recorder: Recorder::new(client.clone(), reporter),
        client,
        worker: WorkerImage {
            image: "ferrygate".to_owned(),
            pull_policy: "Never".to_owned(),
        },
        metrics: Arc::new(Metrics::new()),
    };
    watch(api, &context.cache);
    context
}

/// Brings the cache to what the server holds.
fn watch(api: &FakeApi, cache: &Cache) {
    for object in api.list::<CrmSource>(NAMESPACE) {
        cache.put(DeserializeGuard(Ok(object)));
    }
    for object in api.list::<CdpSink>(NAMESPACE) {
        cache.put(DeserializeGuard(Ok(object)));
    }
    for object in api.list::<MappingVersion>(NAMESPACE) {
        cache.put(DeserializeGuard(Ok(object)));
    }
    for object in api.list::<SyncPipeline>(NAMESPACE) {
        cache.put(DeserializeGuard(Ok(object)));
    }
    all::<WatchedJob, Job>(api, cache);
    all::<WatchedPod, Pod>(api, cache);
    all::<PartialObjectMeta<ServiceAccount>, ServiceAccount>(api, cache);
    all::<PartialObjectMeta<PersistentVolumeClaim>, PersistentVolumeClaim>(api, cache);
}

fn all<W, K>(api: &FakeApi, cache: &Cache)
where
    W: Watched,
    K: Resource<DynamicType = ()> + serde::Serialize + DeserializeOwned,
{
    let mut gone: HashSet<Name> = W::names(&cache.lock(), None).into_iter().collect();
    for object in api.list::<K>(NAMESPACE) {
        gone.remove(&Name::of(&object));
        cache.put(serde_json::from_str::<W>(&json!(object).to_string()).unwrap());
    }
    for name in gone {
        cache.remove::<W>(&name);
    }
}

fn light(job: &Job) -> LightJob {
    serde_json::from_str::<WatchedJob>(&json!(job).to_string())
        .unwrap()
        .into()
}

/// What a worker and the Job controller do with the Jobs whose time has come; returns when something happens next: at once where
/// the watches have something to tell, else when the next Job's time comes.
fn work(api: &FakeApi, now: Timestamp) -> Option<Timestamp> {
    let mut next = None;
    for mut job in api
        .list::<Job>(NAMESPACE)
        .into_iter()
        .filter(|job| light(job).is_active())
    {
        let ends = job.creation_timestamp().unwrap().0 + RUN;
        let pod = format!("{}-x7k2q", job.name_any());
        if ends > now {
            let running = json!({
                "metadata": {"name": pod, "namespace": NAMESPACE, "labels": {"batch.kubernetes.io/job-name": job.name_any()}},
                "status": {"containerStatuses": [{
                    "name": "worker", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                    "state": {"running": {"startedAt": now.to_string()}},
                }]},
            });
            api.put(&serde_json::from_value::<Pod>(running).unwrap());
            next = [next, Some(ends)].into_iter().flatten().min();
            continue;
        }
        // It has succeeded, and is not watched any more.
        api.delete::<Pod>(NAMESPACE, &pod);
        let mut pipeline: SyncPipeline = api.get(NAMESPACE, "people").unwrap();
        let streams = &mut pipeline.status.as_mut().unwrap().streams;
        let mine = |run: &crate::api::sync_pipeline::ActiveRun| run.name == job.name_any();
        let stream = streams
            .iter_mut()
            .find(|stream| stream.active_run.as_ref().is_some_and(mine));
        if let Some(stream) = stream {
            let before = stream
                .watermark
                .as_ref()
                .map_or(0, |watermark| watermark.id.parse().unwrap());
            stream.watermark = Some(Watermark {
                stamp: now,
                id: format!("{:03}", before + 1),
            });
            stream.complete_as_of = serde_json::from_value(json!(now.to_string())).ok();
            stream.active_run.as_mut().unwrap().report =
                serde_json::from_value(json!({"outcome": "Succeeded", "message": "done"})).ok();
            api.put(&pipeline);
        }
        job.status = serde_json::from_value(json!({"conditions": [{"type": "Complete", "status": "True"}]})).ok();
        api.put(&job);
        next = Some(now);
    }
    next
}

/// The runs of a day: of each stream the slots, and the numbers of the runs in the order in which their Jobs were made.
#[derive(Debug, Default, PartialEq)]
struct Day {
    slots: BTreeMap<String, Vec<String>>,
    epochs: BTreeMap<String, Vec<i64>>,
    skipped: i64,
}

async fn play(fault: Option<(usize, Fault)>) -> (Day, usize) {
    let api = server();
    let name = Name {
        namespace: NAMESPACE.to_owned(),
        name: "people".to_owned(),
    };
    // Half an hour more than the day has, so that no slot falls on its end.
    let (mut now, evening) = (MORNING, MORNING + SignedDuration::from_mins(25 * 60 + 30));
    let mut context = process(&api);
    if let Some((call, fault)) = fault {
        api.fail_at(call, fault);
    }
    let mut watermarks: BTreeMap<String, String> = BTreeMap::new();
    let mut ended = false;
    while now < evening {
        api.set_time(now);
        watch(&api, &context.cache);
        let reconciled = reconcile(&name, &context, now).await;
        let mut wake = reconciled.as_ref().ok().copied().flatten();
        if let Some((call, _)) = fault
            && !ended
            && api.calls() >= call
        {
            // The process ends here; the next one begins a second later.
            ended = true;
            api.heal();
            context = process(&api);
            wake = Some(now + SignedDuration::from_secs(1));
        } else {
            assert!(reconciled.is_ok(), "{reconciled:?}");
        }
        let ends = work(&api, now);
        check(&api, &mut watermarks);
        let next = [wake, ends]
            .into_iter()
            .flatten()
            .min()
            .expect("the pipeline stands still");
        now = next.max(now) + SignedDuration::from_millis(5);
    }
    (day(&api), api.calls())
}

/// No two runs of a stream at once, and no watermark that goes back.
fn check(api: &FakeApi, watermarks: &mut BTreeMap<String, String>) {
    let mut active = BTreeSet::new();
    for job in api.list::<Job>(NAMESPACE).iter().map(light).filter(LightJob::is_active) {
        assert!(
            active.insert(job.stream.clone()),
            "two runs of {:?} at once",
            job.stream
        );
    }
    let pipeline: SyncPipeline = api.get(NAMESPACE, "people").unwrap();
    for stream in pipeline.status.into_iter().flat_map(|status| status.streams) {
        let id = stream.watermark.map(|watermark| watermark.id).unwrap_or_default();
        let before = watermarks.insert(stream.name, id.clone()).unwrap_or_default();
        assert!(before <= id, "the watermark goes back from {before} to {id}");
    }
}

fn day(api: &FakeApi) -> Day {
    let mut day = Day::default();
    let mut names = BTreeSet::new();
    for write in api.writes() {
        if write.verb == Verb::Create && write.resource == "jobs.batch" && write.code == 201 {
            assert!(names.insert(write.name.clone()), "{} was made twice", write.name);
            let metadata = &write.body["metadata"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let stream = text(&metadata["labels"][STREAM_LABEL]);
            let slot = text(&metadata["annotations"][SLOT_ANNOTATION]);
            let epoch = text(&metadata["annotations"][EPOCH_ANNOTATION]).parse().unwrap();
            day.slots.entry(stream.clone()).or_default().push(slot);
            day.epochs.entry(stream).or_default().push(epoch);
        }
    }
    // A stream's first run is beside its schedule, and begins when the process does.
    day.slots.values_mut().for_each(|slots| drop(slots.remove(0)));
    let pipeline: SyncPipeline = api.get(NAMESPACE, "people").unwrap();
    let streams = pipeline.status.into_iter().flat_map(|status| status.streams);
    day.skipped = streams
        .filter_map(|stream| stream.skipped)
        .map(|skipped| skipped.count)
        .sum();
    day
}

#[tokio::test]
async fn a_crash_at_any_call_of_a_day_loses_no_slot_and_starts_no_run_twice() {
    let (undisturbed, calls) = play(None).await;
    // The clocks go back at three in the morning: 25 hours.
    let counts: Vec<_> = undisturbed.slots.values().map(Vec::len).collect();
    assert_eq!((counts, undisturbed.skipped), (vec![6, 4], 0), "{undisturbed:?}");
    for call in 1..=calls {
        for fault in [Fault::Refused, Fault::AnswerLost] {
            let (day, _) = play(Some((call, fault))).await;
            assert_eq!(
                (&day.slots, day.skipped),
                (&undisturbed.slots, 0),
                "the process ended at call {call} of {calls}: {fault:?}"
            );
            let grow = |epochs: &Vec<i64>| epochs.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(day.epochs.values().all(grow), "{day:?}");
        }
    }
}

#[tokio::test]
async fn a_run_takes_four_writes_of_the_controller_and_one_of_them_is_the_old_job_s_deletion() {
    let api = server();
    let name = Name {
        namespace: NAMESPACE.to_owned(),
        name: "people".to_owned(),
    };
    let context = process(&api);
    let mut now = MORNING;
    let mut per_run = Vec::new();
    let mut before = 0;
    while now < MORNING + SignedDuration::from_hours(20) {
        api.set_time(now);
        watch(&api, &context.cache);
        let wake = reconcile(&name, &context, now).await.unwrap();
        let ends = work(&api, now);
        if ends.is_none() {
            let all = api.writes().len();
            per_run.extend((all > before).then_some(all - before));
            before = all;
        }
        let next = [wake, ends].into_iter().flatten().min().unwrap();
        now = next.max(now) + SignedDuration::from_millis(5);
    }
    // The first runs wait for one another and make the claim; two finished Jobs of a stream are kept.
    let last = *per_run.last().unwrap();
    assert!(last <= 4, "{per_run:?}");
}
