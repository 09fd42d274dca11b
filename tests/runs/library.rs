//! A run by the library's own door: what it publishes, how it is fenced, and what a replaced pod goes on from.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::fakes::{Contact, Fakes, write_manifests};
use ferrygate::api::common::{Classification, Outcome};
use ferrygate::api::mapping_version::OnNull;
use ferrygate::api::sync_pipeline::{Counts, OnSchemaChange, Watermark};
use ferrygate::cli::files::Manifests;
use ferrygate::secrets::Secrets;
use ferrygate::worker::{Progress, Publish, RunResult, RunSpec, Silent, resolve_mapping, sync};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// A folder with manifests and state, and the services that they name.
pub struct Setting {
    pub folder: tempfile::TempDir,
    pub fakes: Fakes,
    pub secrets: Secrets,
    pub spec: RunSpec,
}

impl Setting {
    pub async fn with(contacts: usize) -> Setting {
        let folder = tempfile::tempdir().expect("a folder");
        let fakes = Fakes::default();
        fakes.fill(contacts);
        write_manifests(folder.path(), &fakes.serve().await);
        let (secrets, spec) = read(folder.path());
        Setting {
            folder,
            fakes,
            secrets,
            spec,
        }
    }

    /// The stream's run with this number, in a pod of its own.
    pub async fn run(&self, epoch: i64, published: Option<Watermark>) -> RunResult {
        self.publish_to(epoch, published, &Silent, CancellationToken::new())
            .await
    }

    pub async fn publish_to(
        &self,
        epoch: i64,
        published: Option<Watermark>,
        publisher: &impl Publish,
        shutdown: CancellationToken,
    ) -> RunResult {
        let spec = RunSpec {
            run: format!("run-{epoch}"),
            epoch,
            ran_before: epoch > 1,
            published,
            ..self.spec.clone()
        };
        sync(spec, &self.secrets, publisher, shutdown).await
    }
}

pub fn read(folder: &Path) -> (Secrets, RunSpec) {
    let manifests = Manifests::read(folder).expect("manifests");
    let (name, namespace) = manifests.namespaces().next().expect("a namespace");
    let pipeline = &namespace.pipelines["customers"];
    let mapping = resolve_mapping(&pipeline.spec.mapping_ref, namespace.mappings.values()).expect("a mapping");
    let spec = RunSpec {
        namespace: name.to_owned(),
        pipeline: "customers".into(),
        stream: pipeline.spec.streams[0].clone(),
        source_name: "crm".into(),
        source: namespace.sources["crm"].spec.clone(),
        sink_name: "cdp".into(),
        sink: namespace.sinks["cdp"].spec.clone(),
        mapping: mapping.spec.clone(),
        run: String::new(),
        on_schema_change: pipeline.spec.schema.on_change,
        accepted_schema: String::new(),
        epoch: 0,
        ran_before: false,
        state_directory: folder.join("state"),
        published: None,
    };
    (namespace.secrets(), spec)
}

/// Keeps what is published, and answers with an outcome from the given publication on.
struct Kept {
    progress: Mutex<Vec<Progress>>,
    refused_from: usize,
}

