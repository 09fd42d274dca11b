//! That the fake does as the API server does, seen through the client that the controller uses.

use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{FakeApi, Fault, Verb};

fn job(name: &str) -> Job {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"pipeline": "customers", "name": name}},
        "spec": {"parallelism": 1, "template": {"spec": {"containers": []}}},
        "status": {"failed": 7},
    }))
    .unwrap()
}

fn config(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "crm"}})).unwrap()
}

fn jobs(client: &Client) -> Api<Job> {
    Api::namespaced(client.clone(), "crm")
}

/// A refusal: code, reason, the name in its details, and its message.
fn refused<T>(answer: Result<T, kube::Error>) -> (u16, String, String, String) {
    match answer.err().expect("a refusal") {
        kube::Error::Api(status) => {
            let name = status.details.map(|details| details.name).unwrap_or_default();
            (status.code, status.reason, name, status.message)
        }
        other => panic!("{other}"),
    }
}

fn short<T>(answer: Result<T, kube::Error>) -> (u16, String) {
    let (code, reason, ..) = refused(answer);
    (code, reason)
}

const NOTHING: PatchParams = PatchParams {
    dry_run: false,
    force: false,
    field_manager: None,
    field_validation: None,
};

#[tokio::test]
async fn a_created_object_gets_what_only_the_server_sets_and_loses_its_status() {
    let api = FakeApi::new();
    api.set_time("2026-03-01T12:00:00.987654321Z".parse().unwrap());
    let created = jobs(&api.client())
        .create(&PostParams::default(), &job("one"))
        .await
        .unwrap();
    let metadata = &json!(created)["metadata"];
    assert_eq!(
        (
            &metadata["namespace"],
            &metadata["generation"],
            &metadata["creationTimestamp"],
            &metadata["resourceVersion"],
            &created.status
        ),
        (
            &json!("crm"),
            &json!(1),
            &json!("2026-03-01T12:00:00Z"),
            &json!("2"),
            &None
        )
    );
    let other = jobs(&api.client())
        .create(&PostParams::default(), &job("two"))
        .await
        .unwrap();
    assert_ne!(created.uid(), other.uid());
    let again = jobs(&api.client()).create(&PostParams::default(), &job("one")).await;
    assert_eq!(
        refused(again),
        (
            409,
            "AlreadyExists".into(),
            "one".into(),
            "jobs.batch \"one\" already exists".into()
        )
    );
}

#[tokio::test]
async fn names_are_generated_on_request_and_checked() {
    let api = FakeApi::new();
    let events: Api<Event> = Api::namespaced(api.client(), "crm");
    let generated = |prefix: &str| {
        let mut event = Event::default();
        event.metadata.generate_name = Some(prefix.to_owned());
        event
    };
    let one = events
        .create(&PostParams::default(), &generated("customers."))
        .await
        .unwrap();
    let two = events
        .create(&PostParams::default(), &generated("customers."))
        .await
        .unwrap();
    assert!(one.name_any().starts_with("customers.") && one.name_any() != two.name_any());
    for name in ["", "Upper", "a_b", "-a", &"a".repeat(254)] {
        let created = jobs(&api.client()).create(&PostParams::default(), &job(name)).await;
        assert_eq!(short(created), (422, "Invalid".into()), "{name}");
    }
}

#[tokio::test]
async fn what_is_missing_is_refused_by_its_name() {
    let api = FakeApi::new();
    let jobs = jobs(&api.client());
    let patch = Patch::Merge(json!({}));
    let missing = (
        404,
        "NotFound".into(),
        "one".into(),
        "jobs.batch \"one\" not found".into(),
    );
    assert_eq!(refused(jobs.get("one").await), missing);
    assert_eq!(refused(jobs.patch("one", &NOTHING, &patch).await), missing);
    assert_eq!(refused(jobs.patch_status("one", &NOTHING, &patch).await), missing);
    assert_eq!(refused(jobs.delete("one", &DeleteParams::background()).await), missing);
    assert_eq!(
        refused(jobs.replace("one", &PostParams::default(), &job("one")).await),
        missing
    );
    assert!(jobs.get_opt("one").await.unwrap().is_none());
    let pods: Api<Pod> = Api::all(api.client());
    assert_eq!(refused(pods.get("one").await).3, "pods \"one\" not found");
}

