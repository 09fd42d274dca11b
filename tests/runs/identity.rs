//! Identities over several runs: shared, taken over and given up addresses, merges, and the answer of `ferrygate explain`.

use std::process::{Command, Output};

use crate::fakes::{Fakes, write_manifests};
use serde_json::{Value, json};

/// A folder with manifests of a mapping with identity rules, and the services that they name.
struct Setting {
    folder: tempfile::TempDir,
    fakes: Fakes,
}

const PLAIN_KEYS: &str = "identity: [{kind: crm_id, from: Id}]";
const KEYS: &str = "identity:
    - {kind: crm_id, from: Id}
    - {kind: email, from: Email, transforms: [{trim: {}}, {lower: {}}], blockWhenSharedBy: 3, blockValues: [info@]}
    - {kind: phone, from: Phone}
    mergedInto: {kind: crm_id, from: MasterRecordId}";

impl Setting {
    async fn with(contacts: usize) -> Setting {
        let folder = tempfile::tempdir().expect("a folder");
        let fakes = Fakes::default();
        fakes.fill(contacts);
        write_manifests(folder.path(), &fakes.serve().await);
        let path = folder.path().join("all.yaml");
        let manifests = std::fs::read_to_string(&path).expect("manifests");
        assert!(manifests.contains(PLAIN_KEYS) && manifests.contains("{userId: crm_id}"));
        let manifests = manifests
            .replace(PLAIN_KEYS, KEYS)
            .replace("{userId: crm_id}", "{userId: crm_id, externalIds: [email]}");
        std::fs::write(&path, manifests).expect("written");
        Setting { folder, fakes }
    }

    async fn ferrygate(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrygate"));
        let (subcommand, rest) = arguments.split_first().expect("a subcommand");
        command.arg(subcommand).arg("--files").arg(self.folder.path());
        command.arg("--state").arg(self.folder.path().join("state")).args(rest);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        output.expect("a thread").expect("a process")
    }

    /// Runs the stream; returns the profile calls that the CDP was sent, in their order: type, record, external id or other id.
    async fn run(&self) -> Vec<(String, usize, Option<String>)> {
        let output = self.ferrygate(&["run", "--output", "json"]).await;
        assert!(output.status.success(), "{output:?}");
        let calls = self.fakes.take_calls();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let number = |value: &Value| text(value).and_then(|id| id[3..].parse().ok()).expect("a record");
        let calls = calls.iter().filter(|call| call["type"] != "track");
        calls
            .map(|call| match text(&call["type"]).expect("a type") {
                alias if alias == "alias" => (alias, number(&call["previousId"]), text(&call["userId"])),
                kind => (
                    kind,
                    number(&call["userId"]),
                    text(&call["context"]["externalIds"][0]["id"]),
                ),
            })
            .collect()
    }

    fn set(&self, number: usize, field: &str, value: &str) {
        self.fakes.change(number, |contact| {
            contact.fields.insert(field.into(), json!(value));
        });
    }

    async fn explain(&self, arguments: &[&str]) -> (Value, String) {
        let output = self
            .ferrygate(&[&["explain", "--output", "json"], arguments].concat())
            .await;
        let text = String::from_utf8(output.stdout).expect("text");
        let answer: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (answer["explanations"].clone(), text)
    }
}

fn identify(number: usize, email: Option<&str>) -> (String, usize, Option<String>) {
    ("identify".into(), number, email.map(str::to_owned))
}