impl Publish for Kept {
    async fn publish(&self, progress: &Progress) -> Result<(), Outcome> {
        let mut kept = self.progress.lock().expect("not poisoned");
        kept.push(progress.clone());
        if kept.len() >= self.refused_from {
            return Err(Outcome::Superseded);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_publication_is_refused_as_superseded_ends_at_once() {
    let setting = Setting::with(8_000).await;
    setting.fakes.slow(Duration::from_millis(500));
    let kept = Kept {
        progress: Mutex::default(),
        refused_from: 1,
    };
    let result = setting.publish_to(1, None, &kept, CancellationToken::new()).await;
    let published = kept.progress.into_inner().expect("not poisoned");
    assert_eq!((result.outcome, published.len()), (Outcome::Superseded, 1));
    assert!(result.counts.read < 8_000, "{:?}", result.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_grows_and_ends_with_the_whole() {
    let setting = Setting::with(3_000).await;
    let kept = Kept {
        progress: Mutex::default(),
        refused_from: usize::MAX,
    };
    let result = setting.publish_to(1, None, &kept, CancellationToken::new()).await;
    let published = kept.progress.into_inner().expect("not poisoned");
    assert!(published.is_sorted_by(|before, after| before.watermark <= after.watermark));
    assert_eq!(
        (published.last(), result.counts.delivered),
        (Some(&result.progress()), 3_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_go_on_when_a_pod_of_the_same_run_is_replaced() {
    let setting = Setting::with(8_000).await;
    setting.fakes.slow(Duration::from_millis(150));
    let stop = CancellationToken::new();
    let (first, ()) = tokio::join!(setting.publish_to(1, None, &Silent, stop.clone()), async {
        while setting.fakes.batches() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    });
    setting.fakes.slow(Duration::ZERO);
    let second = setting.run(1, None).await;
    let all = Counts {
        read: 8_000,
        delivered: 8_000,
        ..Counts::default()
    };
    assert_eq!(
        (first.outcome, second.outcome, second.counts),
        (Outcome::Interrupted, Outcome::Succeeded, all),
        "{first:?} {second:?}"
    );
    assert!(first.counts.read > 0 && first.counts.read < 8_000, "{:?}", first.counts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppression_that_the_pod_before_has_delivered_is_sent_anew_and_counted_once() {
    let setting = Setting::with(20_000).await;
    for number in 0..20_000 {
        let opt_out = |contact: &mut Contact| {
            contact.fields.insert("HasOptedOutOfEmail".into(), true.into());
        };
        setting.fakes.change_unseen(number, opt_out);
    }
    setting.fakes.slow(Duration::from_millis(150));
    let stop = CancellationToken::new();
    let (first, ()) = tokio::join!(setting.publish_to(1, None, &Silent, stop.clone()), async {
        while setting.fakes.batches() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
    });
    setting.fakes.slow(Duration::ZERO);
    let second = setting.run(1, None).await;
    assert!(
        first.counts.read > 0 && first.counts.read < 20_000,
        "{:?}",
        first.counts
    );
    assert_eq!(
        (second.outcome, second.counts.read, second.counts.suppressed),
        (Outcome::Succeeded, 20_000, 20_000)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_store_goes_on_from_the_published_watermark_and_both_lost_start_over() {
    let setting = Setting::with(1_000).await;
    let whole = setting.run(1, None).await;
    let calls = setting.fakes.take_calls().len();
    std::fs::remove_dir_all(setting.folder.path().join("state")).expect("removed");
    let from_status = setting.run(2, whole.watermark.clone()).await;
    std::fs::remove_dir_all(setting.folder.path().join("state")).expect("removed");
    let from_nothing = setting.run(3, None).await;
    let again = setting.fakes.take_calls().len();
    // The look-back of five minutes holds the last 301 seconds, and a record in ten shares its stamp with another one.
    let look_back = from_status.counts.read;
    assert!((300..=303).contains(&look_back), "{from_status:?}");
    assert_eq!(
        (
            whole.message.as_str(),
            from_status.outcome,
            from_status.reconciliation,
            from_nothing.counts.delivered,
            again,
        ),
        (
            "1000 records read: 1000 delivered, 0 unchanged, 0 suppressed, 0 to the dead letters",
            Outcome::Succeeded,
            None,
            1_000,
            calls + usize::try_from(look_back).expect("a count") * 2,
        )
    );
    assert!(
        from_status.message.contains("the state store was lost"),
        "{}",
        from_status.message
    );
    assert!(
        from_nothing.message.contains("no watermark is known"),
        "{}",
        from_nothing.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_run_can_not_write_after_a_newer_one() {
    let setting = Setting::with(10).await;
    let newer = setting.run(2, None).await;
    let older = setting.run(1, None).await;
    assert_eq!(
        (newer.outcome, older.outcome),
        (Outcome::Succeeded, Outcome::Superseded)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_delivered_elsewhere_delivers_everything_again() {
    let mut setting = Setting::with(100).await;
    let first = setting.run(1, None).await;
    setting.spec.sink_name = "other".into();
    let moved = setting.run(2, first.watermark).await;
    assert_eq!((moved.outcome, moved.counts.delivered), (Outcome::Succeeded, 100));
    assert!(moved.message.contains("it starts over"), "{}", moved.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_changes_is_told_held_on_demand_and_accepted_by_its_hash() {
    let mut setting = Setting::with(20).await;
    setting.fakes.offer(&["Open"]);
    let first = setting.run(1, None).await.schema.expect("a schema");
    assert!(first.is_aligned() && first.changes.is_empty(), "{first:?}");

    setting.fakes.offer(&["Open", "Won"]);
    let alerted = setting.run(2, None).await;
    let schema = alerted.schema.expect("a schema");
    assert_eq!(
        (alerted.outcome, schema.is_aligned(), schema.words().as_str()),
        (
            Outcome::Succeeded,
            false,
            "Stage__c offers new values: \"Won\"; it is read by event Stage Changed"
        )
    );

    setting.spec.on_schema_change = OnSchemaChange::Hold;
    let held = setting.run(3, None).await;
    assert_eq!((held.outcome, held.counts.read), (Outcome::SchemaDrifted, 0));
    assert!(
        held.message.contains("held, because the CRM's schema changed"),
        "{}",
        held.message
    );

    setting.spec.accepted_schema = format!("0123456789abcdef, {}", schema.hash);
    let accepted = setting.run(4, None).await;
    setting.spec.accepted_schema = String::new();
    let after = setting.run(5, None).await;
    let aligned = |result: &RunResult| result.schema.as_ref().is_some_and(|schema| schema.is_aligned());
    assert_eq!(
        (accepted.outcome, aligned(&accepted), after.outcome, aligned(&after)),
        (Outcome::Succeeded, true, Outcome::Succeeded, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_crm_lacks_is_told_with_the_schema_and_later_descriptions_are_not_held_against_that_one() {
    let mut setting = Setting::with(20).await;
    let version = setting.spec.mapping.version.clone();
    let right = setting.spec.mapping.clone();
    let rule = &mut setting.spec.mapping.objects[0].traits[0];
    rule.from = Some("Nonesuch__c".into());
    let lacking = setting.run(1, None).await;
    let schema = lacking.schema.expect("a schema");
    assert_eq!(
        (lacking.outcome, schema.mapping_version),
        (Outcome::SchemaDrifted, version)
    );
    assert!(
        schema.findings[0].starts_with("spec.objects[0].traits[0].from: object Contact has no field \"Nonesuch__c\""),
        "{:?}",
        schema.findings
    );
    setting.spec.mapping = right;
    let mended = setting.run(2, None).await;
    let schema = mended.schema.expect("a schema");
    assert_eq!(
        (mended.outcome, schema.is_aligned(), schema.changes),
        (Outcome::Succeeded, true, Vec::new())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_how_many_of_its_records_have_a_value_for_each_trait_that_the_sink_gets() {
    let mut setting = Setting::with(10).await;
    let object = &mut setting.spec.mapping.objects[0];
    let mut secret = object.traits[0].clone();
    secret.name = "secret".into();
    secret.classification = Classification::Sensitive;
    object.traits.insert(0, secret);
    object.traits[2].on_null = OnNull::Default;
    object.traits[2].default = Some("+49".into());
    for (number, phone) in [(0, json!(null)), (1, json!(null)), (2, json!("no number"))] {
        setting.fakes.change(number, |contact| {
            contact.fields.insert("Phone".into(), phone);
        });
    }
    setting.fakes.change(3, |contact| contact.deleted = true);
    let result = setting.run(1, None).await;
    let fill = result.fill.expect("fill rates");
    // One is deleted, and one rejected; of the others two have no number of their own.
    assert_eq!((result.counts.rejected, fill.records), (1, 8));
    assert_eq!(fill.per_mille, [-1, 1_000, 750]);
    assert_eq!(fill.mapping_version, setting.spec.mapping.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_can_never_work_on_the_crms_types_is_told_with_its_path() {
    let mut setting = Setting::with(5).await;
    let rule = &mut setting.spec.mapping.objects[0].traits[1];
    (rule.from, rule.transforms) = (None, Vec::new());
    rule.cel = Some("record.HasOptedOutOfEmail == 'yes' ? 'a' : record.Email".into());
    let told = setting.run(1, None).await;
    let schema = told.schema.expect("a schema");
    assert_eq!((told.outcome, schema.is_aligned()), (Outcome::Succeeded, false));
    assert_eq!(
        schema.findings,
        ["spec.objects[0].traits[1].cel: as the CRM describes Contact, column 27: a bool and a string are never equal"]
    );
    setting.spec.mapping.objects[0].traits[1].cel = Some("record.HasOptedOutOfEmail".into());
    let stopped = setting.run(2, None).await;
    assert_eq!((stopped.outcome, stopped.counts.read), (Outcome::SchemaDrifted, 0));
    assert!(
        stopped
            .message
            .contains("the expression gives a bool, which is no String"),
        "{}",
        stopped.message
    );
}
