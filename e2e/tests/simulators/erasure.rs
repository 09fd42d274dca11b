//! A worker between both simulators, without a cluster: whom the CRM deletes the CDP forgets, and nobody else.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use ferrygate_e2e::control_plane::binary::ferrygate;
use ferrygate_e2e::simulators::salesforce::Config;
use ferrygate_e2e::simulators::segment::{self, Segment};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Org, control};

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, writeKey: write-key, token: public-token}
---
apiVersion: ferrygate.io/v1alpha1
kind: CrmSource
metadata: {name: crm}
spec:
  salesforce:
    instanceUrl: CRM
    allowPlaintext: true
    auth:
      clientCredentials:
        clientId: {secretKeyRef: {name: credentials, key: clientId}}
        clientSecret: {secretKeyRef: {name: credentials, key: clientSecret}}
---
apiVersion: ferrygate.io/v1alpha1
kind: CdpSink
metadata: {name: cdp}
spec:
  segment:
    endpoint: CDP/v1
    allowPlaintext: true
    writeKey: {secretKeyRef: {name: credentials, key: writeKey}}
    privacyApi: {endpoint: CDP, token: {secretKeyRef: {name: credentials, key: token}}}
  identity: {userId: crm_id}
  consent: {require: [marketing_email]}
---
apiVersion: ferrygate.io/v1alpha1
kind: MappingVersion
metadata: {name: customer-1.0.0}
spec:
  mapping: customer
  version: 1.0.0
  objects:
  - object: Contact
    entity: Person
    identity: [{kind: crm_id, from: Id}]
    mergedInto: {kind: crm_id, from: MasterRecordId}
    traits: [{trait: name, from: LastName, type: String, classification: Personal}]
    consent: [{purpose: marketing_email, from: HasOptedOutOfEmail, granted: value == false}]
---
apiVersion: ferrygate.io/v1alpha1
kind: SyncPipeline
metadata: {name: customers}
spec:
  sourceRef: {name: crm}
  sinkRef: {name: cdp}
  mappingRef: {name: customer, version: 1.0.0}
  streams: [{name: contacts, object: Contact, schedule: {every: 5m}, deletes: Erase}]
"#;

struct Setting {
    org: Org,
    cdp: Segment,
    folder: tempfile::TempDir,
}

impl Setting {
    async fn start() -> Result<Self> {
        let org = Org::start(Config::default()).await?;
        let cdp = Segment::start(segment::Config {
            tokens: vec!["public-token".into()],
            ..segment::Config::default()
        })
        .await?;
        let folder = tempfile::tempdir()?;
        let config = &org.simulator.org.config;
        let manifests = MANIFESTS
            .replace("CLIENT_ID", &config.client_id)
            .replace("CLIENT_SECRET", &config.client_secret)
            .replace("CRM", &org.simulator.url())
            .replace("CDP", &cdp.url());
        std::fs::write(folder.path().join("all.yaml"), manifests)?;
        Ok(Self { org, cdp, folder })
    }

    /// Runs the stream; its result, once it has succeeded. Its log holds no id of a record.
    async fn run(&self) -> Result<Value> {
        let mut command = Command::new(ferrygate().await?);
        command.arg("run").arg("--files").arg(self.folder.path());
        command.arg("--state").arg(self.folder.path().join("state"));
        let output = command
            .args(["--output", "json"])
            .env("RUST_LOG", "debug")
            .output()
            .await?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let results: Value = serde_json::from_slice(&output.stdout).context(log.clone())?;
        anyhow::ensure!(output.status.success(), "{results}\n{log}");
        let ids = self
            .cdp
            .workspace
            .regulations
            .list()
            .into_iter()
            .flat_map(|one| one.subjects);
        for id in ids.chain(self.cdp.workspace.store.users()) {
            anyhow::ensure!(!log.contains(&id), "{id} is in the log: {log}");
        }
        Ok(results["results"][0].clone())
    }

    async fn change(&self, changes: Value) -> Result<()> {
        let body = json!({ "changes": changes });
        self.org.control(Method::POST, "/_control/changes", body).await?;
        Ok(())
    }

    /// Whom each regulation names.
    fn asked(&self) -> Vec<Vec<String>> {
        let regulations = self.cdp.workspace.regulations.list();
        regulations.into_iter().map(|one| one.subjects).collect()
    }

    /// Who has a name at the CDP.
    fn named(&self) -> BTreeSet<String> {
        let store = &self.cdp.workspace.store;
        let named = |user: &String| {
            store
                .profile(user)
                .is_some_and(|profile| profile["traits"]["name"].is_string())
        };
        store.users().into_iter().filter(named).collect()
    }
}

#[tokio::test]
async fn whom_the_crm_deletes_the_cdp_is_asked_to_forget_and_forgets_and_no_one_else() -> Result<()> {
    let setting = Setting::start().await?;
    let mut ids = Vec::new();
    for name in ["Ada", "Bea", "Cid", "Dora", "Eva"] {
        ids.push(
            setting
                .org
                .contact(json!({"LastName": name, "HasOptedOutOfEmail": false}))
                .await?,
        );
    }
    let all: BTreeSet<String> = ids.iter().cloned().collect();
    setting.run().await?;
    assert_eq!(setting.named(), all);

    let [winner, deleted, merged, undeleted, _] = [0, 1, 2, 3, 4].map(|number: usize| ids[number].clone());
    setting
        .change(json!([
            {"op": "delete", "id": deleted},
            {"op": "merge", "id": merged, "into": winner},
            {"op": "delete", "id": undeleted},
            {"op": "undelete", "id": undeleted},
        ]))
        .await?;
    // The first try is lost, the second one's answer.
    let faults = json!([
        {"match": {"method": "POST", "path": "/regulations"}, "times": 1, "kind": {"status": {"code": 503}}},
        {"match": {"method": "POST", "path": "/regulations"}, "after": 1, "times": 1, "kind": {"truncateBody": {"atBytes": 9}}},
    ]);
    control(
        &setting.org.http,
        &setting.cdp.url(),
        Method::PUT,
        "/_control/faults",
        faults,
    )
    .await?;
    let result = setting.run().await?;
    assert_eq!(result["erasures"], json!({"waiting": 0, "running": 1}), "{result}");
    assert_eq!(setting.asked(), [vec![deleted.clone()]]);

    // Nothing of whom the CDP has forgotten comes back to it.
    assert_eq!(setting.cdp.workspace.finish_all(), 1);
    setting.run().await?;
    let known: BTreeSet<String> = setting.cdp.workspace.store.users().into_iter().collect();
    assert!(!known.contains(&deleted) && known.contains(&merged), "{known:?}");
    assert_eq!(setting.asked().len(), 1);

    setting.change(json!([{"op": "undelete", "id": deleted}])).await?;
    setting.run().await?;
    assert!(setting.named().contains(&deleted));
    assert_eq!(setting.asked().len(), 1);
    Ok(())
}
