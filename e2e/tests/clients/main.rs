//! Vendors' own clients before the simulators: where the two disagree, the vendor's documentation decides.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use ferrygate_e2e::packages::{self, Runtime};
use ferrygate_e2e::simulators::faults::{Fault, Kind, Match};
use ferrygate_e2e::simulators::keys::RsaKeyPair;
use ferrygate_e2e::simulators::salesforce::seed::Seed;
use ferrygate_e2e::simulators::salesforce::{self, Salesforce};
use ferrygate_e2e::simulators::segment::{self, Segment};
use tokio::process::Command;
use tokio::sync::OnceCell;

const CONTACTS: usize = 4_321;

async fn python() -> Result<Option<Runtime>> {
    static ONCE: OnceCell<Option<Runtime>> = OnceCell::const_new();
    let installed =
        ONCE.get_or_try_init(|| packages::python(scripts("python"), "Python's clients before the simulators"));
    installed.await.cloned()
}

async fn node() -> Result<Option<Runtime>> {
    static ONCE: OnceCell<Option<Runtime>> = OnceCell::const_new();
    let installed = ONCE.get_or_try_init(|| packages::node(scripts("node"), "Node's clients before the simulators"));
    installed.await.cloned()
}

fn scripts(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(language)
}

/// Runs the script to its end; its own complaint is the error.
async fn succeeds(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let said = [output.stdout, output.stderr]
        .map(|said| String::from_utf8_lossy(&said).into_owned())
        .concat();
    ensure!(output.status.success(), "{}\n{said}", output.status);
    Ok(())
}

/// An org with contacts, and a folder with its connected app's private key.
async fn org() -> Result<(Salesforce, tempfile::TempDir)> {
    let (pair, folder) = (RsaKeyPair::generate()?, tempfile::tempdir()?);
    std::fs::write(folder.path().join("key.pem"), &pair.private_pem)?;
    let org = Salesforce::start(salesforce::Config {
        public_key: Some(pair.public_pem),
        ..Default::default()
    })
    .await?;
    org.seed(&Seed {
        contacts: CONTACTS,
        ..Seed::default()
    });
    Ok((org, folder))
}

fn with_org<'a>(command: &'a mut Command, simulator: &Salesforce, folder: &Path) -> &'a mut Command {
    let config = &simulator.org.config;
    command
        .env("SALESFORCE_URL", simulator.url())
        .env("SALESFORCE_CONTACTS", CONTACTS.to_string())
        .env("SALESFORCE_CLIENT_ID", &config.client_id)
        .env("SALESFORCE_CLIENT_SECRET", &config.client_secret)
        .env("SALESFORCE_USERNAME", &config.username)
        .env("SALESFORCE_PRIVATE_KEY", folder.join("key.pem"))
}

/// A workspace that turns one batch in three away for a moment.
async fn workspace() -> Result<Segment> {
    let workspace = Segment::start(segment::Config {
        write_keys: vec!["write-key".to_owned()],
        ..Default::default()
    })
    .await?;
    let refusal = |code, after| Fault {
        matches: Match {
            method: None,
            path: Some("/v1/batch".to_owned()),
        },
        after,
        times: Some(1),
        kind: Kind::Status {
            code,
            headers: [("Retry-After".to_owned(), "1".to_owned())].into(),
            body: None,
        },
    };
    workspace.faults.order([refusal(503, 1), refusal(429, 4)]);
    Ok(workspace)
}

fn with_workspace<'a>(command: &'a mut Command, workspace: &Segment) -> &'a mut Command {
    command
        .env("SEGMENT_URL", workspace.url())
        .env("SEGMENT_WRITE_KEY", "write-key")
}

/// `(distinct, duplicates, rejected)`
fn counts(workspace: &Segment) -> (u64, u64, u64) {
    let counts = workspace.workspace.store.counts();
    (counts.distinct, counts.duplicates, counts.rejected)
}

#[tokio::test]
async fn simple_salesforce() -> Result<()> {
    let Some(python) = python().await? else {
        return Ok(());
    };
    let (org, folder) = org().await?;
    let mut script = python.script(OsStr::new("salesforce_client.py"));
    succeeds(with_org(&mut script, &org, folder.path()))
        .await
        .context("simple-salesforce")
}

#[tokio::test]
async fn jsforce() -> Result<()> {
    let Some(node) = node().await? else {
        return Ok(());
    };
    let (org, folder) = org().await?;
    let mut script = node.script(OsStr::new("salesforce.mjs"));
    succeeds(with_org(&mut script, &org, folder.path()))
        .await
        .context("jsforce")
}

#[tokio::test]
async fn segment_analytics_python() -> Result<()> {
    let Some(python) = python().await? else {
        return Ok(());
    };
    let workspace = workspace().await?;
    let mut script = python.script(OsStr::new("segment_client.py"));
    succeeds(with_workspace(&mut script, &workspace))
        .await
        .context("segment-analytics-python")?;
    assert_eq!(counts(&workspace), (2 * 250 * 3 + 1, 1, 0));
    Ok(())
}

#[tokio::test]
async fn segment_analytics_node() -> Result<()> {
    let Some(node) = node().await? else {
        return Ok(());
    };
    let workspace = workspace().await?;
    let mut script = node.script(OsStr::new("segment.mjs"));
    succeeds(with_workspace(&mut script, &workspace))
        .await
        .context("@segment/analytics-node")?;
    assert_eq!(counts(&workspace), (250 * 3 + 2 + 1, 1, 0));
    let profile = workspace.workspace.store.profile("node-1").context("a profile")?;
    assert_eq!(
        profile["consent"]["categoryPreferences"]["marketing_email"],
        serde_json::json!(false)
    );
    Ok(())
}