#[tokio::test]
async fn a_replacement_needs_the_newest_version() {
    let api = FakeApi::new();
    let leases: Api<Lease> = Api::namespaced(api.client(), "crm");
    let lease = |holder: &str| -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "one"}, "spec": {"holderIdentity": holder}})).unwrap()
    };
    let params = PostParams::default();
    let first = leases.create(&params, &lease("a")).await.unwrap();
    assert_eq!(
        short(leases.replace("one", &params, &lease("b")).await),
        (422, "Invalid".into())
    );
    let mut next = lease("b");
    next.metadata.resource_version = first.resource_version();
    let second = leases.replace("one", &params, &next).await.unwrap();
    assert_eq!((second.uid(), second.metadata.generation), (first.uid(), None));
    let (code, reason, name, message) = refused(leases.replace("one", &params, &next).await);
    assert_eq!((code, reason.as_str(), name.as_str()), (409, "Conflict", "one"));
    assert!(
        message.starts_with("Operation cannot be fulfilled on leases.coordination.k8s.io \"one\": the object has been"),
        "{message}"
    );
    next.metadata.resource_version = second.resource_version();
    next.metadata.uid = Some("another".into());
    assert_eq!(
        short(leases.replace("one", &params, &next).await),
        (409, "Conflict".into())
    );
}

#[tokio::test]
async fn patches_change_what_they_name_under_the_conditions_that_they_name() {
    let api = FakeApi::new();
    api.put(&Job {
        status: None,
        ..namespaced(job("one"))
    });
    let jobs = jobs(&api.client());
    let merge = async |patch: Value| jobs.patch("one", &NOTHING, &Patch::Merge(patch)).await;
    let status = async |patch: Value| jobs.patch_status("one", &NOTHING, &Patch::Merge(patch)).await;

    let version = api.get::<Job>("crm", "one").unwrap().resource_version();
    let newest = json!({"metadata": {"resourceVersion": version}, "status": {"failed": 1, "active": 1}});
    let patched = status(newest.clone()).await.unwrap();
    assert_eq!(
        (patched.status.as_ref().unwrap().failed, patched.metadata.generation),
        (Some(1), Some(1))
    );
    assert_eq!(short(status(newest).await), (409, "Conflict".into()));
    let patched = status(json!({"status": {"active": null}, "spec": {"parallelism": 5}}))
        .await
        .unwrap();
    assert_eq!(
        (patched.status.unwrap(), patched.spec.unwrap().parallelism),
        (
            JobStatus {
                failed: Some(1),
                ..JobStatus::default()
            },
            Some(1)
        )
    );

    let patched = merge(json!({"spec": {"parallelism": 2}, "status": {"failed": 9}}))
        .await
        .unwrap();
    assert_eq!(
        (patched.metadata.generation, patched.status.unwrap().failed),
        (Some(2), Some(1))
    );
    let annotated = merge(json!({"metadata": {"annotations": {"run-now": "x"}, "uid": null}}))
        .await
        .unwrap();
    assert_eq!(
        (annotated.metadata.generation, annotated.uid().is_some()),
        (Some(2), true)
    );
    let same = merge(json!({"metadata": {"annotations": {"run-now": "x"}}}))
        .await
        .unwrap();
    assert_eq!(same.resource_version(), annotated.resource_version());
    let other = json!({"metadata": {"uid": "another"}});
    assert_eq!(short(merge(other).await), (409, "Conflict".into()));
}

#[tokio::test]
async fn a_json_patch_is_applied_whole_or_not_at_all() {
    let api = FakeApi::new();
    api.put(&namespaced(job("one")));
    let jobs = jobs(&api.client());
    let patch = async |operations: Value| {
        let patch: json_patch::Patch = serde_json::from_value(operations).unwrap();
        jobs.patch_status("one", &NOTHING, &Patch::Json::<Job>(patch)).await
    };
    let replace = json!({"op": "replace", "path": "/status/failed", "value": 8});
    let test = |value: u32| json!({"op": "test", "path": "/status/failed", "value": value});
    let failed = |job: Job| job.status.unwrap().failed;
    assert_eq!(short(patch(json!([replace, test(7)])).await), (422, "Invalid".into()));
    assert_eq!(failed(api.get("crm", "one").unwrap()), Some(7));
    assert_eq!(failed(patch(json!([test(7), replace])).await.unwrap()), Some(8));
    let version = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "1"});
    assert_eq!(short(patch(json!([version, replace])).await), (409, "Conflict".into()));
}

