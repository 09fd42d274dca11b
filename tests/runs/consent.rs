//! Consent over whole runs: what ends by the clock alone, what waits in a retry, and what the audit trail says of it.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use ferrygate::api::common::Outcome;
use ferrygate::state::file_of;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fakes::{Contact, Fakes};
use crate::library::{Setting, read};

/// Evidence holds for a day, and a second purpose is not required.
const CONSENT: &str = "\
- purpose: marketing_email
      from: HasOptedOutOfEmail
      granted: value == false
      at: Consented__c
      expiresAfter: 1d
    - {purpose: profiling, from: HasOptedOutOfEmail, granted: value == false, legalBasis: LegitimateInterest}
";

/// A setting whose contacts' consent ends in so many seconds; none where it has no evidence.
async fn setting(ends: &[Option<i64>]) -> Setting {
    let mut setting = Setting::with(ends.len()).await;
    for (number, ends) in ends.iter().enumerate() {
        setting
            .fakes
            .change_unseen(number, |contact| consent(contact, false, *ends));
    }
    rewrite(
        &mut setting,
        "- {purpose: marketing_email, from: HasOptedOutOfEmail, granted: value == false}\n",
        CONSENT,
    );
    setting
}

fn rewrite(setting: &mut Setting, from: &str, to: &str) {
    let path = setting.folder.path().join("all.yaml");
    let manifests = std::fs::read_to_string(&path).expect("manifests");
    assert!(manifests.contains(from), "{manifests}");
    std::fs::write(&path, manifests.replace(from, to)).expect("written");
    (setting.secrets, setting.spec) = read(setting.folder.path());
}

/// Writes into a contact whether it opted out, and evidence that ends in so many seconds.
fn consent(contact: &mut Contact, opted_out: bool, ends: Option<i64>) {
    contact.fields.insert("HasOptedOutOfEmail".into(), json!(opted_out));
    let given =
        ends.map(|seconds| Timestamp::now() + SignedDuration::from_secs(seconds) - SignedDuration::from_hours(24));
    contact
        .fields
        .insert("Consented__c".into(), json!(given.map(|instant| instant.to_string())));
}

/// The calls that the CDP took: the record's number, whether it has traits or properties, and the purposes that are granted.
fn taken(fakes: &Fakes) -> Vec<(usize, bool, Vec<String>)> {
    let mut calls: Vec<_> = fakes.take_calls().iter().map(told).collect();
    calls.sort();
    calls
}

fn told(call: &Value) -> (usize, bool, Vec<String>) {
    let id = call["userId"].as_str().unwrap_or_default();
    let purposes = call["context"]["consent"]["categoryPreferences"].as_object();
    let granted = purposes
        .into_iter()
        .flatten()
        .filter(|(_, granted)| **granted == json!(true));
    (
        id["003".len()..].parse().expect("a number"),
        call["traits"].is_object() || call["properties"].is_object(),
        granted.map(|(purpose, _)| purpose.clone()).collect(),
    )
}

const DAY: Option<i64> = Some(86_000);

