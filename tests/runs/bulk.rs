//! Runs that read by query jobs of the Bulk API: what is delivered, where the watermark is, and what a later run goes on from.

use std::collections::BTreeMap;
use std::time::Duration;

use ferrygate::api::common::Outcome;
use ferrygate::api::sync_pipeline::Counts;
use ferrygate::worker::RunResult;
use serde_json::{Value, json};

use crate::fakes::Silence;
use crate::library::Setting;

async fn with(contacts: usize) -> Setting {
    let setting = Setting::with(contacts).await;
    setting.fakes.jobs().say_many();
    setting
}

/// The calls by their ids, each without what tells which run sent it, and when. No id stands for two contents.
fn by_id(calls: Vec<Value>) -> BTreeMap<String, Value> {
    let mut known = BTreeMap::new();
    for mut call in calls {
        let id = call["messageId"].as_str().expect("an id").to_owned();
        call["sentAt"] = Value::Null;
        call["context"]["ferrygate"] = Value::Null;
        let before = known.insert(id, call.clone());
        assert!(before.is_none_or(|before| before == call), "{call}");
    }
    known
}

/// The calls that a run by REST makes of the same contacts, by record and type: without what tells runs apart.
fn contents(calls: &BTreeMap<String, Value>) -> Vec<Value> {
    let parts = |call: &Value| {
        json!([
            call["userId"],
            call["type"],
            call["traits"],
            call["properties"],
            call["timestamp"]
        ])
    };
    let mut contents: Vec<Value> = calls.values().map(parts).collect();
    contents.sort_by_key(Value::to_string);
    contents
}

fn last(setting: &Setting, contacts: usize) -> String {
    setting.fakes.id(contacts - 1)
}

