//! Erasure over whole runs: who is asked for, once; who never is; and what remains of it.

use std::process::Command;

use ferrygate::api::common::Outcome;
use ferrygate::api::sync_pipeline::{Deletes, Erasures};
use ferrygate::state::file_of;
use ferrygate::worker::RunResult;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::fakes::Contact;
use crate::library::{Setting, read};
use crate::regulations::Fault;

const KEYS: &str = "identity: [{kind: crm_id, from: Id}]";
const WRITE_KEY: &str = "writeKey: {secretKeyRef: {name: credentials, key: writeKey}}";

/// A setting whose stream erases deleted people.
pub async fn setting(contacts: usize) -> Setting {
    let mut setting = Setting::with(contacts).await;
    change(&mut setting, |manifests| {
        let base = manifests
            .split("instanceUrl: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let base = base.expect("a URL").to_owned();
        manifests
            .replace("deletes: Suppress", "deletes: Erase")
            .replace(
                KEYS,
                &format!("{KEYS}\n    mergedInto: {{kind: crm_id, from: MasterRecordId}}"),
            )
            .replace("{clientId: client,", "{publicToken: public-token, profileToken: profile-token, clientId: client,")
            .replace(
                WRITE_KEY,
                &format!(
                    "{WRITE_KEY}\n    privacyApi: {{endpoint: '{base}', token: {{secretKeyRef: {{name: credentials, key: \
                     publicToken}}}}}}"
                ),
            )
    });
    setting
}

fn change(setting: &mut Setting, change: impl FnOnce(String) -> String) {
    let path = setting.folder.path().join("all.yaml");
    let manifests = std::fs::read_to_string(&path).expect("manifests");
    let changed = change(manifests.clone());
    assert_ne!(changed, manifests);
    std::fs::write(&path, changed).expect("written");
    (setting.secrets, setting.spec) = read(setting.folder.path());
}

impl Setting {
    pub fn delete(&self, number: usize) {
        self.fakes.change(number, |contact| contact.deleted = true);
    }

    /// Gives the record another address.
    pub fn edit(&self, number: usize) {
        self.fakes.change(number, |contact| {
            let email = format!("{}@example.com", jiff::Timestamp::now().as_nanosecond());
            contact.fields.insert("Email".into(), json!(email));
        });
    }

    pub fn undelete(&self, number: usize) {
        self.fakes.change(number, |contact| contact.deleted = false);
    }

    pub fn merge(&self, number: usize, into: usize) {
        let winner = self.fakes.id(into);
        self.fakes.change(number, |contact| {
            contact.deleted = true;
            contact.fields.insert("MasterRecordId".into(), json!(winner));
        });
    }

    /// The people of each regulation, by their numbers.
    pub fn asked(&self) -> Vec<Vec<usize>> {
        let subjects = self.fakes.regulations().subjects();
        subjects
            .iter()
            .map(|people| people.iter().map(|id| number(id)).collect())
            .collect()
    }

    fn sql(&self, statement: &str) -> usize {
        let path = file_of(&self.spec.state_directory, "contacts");
        let store = rusqlite::Connection::open(path).expect("the store");
        store.execute(statement, []).expect("changed")
    }

    /// Lets time pass for requests that run, refusals, and looks for profiles.
    pub fn later(&self, hours: i64) {
        let span = SignedDuration::from_hours(hours).as_micros();
        self.sql(&format!(
            "UPDATE erasure_request SET requested = requested - {span}, asked = asked - {span}, ended = ended - {span}"
        ));
        self.sql(&format!("UPDATE erasure SET due = due - {span}, look = look - {span}"));
        self.sql(&format!("UPDATE erasing SET not_before = not_before - {span}"));
    }

    /// Ends the regulations that run, and lets the next run learn of it.
    fn end(&self, status: &str) {
        self.fakes.regulations().end(status);
        self.later(2);
    }

    pub fn audit(&self, arguments: &[&str]) -> Vec<Value> {
        let output = Command::new(env!("CARGO_BIN_EXE_ferrygate"))
            .arg("audit")
            .args(arguments)
            .arg("--state")
            .arg(self.folder.path())
            .output()
            .expect("a process");
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).expect("text");
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// What the trail says of a record, with the receipts.
    fn trail(&self, number: usize) -> Vec<String> {
        let record = format!("Contact/{}", self.fakes.id(number));
        let lines = self.audit(&["export", "--record", &record]);
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let told = |line: &Value| {
            let outcome = text(&line["outcome"]);
            match &line["erasure"] {
                Value::Null => outcome,
                receipt => format!(
                    "{outcome} {} {} {}",
                    text(&receipt["regulation"]),
                    text(&receipt["type"]),
                    text(&receipt["status"])
                ),
            }
        };
        lines.iter().map(told).collect()
    }
}

pub fn number(id: &str) -> usize {
    id["003".len()..].parse().expect("a number")
}

fn left(waiting: i64, running: i64) -> Option<Erasures> {
    Some(Erasures { waiting, running })
}

fn told(result: &RunResult) -> (Outcome, Option<Erasures>, i64) {
    (result.outcome, result.erasures, result.dead_letters)
}

/// The calls that the CDP took, each with the number of the record.
fn calls(setting: &Setting) -> Vec<(String, usize)> {
    let calls = setting.fakes.take_calls();
    let calls = calls.iter().filter(|call| call["type"] != "regulation");
    let kind = |call: &Value| call["type"].as_str().unwrap_or_default().to_owned();
    calls
        .map(|call| (kind(call), number(call["userId"].as_str().unwrap_or_default())))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_person_is_suppressed_then_erased_once_and_the_receipt_is_in_the_trail() {
    let setting = setting(4).await;
    let first = setting.run(1, None).await;
    assert_eq!(told(&first), (Outcome::Succeeded, left(0, 0), 0), "{first:?}");
    setting.delete(1);
    setting.fakes.take_calls();
    let second = setting.run(2, None).await;
    assert_eq!(told(&second), (Outcome::Succeeded, left(0, 1), 0), "{second:?}");
    let sent = setting.fakes.take_calls();
    let kinds: Vec<_> = sent
        .iter()
        .map(|call| call["type"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(kinds, ["identify", "regulation"]);
    assert_eq!(setting.asked(), [[1]]);

    // It is read again by the look-back, also after a run that was cut off, and nothing more is sent of it.
    setting.sql("INSERT INTO delivering (one) VALUES (1)");
    let third = setting.run(3, None).await;
    assert_eq!(
        (third.outcome, calls(&setting), setting.asked()),
        (Outcome::Succeeded, vec![], vec![vec![1]])
    );

    setting.end("FINISHED");
    let fourth = setting.run(4, None).await;
    assert_eq!(told(&fourth), (Outcome::Succeeded, left(0, 0), 0), "{fourth:?}");
    assert_eq!(calls(&setting), []);
    assert_eq!(
        setting.trail(1),
        [
            "Delivered",
            "Suppressed",
            "ErasureRequested reg_1 DELETE_ONLY -",
            "ErasureFinished reg_1 DELETE_ONLY FINISHED",
        ]
    );
    // `explain` looks for the state in a folder a pipeline.
    let state = setting.folder.path().join("explained/default");
    std::fs::create_dir_all(&state).expect("a folder");
    std::os::unix::fs::symlink(&setting.spec.state_directory, state.join("customers")).expect("a link");
    let explained = Command::new(env!("CARGO_BIN_EXE_ferrygate"))
        .args(["explain", "--record", &format!("Contact/{}", setting.fakes.id(1))])
        .arg("--files")
        .arg(setting.folder.path())
        .arg("--state")
        .arg(setting.folder.path().join("explained"))
        .output()
        .expect("a process");
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    let words = "regulation reg_1, which the CDP ended as FINISHED";
    assert!(
        explained.contains("  erasure       asked for ") && explained.contains(words),
        "{explained}"
    );
    let verified = setting.audit(&["verify"]);
    assert_eq!(
        (&verified[0]["deliveries"], &verified[0]["erasures"]),
        (&json!(5), &json!(2))
    );
    assert!(
        !format!("{:?}", setting.audit(&["export"])).contains("003000"),
        "ids are hashed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_begins_to_erase_asks_for_those_that_were_deleted_before() {
    let mut setting = setting(4).await;
    setting.spec.stream.deletes = Deletes::Suppress;
    setting.run(1, None).await;
    setting.delete(1);
    // Gone from the recycle bin as well.
    setting.delete(2);
    setting.merge(3, 0);
    let second = setting.run(2, None).await;
    assert_eq!((second.erasures, setting.asked()), (None, Vec::<Vec<usize>>::new()));
    setting.fakes.remove(2);
    setting.spec.stream.deletes = Deletes::Erase;
    let third = setting.run(3, None).await;
    assert_eq!(
        (told(&third), setting.asked()),
        ((Outcome::Succeeded, left(0, 2), 0), vec![vec![1, 2]])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_on_as_another_is_not_erased_even_where_the_crm_forgets_that() {
    let setting = setting(4).await;
    setting.run(1, None).await;
    setting.merge(1, 0);
    let merged = setting.run(2, None).await;
    assert_eq!(
        (told(&merged), setting.asked().len()),
        ((Outcome::Succeeded, left(0, 0), 0), 0)
    );
    setting
        .fakes
        .change(1, |contact| drop(contact.fields.remove("MasterRecordId")));
    let forgotten = setting.run(3, None).await;
    assert_eq!(
        (told(&forgotten), setting.asked().len()),
        ((Outcome::Succeeded, left(0, 0), 0), 0)
    );

    // That it was merged is learnt only after the deletion, while the erasure waits.
    setting.delete(2);
    setting.fakes.regulations().fail([Fault::Status(403)]);
    assert_eq!(told(&setting.run(4, None).await), (Outcome::SinkRefused, left(1, 0), 0));
    setting.merge(2, 0);
    assert_eq!(told(&setting.run(5, None).await), (Outcome::Succeeded, left(0, 0), 0));
    assert_eq!(setting.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_undeleted_before_the_request_is_not_erased_and_after_it_is_delivered_once_more() {
    let setting = setting(4).await;
    setting.run(1, None).await;
    setting.delete(1);
    setting.delete(2);
    setting.fakes.regulations().fail([Fault::Status(401)]);
    let refused = setting.run(2, None).await;
    assert_eq!(told(&refused), (Outcome::SinkRefused, left(2, 0), 0));
    assert!(
        refused
            .message
            .contains("refuses the token of spec.segment.privacyApi (401)"),
        "{}",
        refused.message
    );
    // The stamp moves with the undeletion of 1. That of 2 is none that the run reads, as if it were undeleted meanwhile.
    setting.undelete(1);
    setting.fakes.change_unseen(2, |contact| {
        contact.deleted = false;
        contact.modified -= 300_000;
    });
    let third = setting.run(3, None).await;
    assert_eq!(
        (told(&third), setting.asked().len()),
        ((Outcome::Succeeded, left(0, 0), 0), 0)
    );

    setting.delete(3);
    setting.run(4, None).await;
    setting.undelete(3);
    setting.fakes.take_calls();
    setting.run(5, None).await;
    assert_eq!(calls(&setting), [("identify".into(), 3)]);
    // What was delivered meanwhile may be erased with the rest.
    setting.end("FINISHED");
    setting.run(6, None).await;
    assert_eq!(calls(&setting), []);
    setting.run(7, None).await;
    assert_eq!(calls(&setting), [("identify".into(), 3)]);
    setting.run(8, None).await;
    assert_eq!(calls(&setting), []);

    // And deleted again, it is erased again.
    setting.delete(3);
    setting.run(9, None).await;
    assert_eq!(setting.asked(), [[3], [3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_returns_without_consent_is_suppressed_anew_at_a_cdp_that_has_forgotten_them() {
    let setting = setting(3).await;
    let opt_out = |contact: &mut Contact| drop(contact.fields.insert("HasOptedOutOfEmail".into(), json!(true)));
    setting.fakes.change(1, opt_out);
    setting.run(1, None).await;
    // Nothing is sent for the deletion: the CDP knows the person as suppressed already. The erasure is asked for all the same.
    setting.fakes.take_calls();
    setting.delete(1);
    setting.run(2, None).await;
    assert_eq!((calls(&setting), setting.asked()), (vec![], vec![vec![1]]));
    setting.end("FINISHED");
    setting.run(3, None).await;
    setting.undelete(1);
    setting.run(4, None).await;
    setting.run(5, None).await;
    assert_eq!(calls(&setting), [("identify".into(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_repeated_through_passing_faults_and_never_made_twice() {
    let setting = setting(8).await;
    setting.run(1, None).await;
    let cases = [
        Fault::Status(503),
        Fault::Header(429, "retry-after", "0".into()),
        Fault::TakenThen(502),
        Fault::Truncated,
    ];
    for (number, fault) in cases.into_iter().enumerate() {
        setting.delete(number);
        setting.fakes.regulations().fail([fault.clone()]);
        let run = i64::try_from(number).expect("few") + 2;
        let result = setting.run(run, None).await;
        assert_eq!(
            (result.outcome, result.erasures.map(|left| left.waiting)),
            (Outcome::Succeeded, Some(0)),
            "{fault:?}"
        );
    }
    assert_eq!(setting.asked(), [[0], [1], [2], [3]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_ends_one_run_and_holds_up_the_erasures_of_the_next_ones_alone() {
    let setting = setting(3).await;
    setting.run(1, None).await;
    setting.delete(1);
    let reset = jiff::Timestamp::now() + SignedDuration::from_hours(30);
    let reset = reset.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    setting
        .fakes
        .regulations()
        .fail([Fault::Header(429, "x-ratelimit-reset", reset)]);
    let used_up = setting.run(2, None).await;
    assert_eq!(told(&used_up), (Outcome::SinkUnavailable, left(1, 0), 0));
    assert!(
        used_up.message.contains("quota is used up until"),
        "{}",
        used_up.message
    );
    let waits = setting.run(3, None).await;
    assert_eq!(
        (told(&waits), setting.asked().len()),
        ((Outcome::Succeeded, left(1, 0), 0), 0)
    );
    assert!(
        waits.message.contains("deleted records wait to be erased"),
        "{}",
        waits.message
    );
    setting.later(40);
    let asked = setting.run(4, None).await;
    assert_eq!(
        (told(&asked), setting.asked()),
        ((Outcome::Succeeded, left(0, 1), 0), vec![vec![1]])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_is_a_dead_letter_that_says_what_to_do_and_is_asked_for_again_a_day_later() {
    let setting = setting(8).await;
    setting.run(1, None).await;
    (1..6).for_each(|number| setting.delete(number));
    setting.fakes.regulations().refuse([setting.fakes.id(3)]);
    let result = setting.run(2, None).await;
    assert_eq!(told(&result), (Outcome::Succeeded, left(1, 4), 1), "{result:?}");
    let mut asked: Vec<usize> = setting.asked().into_iter().flatten().collect();
    asked.sort_unstable();
    assert_eq!(asked, [1, 2, 4, 5]);
    let again = setting.run(3, None).await;
    assert_eq!(
        told(&again),
        (Outcome::Succeeded, left(1, 4), 1),
        "a letter stays while nothing is mended"
    );
    assert!(
        again
            .message
            .contains("1 at erasure: the CDP refuses to erase the user id (422)"),
        "{}",
        again.message
    );

    setting.fakes.regulations().refuse([]);
    setting.later(25);
    let mended = setting.run(4, None).await;
    assert_eq!(told(&mended), (Outcome::Succeeded, left(0, 5), 0));
    assert_eq!(setting.asked().last(), Some(&vec![3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_that_the_cdp_ends_without_erasing_is_a_dead_letter_with_the_regulation_until_the_record_returns() {
    let setting = setting(4).await;
    setting.run(1, None).await;
    setting.delete(1);
    setting.run(2, None).await;
    setting.end("PARTIAL_SUCCESS");
    let result = setting.run(3, None).await;
    assert_eq!(told(&result), (Outcome::Succeeded, left(0, 0), 1));
    assert!(
        result
            .message
            .contains("ended the erasure as PARTIAL_SUCCESS (regulation reg_1)"),
        "{}",
        result.message
    );
    assert_eq!(
        setting.trail(1).last().map(String::as_str),
        Some("ErasureFailed reg_1 DELETE_ONLY PARTIAL_SUCCESS")
    );
    assert_eq!(told(&setting.run(4, None).await), (Outcome::Succeeded, left(0, 0), 1));
    setting.undelete(1);
    assert_eq!(told(&setting.run(5, None).await), (Outcome::Succeeded, left(0, 0), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_reads_back_confirms_that_a_profile_is_gone_or_says_that_it_is_still_there() {
    let mut setting = setting(4).await;
    change(&mut setting, |manifests| {
        let base = manifests
            .split("instanceUrl: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let base = base.expect("a URL").to_owned();
        manifests.replace(
            "    privacyApi:",
            &format!(
                "    readBack: {{profileApi: {{endpoint: '{base}', spaceId: spa_1, token: {{secretKeyRef: {{name: credentials, \
                 key: profileToken}}}}}}}}\n    privacyApi:"
            ),
        )
    });
    setting.run(1, None).await;
    setting.delete(1);
    setting.delete(2);
    setting.run(2, None).await;
    setting.end("FINISHED");
    setting.fakes.regulations().profiles([setting.fakes.id(2)]);
    let ended = setting.run(3, None).await;
    assert_eq!(told(&ended), (Outcome::Succeeded, left(0, 0), 0));
    setting.later(2);
    assert_eq!(told(&setting.run(4, None).await), (Outcome::Succeeded, left(0, 0), 0));
    let last = |number| setting.trail(number).pop().unwrap_or_default();
    assert_eq!(
        [last(1), last(2)],
        [
            "ErasureConfirmed reg_1 DELETE_ONLY FINISHED",
            "ErasureFinished reg_1 DELETE_ONLY FINISHED"
        ]
    );
    setting.later(8 * 24);
    let contradicted = setting.run(5, None).await;
    assert_eq!(told(&contradicted), (Outcome::Succeeded, left(0, 0), 1));
    assert_eq!(last(2), "ErasureContradicted reg_1 DELETE_ONLY FINISHED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_as_many_people_as_the_api_takes_and_the_next_one_the_rest() {
    let setting = setting(5_001).await;
    for number in 0..5_001 {
        setting.fakes.change_unseen(number, |contact| contact.deleted = true);
    }
    let result = setting.run(1, None).await;
    assert_eq!(told(&result), (Outcome::Succeeded, left(0, 5_001), 0), "{result:?}");
    let sizes: Vec<usize> = setting.asked().iter().map(Vec::len).collect();
    assert_eq!(sizes, [5_000, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lacks_what_erasing_needs_runs_not_at_all() {
    let mut setting = setting(2).await;
    setting.spec.sink.segment.as_mut().expect("segment").privacy_api = None;
    let result = setting.run(1, None).await;
    assert_eq!((result.outcome, result.counts.read), (Outcome::ConfigurationInvalid, 0));
    assert!(
        result
            .message
            .contains("stream contacts: deletes: Erase needs spec.segment.privacyApi of the CdpSink"),
        "{}",
        result.message
    );
}
