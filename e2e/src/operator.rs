//! Ferrygate itself, installed into a cluster as a user would: the CRDs, then the chart.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cluster::Cluster;
use crate::cluster::command::run;
use crate::image::BuiltImages;
use crate::progress::Steps;

/// The namespace of the controller.
pub const NAMESPACE: &str = "ferrygate-system";

/// The folder of the checkout that this program was built from.
pub fn checkout() -> PathBuf {
    let e2e = Path::new(env!("CARGO_MANIFEST_DIR"));
    e2e.parent().unwrap_or(e2e).to_owned()
}

/// Installs the operator, or brings the one that is there to these images, and waits until it is ready.
///
/// # Errors
/// With what kubectl or Helm said.
pub async fn install(cluster: &Cluster, images: &BuiltImages, steps: &Steps) -> Result<()> {
    let root = checkout();
    steps
        .step("Installing the custom resource definitions", async {
            let crds = root.join("crds");
            run(cluster
                .kubectl()
                .await?
                .args(["apply", "--server-side", "--force-conflicts", "-f"])
                .arg(&crds))
            .await?;
            run(cluster
                .kubectl()
                .await?
                .args(["wait", "--for=condition=Established", "--timeout=60s", "-f"])
                .arg(&crds))
            .await
        })
        .await?;
    let image = &images.ferrygate;
    steps
        .step("Installing the chart, two replicas of the controller", async {
            let mut helm = cluster.helm().await?;
            helm.args(["upgrade", "--install", "ferrygate"])
                .arg(root.join("charts/ferrygate"));
            helm.args([
                "--namespace",
                NAMESPACE,
                "--create-namespace",
                "--skip-crds",
                "--wait",
                "--timeout",
                "3m",
            ]);
            helm.arg("--set-string").arg(format!(
                "image.repository={},image.tag={}",
                image.repository(),
                image.tag()
            ));
            helm.args(["--set-string", "image.pullPolicy=Never"]);
            run(&mut helm).await
        })
        .await?;
    Ok(())
}