fn verdict<'v>(explanation: &'v Value, kind: &str) -> &'v str {
    let keys = explanation["keys"].as_array().expect("keys");
    let key = keys.iter().find(|key| key["kind"] == kind).expect("the kind");
    key["verdict"].as_str().expect("a verdict")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_hashed_with_a_secret_is_counted_delivered_and_explained_like_any_other() {
    let setting = Setting::with(4).await;
    let path = setting.folder.path().join("all.yaml");
    let manifests = std::fs::read_to_string(&path).expect("manifests");
    let (plain, hashed) = (
        "{lower: {}}], blockWhenSharedBy: 3",
        "{lower: {}}, {hmacSha256: {secretKeyRef: {name: credentials, key: clientSecret}}}], blockWhenSharedBy: 3",
    );
    assert!(manifests.contains(plain));
    std::fs::write(&path, manifests.replace(plain, hashed)).expect("written");
    for number in 0..3 {
        setting.set(number, "Email", "office@example.com");
    }
    let mut run = setting.run().await;
    run.sort();
    let shared: Vec<_> = run.iter().map(|(_, number, id)| (*number, id.is_some())).collect();
    assert_eq!(shared, [(0, false), (1, false), (2, false), (3, true)]);
    let id = run[3].2.as_deref().expect("an id");
    assert_eq!((id.len(), id.contains('@')), (64, false));

    let (explanations, _) = setting.explain(&["--identity", "email=person3@example.com"]).await;
    assert_eq!(explanations[0]["record"], json!(setting.fakes.id(3)), "{explanations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_too_many_share_is_withdrawn_from_all_and_one_that_was_given_up_is_not_taken_over() {
    let setting = Setting::with(6).await;
    setting.set(0, "Email", "office@example.com");
    setting.set(1, "Email", " Office@Example.com");
    setting.set(3, "Email", "info@example.com");
    let mut first = setting.run().await;
    first.sort();
    let own = |number| format!("person{number}@example.com");
    assert_eq!(
        first,
        [
            identify(0, Some("office@example.com")),
            identify(1, Some("office@example.com")),
            identify(2, Some(&own(2))),
            identify(3, None),
            identify(4, Some(&own(4))),
            identify(5, Some(&own(5))),
        ]
    );
    assert_eq!(setting.run().await, []);

    // A third one takes the address: it is nobody's, for those who had it before as well, though they were not changed.
    setting.set(4, "Email", "office@example.com");
    let mut second = setting.run().await;
    second.sort();
    assert_eq!(second, [identify(0, None), identify(1, None), identify(4, None)]);

    // 5 takes an address that 4 has given up: the CDP knows 4 by it.
    setting.set(5, "Email", &own(4));
    assert_eq!(setting.run().await, [identify(5, None)]);

    // The third one leaves: the address is again that of two, who are one person by the mapping's rule.
    setting.set(4, "Email", "new4@example.com");
    let mut third = setting.run().await;
    third.sort();
    assert_eq!(
        third,
        [
            identify(0, Some("office@example.com")),
            identify(1, Some("office@example.com")),
            identify(4, Some("new4@example.com")),
        ]
    );
    assert_eq!(setting.run().await, []);

    let [record5, record0] = [5, 0].map(|number| format!("Contact/{}", setting.fakes.id(number)));
    let (taken_over, text) = setting.explain(&["--record", &record5, "--trait", "email"]).await;
    assert_eq!(
        ["crm_id", "email", "phone"].map(|kind| verdict(&taken_over[0], kind)),
        ["UserId", "Recycled", "NotTaken"],
        "{text}"
    );
    assert_eq!(taken_over[0]["trait"]["source"], json!("Contact.Email"));
    assert_eq!(taken_over[0]["mapping"], json!("customer 1.0.0"));
    assert!(
        taken_over[0]["run"]
            .as_str()
            .is_some_and(|run| run.starts_with("customers-contacts-")),
        "{text}"
    );
    assert_eq!(
        taken_over[0]["keys"][1]["others"][0]["record"],
        json!(setting.fakes.id(4))
    );
    assert!(!text.contains("example.com"), "{text}");

    let (by_address, text) = setting.explain(&["--identity", "email=Office@example.com "]).await;
    let records: Vec<&Value> = by_address
        .as_array()
        .expect("records")
        .iter()
        .map(|found| &found["record"])
        .collect();
    assert_eq!(
        records,
        [&json!(setting.fakes.id(0)), &json!(setting.fakes.id(1))],
        "{text}"
    );
    let (revealed, _) = setting.explain(&["--record", &record0, "--reveal"]).await;
    assert_eq!(revealed[0]["keys"][1]["value"], json!("office@example.com"));
    assert_eq!(revealed[0]["keys"][1]["valueIsAsDelivered"], json!(true));

    let key = setting.folder.path().join("state/default/customers/identity.key");
    std::fs::remove_file(key).expect("removed");
    let refused = setting.ferrygate(&["explain", "--record", &record0, "--reveal"]).await;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78));
    assert!(message.contains("only by an asker who may read that key"), "{message}");
    let shown = setting.ferrygate(&["explain", "--record", &record0]).await;
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(
        shown.contains("email from Contact.Email: #") && !shown.contains("example.com"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_merge_the_loser_goes_first_and_the_record_that_stays_is_the_last_to_be_heard() {
    let setting = Setting::with(6).await;
    setting.run().await;
    let winner = setting.fakes.id(2);
    setting.set(2, "Stage__c", "merged");
    setting.fakes.change(4, |contact| {
        contact.deleted = true;
        contact.fields.insert("MasterRecordId".into(), json!(winner));
    });
    let calls = setting.run().await;
    let at = |wanted: &(String, usize, Option<String>)| calls.iter().position(|call| call == wanted);
    let aliased = at(&("alias".into(), 4, Some(winner.clone())));
    assert_eq!((at(&identify(4, None)), aliased), (Some(0), Some(1)), "{calls:?}");
    assert_eq!(
        calls.last(),
        Some(&identify(2, Some("person2@example.com"))),
        "{calls:?}"
    );
    assert_eq!(setting.run().await, []);

    let (stays, text) = setting.explain(&["--record", &format!("Contact/{winner}")]).await;
    assert_eq!(stays[0]["standsFor"][0]["record"], json!(setting.fakes.id(4)), "{text}");
    let (lost, text) = setting
        .explain(&["--record", &format!("Contact/{}", setting.fakes.id(4))])
        .await;
    assert_eq!(
        (&lost[0]["goesOnAs"]["record"], &lost[0]["goesOnAs"]["relation"]),
        (&json!(winner), &json!("Merged")),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_converted_record_is_suppressed_and_aliased_once_and_delivered_again_where_the_conversion_is_undone() {
    let setting = Setting::with(2).await;
    let path = setting.folder.path().join("all.yaml");
    let merged = std::fs::read_to_string(&path).expect("manifests");
    let converted = merged
        .replace("mergedInto:", "convertedInto:")
        .replace("blockWhenSharedBy: 3, ", "");
    std::fs::write(&path, converted).expect("written");
    setting.run().await;
    // The contact is of another stream.
    setting.set(1, "MasterRecordId", "003Contact");
    let alias = ("alias".into(), 1, Some("003Contact".into()));
    assert_eq!(setting.run().await, [identify(1, None), alias]);
    setting.set(1, "Stage__c", "later");
    assert_eq!(setting.run().await, []);
    let record = format!("Contact/{}", setting.fakes.id(1));
    let (lead, text) = setting.explain(&["--record", &record]).await;
    assert_eq!(lead[0]["goesOnAs"]["relation"], json!("Converted"), "{text}");

    setting
        .fakes
        .change(1, |contact| drop(contact.fields.remove("MasterRecordId")));
    assert_eq!(setting.run().await, [identify(1, Some("person1@example.com"))]);
    let (lead, text) = setting.explain(&["--record", &record]).await;
    assert_eq!(lead[0]["goesOnAs"], json!(null), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_deleted_and_undeleted_has_its_address_back() {
    let setting = Setting::with(3).await;
    setting.run().await;
    setting.fakes.change(1, |contact| contact.deleted = true);
    assert_eq!(setting.run().await, [identify(1, None)]);
    setting.fakes.change(1, |contact| contact.deleted = false);
    assert_eq!(setting.run().await, [identify(1, Some("person1@example.com"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_of_the_map_is_made_anew_and_everything_read_once() {
    let setting = Setting::with(4).await;
    setting.set(0, "Email", "office@example.com");
    setting.set(1, "Email", "office@example.com");
    setting.run().await;
    std::fs::remove_file(setting.folder.path().join("state/default/customers/identity.key")).expect("removed");
    setting.set(2, "Email", "office@example.com");
    let mut calls = setting.run().await;
    calls.sort();
    assert_eq!(calls, [0, 1, 2].map(|number| identify(number, None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppressed_persons_answer_says_that_no_key_went_out() {
    let setting = Setting::with(2).await;
    setting.fakes.change(1, |contact| {
        contact.fields.insert("HasOptedOutOfEmail".into(), json!(true));
    });
    setting.run().await;
    let mut answers = Vec::new();
    for number in 0..2 {
        let (found, _) = setting
            .explain(&["--record", &format!("Contact/{}", setting.fakes.id(number))])
            .await;
        answers.push(found[0]["suppressed"].clone());
    }
    assert_eq!(answers, [json!(false), json!(true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_begins_to_track_a_key_reads_everything_once() {
    let setting = Setting::with(4).await;
    for number in 0..3 {
        setting.set(number, "Email", "office@example.com");
    }
    let path = setting.folder.path().join("all.yaml");
    let tracked = std::fs::read_to_string(&path).expect("manifests");
    std::fs::write(&path, tracked.replace("blockWhenSharedBy: 3, ", "")).expect("written");
    let mut before = setting.run().await;
    before.sort();
    assert_eq!(
        before[..3],
        [0, 1, 2].map(|number| identify(number, Some("office@example.com")))
    );
    std::fs::write(&path, tracked).expect("written");
    let mut after = setting.run().await;
    after.sort();
    assert_eq!(after, [0, 1, 2].map(|number| identify(number, None)));
}
