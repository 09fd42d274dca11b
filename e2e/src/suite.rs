//! `make e2e`: the tests of this package, on a cluster that is made for them and removed afterwards.

use std::env;

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::cluster::prerequisites::{Consent, ensure_browser};
use crate::cluster::{Cluster, TEST_NAME};
use crate::control_plane::binary::BINARY;
use crate::progress::Steps;
use crate::{image, operator};

/// Brings up the cluster and the operator, runs the tests, and takes the cluster down again, whatever the tests say.
///
/// # Errors
/// When the cluster can't be had, or a test fails.
pub async fn run() -> Result<()> {
    let steps = Steps::new();
    ensure_browser(Consent::Ask, &steps).await?;
    let cluster = Cluster::ensure(TEST_NAME, &steps).await?;
    let tested = tested(&cluster, &steps).await;
    cluster.down(&steps).await?;
    tested
}

async fn tested(cluster: &Cluster, steps: &Steps) -> Result<()> {
    let images = image::build_images(cluster, steps).await?;
    operator::install(cluster, &images, steps).await?;
    steps.title("The end-to-end tests");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(operator::checkout())
        .args(["test", "--package", "ferrygate-e2e", "--locked", "--no-fail-fast"])
        // An error's words come before its backtrace, and would be lost above it.
        .env("RUST_LIB_BACKTRACE", "0")
        .env(BINARY, &images.program)
        .status()
        .await?;
    if !status.success() {
        bail!("the end-to-end tests failed: {status}");
    }
    Ok(())
}