#[tokio::test]
async fn what_is_owned_goes_with_its_last_owner() {
    let client_deletes = |orphan: bool| {
        if orphan {
            DeleteParams::default()
        } else {
            DeleteParams::background()
        }
    };
    for (orphan, left) in [
        (false, vec!["other", "shared"]),
        (true, vec!["other", "owned", "shared"]),
    ] {
        let api = FakeApi::new();
        let owner = api.put(&namespaced(job("one")));
        let mut owned = config("owned");
        let reference = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "one", "uid": owner.uid()});
        let stranger = json!({"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": "elsewhere"});
        owned.metadata.owner_references = serde_json::from_value(json!([reference])).unwrap();
        api.put(&owned);
        let mut shared = config("shared");
        shared.metadata.owner_references = serde_json::from_value(json!([reference, stranger])).unwrap();
        api.put(&shared);
        api.put(&config("other"));
        let stale = client_deletes(orphan).preconditions(Preconditions {
            uid: Some("another".into()),
            resource_version: None,
        });
        let jobs = jobs(&api.client());
        assert_eq!(short(jobs.delete("one", &stale).await), (409, "Conflict".into()));
        let deleted = jobs.delete("one", &client_deletes(orphan)).await.unwrap();
        assert!(deleted.right().unwrap().is_success());
        let names: Vec<_> = api.list::<ConfigMap>("crm").iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, left, "orphan: {orphan}");
    }
}

#[tokio::test]
async fn what_has_finalizers_waits_for_them() {
    let api = FakeApi::new();
    let mut held = namespaced(job("one"));
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    api.put(&held);
    let jobs = jobs(&api.client());
    let waiting = jobs
        .delete("one", &DeleteParams::background())
        .await
        .unwrap()
        .left()
        .unwrap();
    assert!(waiting.metadata.deletion_timestamp.is_some());
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    jobs.patch("one", &NOTHING, &patch).await.unwrap();
    assert!(api.get::<Job>("crm", "one").is_none());
}

#[tokio::test]
async fn a_list_is_selected_by_labels_and_fields() {
    let api = FakeApi::new();
    for name in ["a", "b", "c"] {
        api.put(&namespaced(job(name)));
    }
    let jobs = jobs(&api.client());
    for (labels, expected) in [
        ("", "abc"),
        ("pipeline=customers", "abc"),
        ("pipeline==customers,name!=b", "ac"),
        ("name in (a,c),pipeline", "ac"),
        ("name notin (a,c)", "b"),
        ("!pipeline", ""),
        ("missing=", ""),
    ] {
        let listed = jobs.list(&ListParams::default().labels(labels)).await.unwrap();
        let names: String = listed.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, expected, "{labels}");
    }
    let named = jobs
        .list(&ListParams::default().fields("metadata.name=b"))
        .await
        .unwrap();
    assert_eq!(named.items.len(), 1);
    let unknown = jobs.list(&ListParams::default().fields("status.failed=7")).await;
    assert_eq!(short(unknown), (400, "BadRequest".into()));
}

#[tokio::test]
async fn all_pages_of_a_list_show_the_state_of_the_first() {
    let api = FakeApi::new();
    for name in ["a", "b", "c"] {
        api.put(&namespaced(job(name)));
    }
    let jobs = jobs(&api.client());
    let page = async |token: Option<String>| {
        let params = ListParams {
            continue_token: token,
            ..ListParams::default().limit(2)
        };
        jobs.list(&params).await
    };
    let first = page(None).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (2, Some(1)));
    api.delete::<Job>("crm", "c");
    api.put(&namespaced(job("d")));
    let token = first.metadata.continue_.clone();
    let second = page(token.clone()).await.unwrap();
    assert_eq!(
        (
            second.items[0].name_any().as_str(),
            second.items.len(),
            second.metadata.continue_
        ),
        ("c", 1, None)
    );
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    api.gone();
    assert_eq!(short(page(token).await), (410, "Expired".into()));
}