fn ends_at(result: &RunResult) -> Option<&str> {
    result.watermark.as_ref().map(|watermark| watermark.id.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_a_job_delivers_what_a_run_by_rest_does_and_ends_at_the_same_watermark() {
    let rest = Setting::with(3_000).await;
    let by_rest = rest.run(1, None).await;
    let bulk = with(3_000).await;
    let by_bulk = bulk.run(1, None).await;
    assert_eq!(by_bulk.outcome, Outcome::Succeeded, "{}", by_bulk.message);
    assert_eq!(by_bulk.counts, by_rest.counts);
    assert_eq!(ends_at(&by_bulk), ends_at(&by_rest));
    assert_eq!(by_bulk.reconciliation.map(|both| both.delivered_count), Some(3_000));
    assert_eq!(bulk.fakes.jobs().made_and_kept(), (1, 0));
    let [rest, bulk_calls] = [rest, bulk].map(|setting| by_id(setting.fakes.take_calls()));
    let [rest, bulk] = [&rest, &bulk_calls].map(contents);
    assert_eq!(rest.len(), bulk.len());
    let stamped = |contents: Vec<Value>| -> Vec<Value> {
        // Both services fill themselves at their own start.
        contents
            .into_iter()
            .map(|mut call| {
                call[4] = Value::Null;
                call
            })
            .collect()
    };
    assert_eq!(stamped(rest), stamped(bulk));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_after_the_job_began_comes_with_the_next_run() {
    let setting = with(1_000).await;
    setting.run(1, None).await;
    setting.fakes.take_calls();
    setting.fakes.change(3, |contact| {
        contact.fields.insert("Phone".into(), json!("030 654321"));
    });
    let second = setting.run(2, None).await;
    assert_eq!(
        (second.outcome, second.counts.delivered),
        (Outcome::Succeeded, 1),
        "{}",
        second.message
    );
    assert_eq!(setting.fakes.jobs().made_and_kept(), (1, 0));
}

/// A run that is dropped where the CDP does not answer leaves what a killed pod does.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_anywhere_is_gone_on_with_by_the_job_it_began() {
    const CONTACTS: usize = 4_000;
    let mut gone_on = 0;
    for from in 1.. {
        let setting = with(CONTACTS).await;
        setting.fakes.silent(Some(Silence {
            from,
            taken: from % 2 == 0,
        }));
        let ended = tokio::select! {
            result = setting.run(1, None) => Some(result),
            () = setting.fakes.hung() => None,
        };
        setting.fakes.silent(None);
        // Whatever is there by now, the watermark is not.
        let result = match ended {
            Some(result) => {
                assert_eq!(result.outcome, Outcome::Succeeded, "{}", result.message);
                assert_eq!(setting.fakes.jobs().made_and_kept(), (1, 0));
                break;
            }
            None => setting.run(2, None).await,
        };
        assert_eq!(result.outcome, Outcome::Succeeded, "{from}: {}", result.message);
        assert_eq!(ends_at(&result), Some(last(&setting, CONTACTS).as_str()), "{from}");
        assert_eq!(
            result
                .reconciliation
                .as_ref()
                .map(|both| (both.source_count, both.delivered_count)),
            Some((4_000, 4_000)),
            "{from}"
        );
        assert_eq!(setting.fakes.jobs().made_and_kept(), (1, 0), "{from}");
        gone_on += usize::from(result.counts.read < 4_000);
        let calls = by_id(setting.fakes.take_calls());
        let identified = calls.values().filter(|call| call["type"] == "identify");
        let people: std::collections::BTreeSet<_> = identified.map(|call| call["userId"].to_string()).collect();
        assert_eq!(people.len(), CONTACTS, "{from}");
    }
    assert!(gone_on > 0, "no run went on in the middle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_told_to_stop_leaves_its_result_to_the_next_and_the_watermark_where_it_was() {
    let setting = with(8_000).await;
    setting.fakes.slow(Duration::from_millis(150));
    let stop = tokio_util::sync::CancellationToken::new();
    let (first, ()) = tokio::join!(
        setting.publish_to(1, None, &ferrygate::worker::Silent, stop.clone()),
        async {
            while setting.fakes.batches() < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
        }
    );
    setting.fakes.slow(Duration::ZERO);
    assert_eq!(
        (first.outcome, first.watermark),
        (Outcome::Interrupted, None),
        "{}",
        first.message
    );
    let second = setting.run(1, None).await;
    let all = Counts {
        read: 8_000,
        delivered: 8_000,
        ..Counts::default()
    };
    assert_eq!(
        (second.outcome, second.counts),
        (Outcome::Succeeded, all),
        "{}",
        second.message
    );
    assert_eq!(setting.fakes.jobs().made_and_kept(), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_the_crm_has_removed_is_read_anew_and_delivered_once() {
    let setting = with(4_000).await;
    setting.fakes.silent(Some(Silence { from: 3, taken: true }));
    tokio::select! {
        result = setting.run(1, None) => panic!("{}", result.message),
        () = setting.fakes.hung() => {}
    }
    setting.fakes.silent(None);
    setting.fakes.jobs().lose();
    let second = setting.run(2, None).await;
    assert_eq!(
        (second.outcome, second.counts.read),
        (Outcome::Succeeded, 4_000),
        "{}",
        second.message
    );
    assert_eq!(setting.fakes.jobs().made_and_kept(), (2, 0));
    by_id(setting.fakes.take_calls());
}

/// Where keys are read before records, both readings are jobs.
#[tokio::test(flavor = "multi_thread")]
async fn keys_and_records_are_read_by_a_job_each() {
    const CONTACTS: usize = 3_000;
    for killed in [None, Some(1), Some(3)] {
        let mut setting = with(CONTACTS).await;
        let keys = json!([
            {"kind": "crm_id", "from": "Id"},
            {"kind": "email", "from": "Email", "transforms": [{"trim": {}}, {"lower": {}}], "blockWhenSharedBy": 3},
        ]);
        setting.spec.mapping.objects[0].identity = serde_json::from_value(keys).expect("identity keys");
        setting.spec.sink.identity.external_ids = vec!["email".into()];
        setting.fakes.silent(killed.map(|from| Silence { from, taken: true }));
        let first = tokio::select! {
            result = setting.run(1, None) => Some(result),
            () = setting.fakes.hung() => None,
        };
        setting.fakes.silent(None);
        let result = match first {
            Some(result) => result,
            None => setting.run(2, None).await,
        };
        assert_eq!(result.outcome, Outcome::Succeeded, "{killed:?}: {}", result.message);
        assert_eq!(ends_at(&result), Some(last(&setting, CONTACTS).as_str()), "{killed:?}");
        assert_eq!(setting.fakes.jobs().made_and_kept(), (2, 0), "{killed:?}");
        let calls = by_id(setting.fakes.take_calls());
        assert_eq!(
            calls.values().filter(|call| call["type"] == "identify").count(),
            CONTACTS,
            "{killed:?}"
        );
    }
}

/// Failure case 1: a record that commits late has a stamp that the reading has passed.
#[tokio::test(flavor = "multi_thread")]
async fn no_watermark_passes_the_start_of_a_transaction_that_is_open_whichever_way_is_read() {
    for by_job in [false, true] {
        let setting = Setting::with(1_000).await;
        if by_job {
            setting.fakes.jobs().say_many();
        }
        setting.fakes.open_transaction(700);
        let result = setting.run(1, None).await;
        assert_eq!(
            (result.outcome, result.counts.delivered),
            (Outcome::Succeeded, 1_000),
            "{}",
            result.message
        );
        assert_eq!(setting.fakes.jobs().made_and_kept(), (usize::from(by_job), 0));
        let stamp = result.watermark.map(|watermark| watermark.stamp);
        let covered = setting.fakes.modified(700);
        assert_eq!(stamp.map(jiff::Timestamp::as_second), Some(covered), "{by_job}");
    }
}