#[tokio::test(flavor = "multi_thread")]
async fn what_a_consent_ended_for_is_suppressed_by_the_next_run_though_the_crm_changed_nothing() {
    let setting = setting(&[DAY, DAY, DAY, None, DAY]).await;
    let first = setting.run(1, None).await;
    assert_eq!(
        (first.outcome, first.counts.delivered, first.counts.suppressed),
        (Outcome::Succeeded, 4, 1)
    );
    assert!(
        !taken(&setting.fakes).contains(&(3, true, vec![])),
        "without evidence there is no consent"
    );

    // Time passes: the evidence of 0 is older than a day, 1 has gone from the CRM altogether, and 2 was renewed without a new
    // stamp.
    let path = file_of(&setting.spec.state_directory, "contacts");
    let store = rusqlite::Connection::open(&path).expect("the store");
    let due = store
        .execute(
            "UPDATE consent_end SET ends = ends - 172800000000 WHERE id < '003000000000000003'",
            [],
        )
        .expect("changed");
    drop(store);
    assert_eq!(due, 3);
    setting
        .fakes
        .change_unseen(0, |contact| consent(contact, false, Some(-1)));
    setting.fakes.remove(1);
    let second = setting.run(2, None).await;
    assert_eq!(second.outcome, Outcome::Succeeded, "{second:?}");
    assert_eq!(taken(&setting.fakes), [(0, false, vec![]), (1, false, vec![])]);

    let third = setting.run(3, None).await;
    assert_eq!((third.outcome, taken(&setting.fakes)), (Outcome::Succeeded, vec![]));
    assert_eq!(
        third.watermark, first.watermark,
        "what is read by its id moves no watermark"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_purged_with_the_field_that_the_cdp_knows_them_by_is_one_dead_letter_and_is_let_be() {
    let mut setting = setting(&[DAY, None, DAY]).await;
    rewrite(&mut setting, "userId: crm_id", "userId: email");
    rewrite(
        &mut setting,
        "{kind: crm_id, from: Id}",
        "{kind: crm_id, from: Id}, {kind: email, from: Email}",
    );
    let first = setting.run(1, None).await;
    assert_eq!(
        (first.outcome, first.dead_letters),
        (Outcome::Succeeded, 0),
        "{first:?}"
    );
    setting.fakes.take_calls();

    let path = file_of(&setting.spec.state_directory, "contacts");
    let store = rusqlite::Connection::open(&path).expect("the store");
    store
        .execute("UPDATE consent_end SET ends = ends - 172800000000", [])
        .expect("changed");
    drop(store);
    setting.fakes.remove(0);
    let letters = async |number| {
        let run = setting.run(number, None).await;
        assert_eq!(run.outcome, Outcome::Succeeded, "{run:?}");
        (run.dead_letters, run.counts.rejected, run.message)
    };
    let (held, rejected, message) = letters(2).await;
    assert_eq!((held, rejected), (1, 1), "{message}");
    assert!(message.contains("suppress it there by hand"), "{message}");
    let (held, rejected, message) = letters(3).await;
    assert_eq!((held, rejected), (1, 0), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_in_the_audit_trail_by_person_and_without_values() {
    let setting = setting(&[DAY, DAY, None]).await;
    setting.run(1, None).await;
    setting.fakes.change(0, |contact| consent(contact, true, DAY));
    setting.run(2, None).await;
    let audit = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ferrygate"))
            .arg("audit")
            .args(arguments)
            .arg("--state")
            .arg(setting.folder.path())
            .output()
            .expect("a process");
        let lines = String::from_utf8(output.stdout).expect("text");
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        (
            output.status.code(),
            lines,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, lines, _) = audit(&["verify"]);
    assert_eq!((code, &lines[0]["deliveries"]), (Some(0), &json!(4)), "{lines:?}");
    let hash = lines[0]["lastHash"].as_str().unwrap_or_default().to_owned();
    assert_eq!(audit(&["verify", "--expect", &hash]).0, Some(0));
    let (code, _, error) = audit(&["verify", "--expect", &"0".repeat(64)]);
    assert!(code == Some(78) && error.contains("no trail holds the hash"), "{error}");

    let (_, lines, _) = audit(&["export", "--record", "Contact/003000000000000000"]);
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                &line["run"],
                &line["outcome"],
                &line["consent"][0]["verdict"],
                &line["consent"][0]["reason"],
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (&json!("run-1"), &json!("Delivered"), &json!("Granted"), &Value::Null),
            (
                &json!("run-2"),
                &json!("Suppressed"),
                &json!("Denied"),
                &json!("Refused")
            ),
        ]
    );
    assert!(lines[0]["consent"][0]["evidence"].is_string() && lines[0]["mapping"] == json!("customer 1.0.0"));
    assert_eq!(lines[0]["consent"][1]["legalBasis"], json!("LegitimateInterest"));
    assert_eq!(
        audit(&["export", "--record", "Lead/003000000000000000"]).1,
        Vec::<Value>::new()
    );
    let (_, lines, _) = audit(&["export"]);
    let text = format!("{lines:?}").to_lowercase();
    assert!(
        !text.contains("example.com") && !text.contains("003000") && lines.len() == 4,
        "{text}"
    );
    let (code, _, error) = audit(&["export", "--stream", "other"]);
    assert!(
        code == Some(78) && error.contains("no state of stream \"other\""),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_reaches_the_cdp_though_the_activation_before_it_was_never_acknowledged() {
    let setting = setting(&[DAY, DAY]).await;
    setting.fakes.change(0, |contact| consent(contact, true, DAY));
    setting.run(1, None).await;
    taken(&setting.fakes);

    // The CDP takes the activation and answers with an error; the worker is gone before it can ask again.
    setting.fakes.change(0, |contact| consent(contact, false, DAY));
    setting.fakes.fail([true; 20]);
    let before = setting.fakes.batches();
    let activated = async {
        while setting.fakes.batches() == before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        result = setting.run(2, None) => panic!("it ended: {result:?}"),
        () = activated => {}
    }
    setting.fakes.fail([]);
    assert!(
        taken(&setting.fakes)
            .iter()
            .any(|(number, traits, _)| (*number, *traits) == (0, true))
    );

    setting.fakes.change(0, |contact| consent(contact, true, DAY));
    for (epoch, expected) in [(3, vec![(0, false, vec![])]), (4, vec![])] {
        let result = setting.run(epoch, None).await;
        assert_eq!(
            (result.outcome, taken(&setting.fakes)),
            (Outcome::Succeeded, expected),
            "run {epoch}"
        );
    }
}

/// What may happen between two runs, and to one.
#[derive(Clone, Debug)]
enum Step {
    /// A record is changed: whether it opted out, and in how many milliseconds its evidence ends.
    Edit {
        number: usize,
        opted_out: bool,
        ends: Option<i64>,
    },
    Delete(usize),
    /// A run; the CDP fails on its first batches, having taken some of them; it is dropped after so many milliseconds.
    Run {
        faults: Vec<bool>,
        dropped: Option<u64>,
    },
}

const RECORDS: usize = 6;

fn any_ends() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(-1_000)),
        3 => (0..2_000i64).prop_map(Some),
        3 => Just(Some(80_000_000)),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..RECORDS, prop::bool::weighted(0.3), any_ends())
            .prop_map(|(number, opted_out, ends)| Step::Edit { number, opted_out, ends }),
        1 => (0..RECORDS).prop_map(Step::Delete),
        3 => (prop::collection::vec(any::<bool>(), 0..2), prop::option::weighted(0.4, 1..200u64))
            .prop_map(|(faults, dropped)| Step::Run { faults, dropped }),
    ]
}