#[tokio::test]
async fn metadata_alone_can_be_asked_for() {
    let api = FakeApi::new();
    let put = api.put(&namespaced(job("one")));
    let jobs = jobs(&api.client());
    assert_eq!(jobs.get_metadata("one").await.unwrap().metadata, put.metadata);
    let listed = jobs.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items[0].metadata, put.metadata);
}

/// What a watch tells next: the event and the object's name.
async fn next(stream: &mut (impl Stream<Item = Result<WatchEvent<Job>, kube::Error>> + Unpin)) -> String {
    match timeout(Duration::from_secs(400), stream.next()).await {
        Err(_) => "silence".to_owned(),
        Ok(None) => "end".to_owned(),
        Ok(Some(Err(_))) => "broken".to_owned(),
        Ok(Some(Ok(event))) => match event {
            WatchEvent::Added(job) => format!("added {}", job.name_any()),
            WatchEvent::Modified(job) => format!("modified {}", job.name_any()),
            WatchEvent::Deleted(job) => format!("deleted {}", job.name_any()),
            WatchEvent::Bookmark(bookmark) => format!("bookmark {}", bookmark.metadata.resource_version),
            WatchEvent::Error(status) => format!("error {}", status.code),
        },
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_happened_since_its_version() {
    let api = FakeApi::new();
    let start = api.put(&namespaced(job("a"))).resource_version().unwrap();
    api.put(&namespaced(job("b")));
    let all = WatchParams::default().timeout(90);
    let mut stream = jobs(&api.client()).watch(&all, &start).await.unwrap().boxed();
    assert_eq!(next(&mut stream).await, "added b");
    api.put(&config("no Job"));
    api.delete::<Job>("crm", "a");
    assert_eq!(next(&mut stream).await, "deleted a");
    assert_eq!(next(&mut stream).await, "bookmark 5");
    assert_eq!(next(&mut stream).await, "bookmark 5");
    assert_eq!(next(&mut stream).await, "end");
}

#[tokio::test(start_paused = true)]
async fn what_comes_into_a_selection_or_leaves_it_is_added_or_deleted() {
    let api = FakeApi::new();
    let start = api.put(&namespaced(job("a"))).resource_version().unwrap();
    let selected = WatchParams::default().labels("state=on");
    let mut stream = jobs(&api.client()).watch(&selected, &start).await.unwrap().boxed();
    for (state, expected) in [("on", "added a"), ("on", "modified a"), ("off", "deleted a")] {
        let mut changed: Job = api.get("crm", "a").unwrap();
        changed.labels_mut().insert("state".into(), state.into());
        changed.labels_mut().insert("turn".into(), expected.replace(' ', "-"));
        api.put(&changed);
        assert_eq!(next(&mut stream).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_version_is_compacted_and_when_the_server_fails() {
    let api = FakeApi::new();
    let start = api.put(&namespaced(job("a"))).resource_version().unwrap();
    api.put(&namespaced(job("b")));
    let silent = WatchParams::default().disable_bookmarks();
    let open = async |version: &str| jobs(&api.client()).watch(&silent, version).await.unwrap().boxed();

    let mut opened = open("0").await;
    assert_eq!(next(&mut opened).await, "added a");
    assert_eq!(next(&mut opened).await, "added b");
    api.gone();
    let mut old = open(&start).await;
    for stream in [&mut opened, &mut old] {
        assert_eq!(next(stream).await, "error 410");
        assert_eq!(next(stream).await, "end");
    }
    for (fault, expected) in [(Fault::Refused, "broken"), (Fault::Hangs, "silence")] {
        let mut stream = open("0").await;
        api.fail_at(api.calls(), fault);
        next(&mut stream).await;
        next(&mut stream).await;
        assert_eq!(next(&mut stream).await, expected);
        api.heal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_keeps_up_with_the_server_through_compaction_by_both_strategies() {
    for config in [
        watcher::Config::default().page_size(1),
        watcher::Config::default().streaming_lists(),
    ] {
        let api = FakeApi::new();
        for name in ["a", "b", "c"] {
            api.put(&namespaced(job(name)));
        }
        let mut seen = watcher(jobs(&api.client()), config).boxed();
        let mut names = Vec::new();
        let mut compacted = false;
        while let Some(event) = timeout(Duration::from_secs(30), seen.next()).await.unwrap() {
            match event {
                Ok(watcher::Event::InitApply(job)) => names.push(job.name_any()),
                Ok(watcher::Event::InitDone) if compacted => break,
                Ok(watcher::Event::InitDone) => {
                    api.put(&namespaced(job("d")));
                }
                Ok(watcher::Event::Apply(job)) => {
                    names.push(job.name_any());
                    compacted = true;
                    api.gone();
                }
                Ok(_) => {}
                Err(error) => assert!(compacted, "{error}"),
            }
        }
        assert_eq!(names.concat(), "abcdabcd");
    }
}

#[tokio::test(start_paused = true)]
async fn it_fails_from_the_call_on_that_it_is_told() {
    for (fault, has_effect, comes_back) in [
        (Fault::Refused, false, true),
        (Fault::AnswerLost, true, true),
        (Fault::Hangs, false, false),
    ] {
        let api = FakeApi::new();
        let jobs = jobs(&api.client());
        let create = async |name: &str| {
            let made = job(name);
            timeout(Duration::from_secs(60), jobs.create(&PostParams::default(), &made)).await
        };
        api.fail_at(2, fault);
        assert!(create("one").await.unwrap().is_ok());
        let failed = create("two").await;
        assert_eq!(
            failed.map(|answer| matches!(answer, Err(kube::Error::Service(_)))).ok(),
            comes_back.then_some(true)
        );
        assert_eq!(api.get::<Job>("crm", "two").is_some(), has_effect, "{fault:?}");
        let _ = create("three").await;
        assert_eq!(api.get::<Job>("crm", "three").is_some(), has_effect, "{fault:?}");
        api.heal();
        assert!(create("four").await.unwrap().is_ok());
        assert_eq!(api.calls(), 4);
    }
}

#[tokio::test]
async fn a_resource_can_be_forbidden() {
    let api = FakeApi::new();
    let client = api.client();
    api.put(&namespaced(job("one")));
    api.forbid("jobs.batch/status");
    let patch = Patch::Merge(json!({"status": {"failed": 1}}));
    assert_eq!(
        short(jobs(&client).patch_status("one", &NOTHING, &patch).await),
        (403, "Forbidden".into())
    );
    assert!(jobs(&client).get("one").await.is_ok());
    api.forbid("jobs.batch");
    let (code, reason, _, message) = refused(jobs(&client).list(&ListParams::default()).await);
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert!(
        message.ends_with("cannot list resource \"jobs\" in API group \"batch\" in the namespace \"crm\""),
        "{message}"
    );
    assert_eq!(
        short(
            jobs(&client)
                .watch(&WatchParams::default(), "0")
                .await
                .map(|stream| stream.into_stream().boxed())
        )
        .0,
        403
    );
    api.allow("jobs.batch");
    assert!(jobs(&client).list(&ListParams::default()).await.is_ok());
}

#[tokio::test]
async fn writes_are_recorded_and_reads_only_counted() {
    let api = FakeApi::new();
    let jobs = jobs(&api.client());
    jobs.create(&PostParams::default(), &job("one")).await.unwrap();
    let _ = jobs.create(&PostParams::default(), &job("one")).await;
    let patch = json!({"status": {"failed": 1}});
    jobs.patch_status("one", &NOTHING, &Patch::Merge(patch.clone()))
        .await
        .unwrap();
    jobs.get("one").await.unwrap();
    jobs.delete("one", &DeleteParams::background()).await.unwrap();
    let written: Vec<_> = api
        .writes()
        .into_iter()
        .map(|write| (write.verb, write.resource, write.namespace, write.name, write.code))
        .collect();
    let expected = [
        (Verb::Create, "jobs.batch", 201),
        (Verb::Create, "jobs.batch", 409),
        (Verb::Patch, "jobs.batch/status", 200),
        (Verb::Delete, "jobs.batch", 200),
    ];
    let expected =
        expected.map(|(verb, resource, code)| (verb, resource.to_owned(), "crm".to_owned(), "one".to_owned(), code));
    assert_eq!(written, expected);
    assert_eq!((api.calls(), &api.writes()[2].body), (5, &patch));
}

fn namespaced(mut job: Job) -> Job {
    job.metadata.namespace = Some("crm".to_owned());
    job
}
