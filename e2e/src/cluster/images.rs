//! Container images, brought into the local cluster's containerd.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    binaries::Binaries,
    command::{run, tail},
    components::{CONTAINERD_SOCKET, PAUSE_IMAGE},
    local::Local,
    until::until,
};
use crate::{
    image::{Recipe, pack},
    progress::Steps,
};

/// The archive of the pause image, made from the program that was built.
///
/// # Errors
/// When no image can be built here.
pub async fn pause(binaries: &Binaries, steps: &Steps) -> Result<PathBuf> {
    let archive = binaries.path("pause.tar");
    if !archive.exists() {
        let recipe = Recipe {
            containerfile: Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/pause/Containerfile"),
            files: vec![("pause", binaries.path("pause"))],
        };
        steps
            .step("Packing the pause container", pack(&recipe, PAUSE_IMAGE, &archive))
            .await?;
    }
    Ok(archive)
}

/// Brings an image in, unless it is there.
///
/// # Errors
/// When containerd does not take it.
pub async fn import(cluster: &Local, archive: &Path, reference: &str) -> Result<()> {
    let ctr = || {
        let mut command = cluster.node().enter();
        command.args(["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", "images"]);
        command
    };
    let known = until(Duration::from_secs(60), "containerd to answer", async || {
        run(ctr().args(["list", "--quiet"])).await.map(Some)
    });
    if known.await?.lines().any(|known| known == reference) {
        return Ok(());
    }
    // By its standard input: the node sees another /var than this machine, where the archive may be.
    let content = File::open(archive).with_context(|| format!("no image in {}", archive.display()))?;
    let output = ctr()
        .args(["import", "--snapshotter", cluster.snapshotter(), "-"])
        .stdin(content)
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output()
        .await?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("containerd did not take {}:\n{}", archive.display(), tail(&said, 5));
    }
    Ok(())
}