/// Until when each record's consent holds, as the CRM has it, and since when the CRM has had it so.
#[derive(Clone, Debug, Default)]
struct Truth(BTreeMap<usize, Vec<(Timestamp, Option<Timestamp>)>>);

impl Truth {
    fn consents(&self, number: usize, at: Timestamp) -> bool {
        let versions = self.0[&number].iter().rev();
        let mut known = versions.skip_while(|(since, _)| *since > at);
        known.next().is_some_and(|(_, ends)| ends.is_some_and(|ends| at < ends))
    }

    fn learn(&mut self, number: usize, ends: Option<Timestamp>) {
        self.0.entry(number).or_default().push((Timestamp::now(), ends));
    }

    fn edit(&mut self, number: usize, opted_out: bool, ends: Option<i64>, contact: &mut Contact) {
        let ends = ends.map(|ends| Timestamp::now() + SignedDuration::from_millis(ends));
        let given = ends.map(|ends| ends - SignedDuration::from_hours(24));
        contact.fields.insert("HasOptedOutOfEmail".into(), json!(opted_out));
        contact
            .fields
            .insert("Consented__c".into(), json!(given.map(|instant| instant.to_string())));
        contact.fields.insert(
            "Email".into(),
            json!(format!("{}@example.com", Timestamp::now().as_nanosecond())),
        );
        self.learn(number, ends.filter(|_| !opted_out));
    }
}

/// Holds every call that the CDP has taken since the last look against the truth, and notes who is activated there.
fn look(fakes: &Fakes, truth: &Truth, active: &mut BTreeMap<usize, bool>) -> Result<(), TestCaseError> {
    for call in fakes.take_calls() {
        let (number, traits, granted) = told(&call);
        let sent: Timestamp = call["sentAt"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("an instant");
        // `sentAt` is cut to the millisecond.
        let consents = truth.consents(number, sent) || truth.consents(number, sent - SignedDuration::from_millis(1));
        prop_assert!(consents || !traits, "{} at {}: {}", number, sent, call);
        prop_assert!(consents || granted.is_empty(), "{} at {}: {}", number, sent, call);
        if call["type"] == json!("identify") {
            active.insert(number, traits);
        }
    }
    Ok(())
}

async fn history(steps: &[Step]) -> Result<(), TestCaseError> {
    let setting = setting(&[DAY; RECORDS]).await;
    let (mut truth, mut active) = (Truth::default(), BTreeMap::new());
    for number in 0..RECORDS {
        setting
            .fakes
            .change(number, |contact| truth.edit(number, false, Some(80_000_000), contact));
    }
    let mut epoch = 0;
    for step in steps {
        match step {
            Step::Edit {
                number,
                opted_out,
                ends,
            } => setting.fakes.change(*number, |contact| {
                contact.deleted = false;
                truth.edit(*number, *opted_out, *ends, contact);
            }),
            Step::Delete(number) => {
                setting.fakes.change(*number, |contact| contact.deleted = true);
                truth.learn(*number, None);
            }
            Step::Run { faults, dropped } => {
                epoch += 1;
                setting.fakes.fail(faults.iter().copied());
                let limit = dropped.map_or(Duration::from_secs(60), Duration::from_millis);
                // A run that is dropped in the middle is what a killed pod leaves: what was on its way, and what was committed.
                let _ = tokio::time::timeout(limit, setting.run(epoch, None)).await;
                look(&setting.fakes, &truth, &mut active)?;
            }
        }
    }
    setting.fakes.fail([]);
    for last in 1..=2 {
        let before = Timestamp::now();
        let result = setting.run(epoch + last, None).await;
        prop_assert_eq!(result.outcome, Outcome::Succeeded, "{:?}", result);
        look(&setting.fakes, &truth, &mut active)?;
        for (number, is_active) in &active {
            prop_assert!(
                !is_active || truth.consents(*number, before),
                "{} is still activated",
                number
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Over random histories of consent, edits, retries and crashes: nobody's traits reach the CDP while their consent is not
    /// there, and who was activated is suppressed by the first whole run after it ended.
    #[test]
    fn no_trait_of_a_person_without_consent_ever_reaches_the_cdp(steps in prop::collection::vec(any_step(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(history(&steps))?;
    }
}
