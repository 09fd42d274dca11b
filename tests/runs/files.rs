//! `ferrygate run --files` against a CRM and a CDP on this machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::fakes::{Fakes, write_manifests};
use serde_json::{Value, json};

/// A folder with manifests and state, and the services that they name.
struct Setting {
    folder: tempfile::TempDir,
    fakes: Fakes,
}

impl Setting {
    async fn with(contacts: usize) -> Setting {
        let folder = tempfile::tempdir().expect("a folder");
        let fakes = Fakes::default();
        fakes.fill(contacts);
        write_manifests(folder.path(), &fakes.serve().await);
        Setting { folder, fakes }
    }

    fn command(&self) -> Command {
        command(self.folder.path(), &self.folder.path().join("state"))
    }

    async fn run(&self) -> Ran {
        let mut command = self.command();
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        Ran::of(output.expect("a thread").expect("a process"))
    }

    fn message_ids(&self) -> BTreeSet<String> {
        let calls = self.fakes.take_calls();
        calls.iter().map(|call| call["messageId"].to_string()).collect()
    }
}

fn command(folder: &Path, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferrygate"));
    command
        .arg("run")
        .arg("--files")
        .arg(folder)
        .arg("--state")
        .arg(state)
        .args(["--output", "json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a run printed.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    result: Value,
    log: String,
}

impl Ran {
    fn of(output: Output) -> Ran {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Ran {
            code: output.status.code(),
            result: result["results"][0].clone(),
            log,
        }
    }

    fn summary(&self) -> (Option<i32>, &Value, &Value) {
        (self.code, &self.result["outcome"], &self.result["counts"])
    }
}

fn counts(read: u32, delivered: u32, unchanged: u32, suppressed: u32, rejected: u32) -> Value {
    json!({
        "read": read, "delivered": delivered, "unchanged": unchanged, "suppressed": suppressed, "rejected": rejected,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_shown_tried_again_by_a_mended_mapping_and_discarded() {
    // More than the look-back reads again.
    let setting = Setting::with(400).await;
    for number in [0, 1] {
        setting.fakes.change_unseen(number, |contact| {
            contact.fields.insert("Phone".into(), json!("no number"));
        });
    }
    let (folder, state) = (setting.folder.path().to_owned(), setting.folder.path().join("state"));
    let letters = async |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrygate"));
        command.arg("dead-letters").args(words);
        command.arg("--files").arg(&folder).arg("--state").arg(&state);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("a thread").expect("a process");
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let held = async || setting.run().await.result["deadLetters"].as_array().map(Vec::len);
    assert_eq!(held().await, Some(2));
    let (code, listed) = letters(&["list"]).await;
    let first = listed.lines().next().unwrap_or_default();
    assert!(
        code == Some(0)
            && first.starts_with("default/customers contacts: 003000000000000000: Map: traits[phone]: ")
            && listed.lines().count() == 2
            && !listed.contains("no number"),
        "{listed}"
    );

    // What the mapping refused it now lets pass; the CRM has not changed.
    let manifests = folder.join("all.yaml");
    let text = std::fs::read_to_string(&manifests).expect("manifests");
    let mended = text.replace(
        "transforms: [{e164: {default: DE}}],",
        "transforms: [{e164: {default: DE}}], onError: 'Null',",
    );
    assert_ne!(text, mended);
    std::fs::write(&manifests, mended).expect("written");
    setting.fakes.take_calls();
    assert_eq!(held().await, Some(2), "nobody has asked for them");
    let first = "003000000000000000";
    assert_eq!(
        letters(&["replay", "--record", first]).await,
        (
            Some(0),
            "default/customers contacts: 1 dead letters are read again by the next run\n".to_owned()
        )
    );
    assert_eq!(held().await, Some(1));
    let sent: Vec<_> = setting
        .fakes
        .take_calls()
        .iter()
        .map(|call| call["userId"].clone())
        .collect();
    assert!(
        !sent.is_empty() && sent.iter().all(|user| *user == json!(first)),
        "{sent:?}"
    );
    assert_eq!((held().await, setting.fakes.take_calls()), (Some(1), vec![]), "once");

    let nothing = (Some(1), "there is no such dead letter\n".to_owned());
    assert_eq!(letters(&["discard", "--path", "traits[email]"]).await, nothing);
    assert_eq!(letters(&["discard", "--path", "traits[phone]"]).await.0, Some(0));
    assert_eq!(held().await, Some(0));
    assert_eq!(
        letters(&["list", "--output", "json"]).await,
        (Some(0), "{\"deadLetters\":[]}\n".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_is_held_against_the_crm_s_objects_without_the_crm() {
    let setting = Setting::with(1).await;
    let folder = setting.folder.path().to_owned();
    let ferrygate = async |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrygate"));
        command.args(words).arg("--files").arg(&folder);
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        output.expect("a thread").expect("a process")
    };
    let described = ferrygate(&["describe"]).await;
    assert!(
        described.status.success(),
        "{}",
        String::from_utf8_lossy(&described.stderr)
    );
    let elsewhere = tempfile::tempdir().expect("a folder");
    let file = elsewhere.path().join("schema.json");
    std::fs::write(&file, &described.stdout).expect("written");
    let validate = async || {
        let output = ferrygate(&["validate", "--schema", file.to_str().expect("a path")]).await;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), told.lines().next().unwrap_or_default().to_owned())
    };
    assert_eq!(
        validate().await,
        (Some(0), "4 resources: 0 errors, 0 warnings".to_owned())
    );

    let manifests = folder.join("all.yaml");
    let text = std::fs::read_to_string(&manifests).expect("manifests");
    std::fs::write(&manifests, text.replace("from: Email,", "from: Emial,")).expect("written");
    let (code, first) = validate().await;
    assert_eq!(code, Some(1));
    assert!(
        first.contains(
            "SyncPipeline customers: spec.streams[0]: MappingVersion customer-1.0.0 does not fit Contact of CrmSource \"crm\": \
             spec.objects[0].traits[0].from: "
        ) && first.contains("did you mean"),
        "{first}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_delivered_once_and_a_change_only_as_what_changed() {
    let setting = Setting::with(1_000).await;
    let first = setting.run().await;
    assert_eq!(
        first.summary(),
        (Some(0), &json!("Succeeded"), &counts(1000, 1000, 0, 0, 0)),
        "{first:#?}"
    );
    assert_eq!(
        (
            &first.result["reconciliation"]["sourceCount"],
            &first.result["reconciliation"]["deliveredCount"]
        ),
        (&json!(1000), &json!(1000))
    );
    // An identify and the event of a record that is seen for the first time.
    assert_eq!(setting.message_ids().len(), 2_000);

    setting.fakes.change(1, |contact| {
        drop(contact.fields.insert("Email".into(), json!("new@example.com")))
    });
    setting.fakes.change(2, |contact| {
        drop(contact.fields.insert("HasOptedOutOfEmail".into(), json!(true)))
    });
    setting.fakes.change(3, |contact| {
        drop(contact.fields.insert("Phone".into(), json!("no number")))
    });
    setting.fakes.change(4, |contact| contact.deleted = true);
    setting.fakes.change(5, |contact| {
        drop(contact.fields.insert("Stage__c".into(), json!("won")))
    });
    setting.fakes.change(6, |_| {});
    setting.fakes.change(7, |contact| {
        contact.fields.insert("Phone".into(), json!("no number"));
        contact.fields.insert("HasOptedOutOfEmail".into(), json!(true));
    });
    let second = setting.run().await;
    let calls = setting.fakes.take_calls();
    let mut seen: Vec<_> = calls
        .iter()
        .map(|call| {
            let consent = &call["context"]["consent"]["categoryPreferences"]["marketing_email"];
            let id = call["userId"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("00300000000000000")
                .to_owned();
            (
                id,
                call["type"].as_str().unwrap_or_default().to_owned(),
                call["traits"].is_object(),
                consent.clone(),
            )
        })
        .collect();
    seen.sort_by(|left, right| left.0.cmp(&right.0));
    let call = |id: &str, kind: &str, traits, consent| (id.to_owned(), kind.to_owned(), traits, json!(consent));
    assert_eq!(
        seen,
        [
            call("1", "identify", true, true),
            call("2", "identify", false, false),
            call("4", "identify", false, false),
            call("5", "track", false, true),
            call("7", "identify", false, false),
        ],
        "{second:#?}"
    );
    let letters: Vec<_> = second.result["deadLetters"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|letter| &letter["path"])
        .collect();
    assert_eq!(letters, [&json!("traits[phone]"), &json!("traits[phone]")]);
    let message = second.result["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("dead letters held, by cause: 2 at traits[phone]: "),
        "{message}"
    );
    let counts = &second.result["counts"];
    assert_eq!(
        (&counts["delivered"], &counts["suppressed"], &counts["rejected"]),
        (&json!(2), &json!(2), &json!(2)),
        "{second:#?}"
    );
    assert_eq!(second.result["reconciliation"]["deliveredCount"], json!(999));

    let third = setting.run().await;
    assert_eq!(
        (third.code, setting.fakes.take_calls()),
        (Some(0), Vec::new()),
        "{third:#?}"
    );
    for ran in [&first, &second, &third] {
        for value in [
            "example.com",
            "Example.com",
            "no number",
            "030 123456",
            "write-key",
            "00D-token",
        ] {
            assert!(!ran.log.contains(value), "{value:?} is in {}", ran.log);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_loses_nothing_and_sends_nothing_under_another_id() {
    for signal in ["KILL", "TERM"] {
        let setting = Setting::with(12_000).await;
        setting.fakes.slow(Duration::from_millis(100));
        let mut child = setting.command().spawn().expect("a process");
        while setting.fakes.batches() < 4 {
            assert!(
                child.try_wait().expect("a process").is_none(),
                "the run ended before it was killed"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pid = child.id().to_string();
        let killed = Command::new("kill").args(["-s", signal, &pid]).status().expect("kill");
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await;
        let ended = Ran::of(output.expect("a thread").expect("a process"));
        assert!(killed.success());
        if signal == "TERM" {
            assert_eq!(
                (ended.code, &ended.result["outcome"]),
                (Some(75), &json!("Interrupted")),
                "{ended:#?}"
            );
        }
        setting.fakes.slow(Duration::ZERO);
        let ran = setting.run().await;
        assert_eq!(
            (ran.code, &ran.result["reconciliation"]["deliveredCount"]),
            (Some(0), &json!(12_000)),
            "{ran:#?}"
        );
        assert_eq!(setting.message_ids().len(), 24_000, "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_crm_does_not_have_is_named_with_those_that_come_near() {
    let setting = Setting::with(10).await;
    let path = setting.folder.path().join("all.yaml");
    let manifests = std::fs::read_to_string(&path)
        .expect("manifests")
        .replace("from: Stage__c", "from: Stagee__c");
    std::fs::write(&path, manifests).expect("written");
    let ran = setting.run().await;
    let message = ran.result["message"].as_str().unwrap_or_default();
    assert_eq!(
        (ran.code, &ran.result["outcome"]),
        (Some(78), &json!("SchemaDrifted")),
        "{ran:#?}"
    );
    assert!(
        message.contains("Stagee__c") && message.contains("Contact") && message.contains("Stage__c"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_the_next_run_goes_on() {
    let setting = Setting::with(20_000).await;
    let small = setting.folder.path().join("small");
    std::fs::create_dir(&small).expect("a folder");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
        .arg(&small)
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("skipped: a small file system can't be mounted here; the store's own tests bound its pages instead");
        return;
    }
    let run = |state: std::path::PathBuf| {
        let mut command = command(setting.folder.path(), &state);
        async move {
            Ran::of(
                tokio::task::spawn_blocking(move || command.output())
                    .await
                    .expect("a thread")
                    .expect("a process"),
            )
        }
    };
    let full = run(small.clone()).await;
    let resized = Command::new("mount")
        .args(["-o", "remount,size=64m"])
        .arg(&small)
        .status();
    let after = run(small.clone()).await;
    let unmounted = Command::new("umount").arg(&small).status();
    assert!(resized.is_ok_and(|status| status.success()) && unmounted.is_ok_and(|status| status.success()));
    assert_eq!(
        (full.code, &full.result["outcome"]),
        (Some(75), &json!("StateUnavailable")),
        "{full:#?}"
    );
    assert!(
        full.result["message"]
            .as_str()
            .is_some_and(|message| message.contains("disk is full")),
        "{full:#?}"
    );
    assert_eq!(
        (after.code, &after.result["reconciliation"]["deliveredCount"]),
        (Some(0), &json!(20_000)),
        "{after:#?}"
    );
    assert_eq!(setting.message_ids().len(), 40_000);
}
