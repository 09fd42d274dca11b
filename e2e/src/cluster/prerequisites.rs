//! What this machine must have before a cluster can run on it, and how it gets it.

use std::{
    io::{BufRead, IsTerminal, Write, stderr, stdin},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use tokio::process::Command;

use super::command::{find, run, sh};
use crate::progress::Steps;

/// A program that the cluster calls, and the Debian package that has it. A program that is there is used, wherever it
/// comes from: a machine that has Docker has a `containerd` already, which the package would replace.
const PROGRAMS: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
];

const CNI_PACKAGE: &str = "containernetworking-plugins";
const CNI_FOLDERS: [&str; 4] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni", "/usr/local/lib/cni"];
const CNI_PLUGINS: [&str; 3] = ["ptp", "host-local", "loopback"];

/// Whether a person is asked before something is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Asked, when somebody is there to answer.
    Ask,
    /// Given already, as by `--yes`.
    Given,
}

/// Why a local cluster can't be had on this machine, in words that say what to do; nothing when it can.
pub fn obstacle() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some(
            "a local cluster runs on Linux only: install Docker and kind and set CLUSTER=kind, or set CLUSTER=current \
             to use the cluster of your kubeconfig"
                .into(),
        );
    }
    if !nix::unistd::geteuid().is_root() {
        return Some(
            "a local cluster needs root, for network namespaces and containers: run the same command as root (`sudo -E \
             env PATH=\"$PATH\" …`), or install Docker and kind and set CLUSTER=kind"
                .into(),
        );
    }
    None
}

/// Where the CNI plugins are.
///
/// # Errors
/// When they are nowhere, which [`ensure`] would have said.
pub fn cni_folder() -> Result<PathBuf> {
    let Some(folder) = CNI_FOLDERS.iter().find(|folder| has_plugins(Path::new(folder))) else {
        bail!(
            "the CNI plugins ({}) are in none of {}",
            CNI_PLUGINS.join(", "),
            CNI_FOLDERS.join(", ")
        )
    };
    Ok(folder.into())
}

fn has_plugins(folder: &Path) -> bool {
    CNI_PLUGINS.iter().all(|plugin| folder.join(plugin).is_file())
}

/// Sees to it that everything the cluster calls is installed.
///
/// # Errors
/// When something is missing and can't or may not be installed; the error says what, and how to get it.
pub async fn ensure(consent: Consent, steps: &Steps) -> Result<()> {
    if let Some(obstacle) = obstacle() {
        bail!("{obstacle}");
    }
    if find("go").is_none() {
        bail!(
            "Go is not installed, and the cluster's programs are built with it: install Go 1.26 or later so that `go` is \
             on the PATH"
        );
    }
    let mut missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if cni_folder().is_err() {
        missing.push(CNI_PACKAGE);
    }
    install(&missing, "run a cluster", consent, steps).await
}

/// What can build an image here: buildah, Podman, or Docker if its daemon answers too.
pub async fn image_builder() -> Option<&'static str> {
    for builder in ["buildah", "podman", "docker"] {
        if find(builder).is_some() && (builder != "docker" || sh(["docker", "info"]).await.is_ok()) {
            return Some(builder);
        }
    }
    None
}

/// Sees to it that something can build an image: what is there, or else Debian's buildah.
///
/// # Errors
/// As [`ensure`].
pub async fn ensure_image_builder(consent: Consent, steps: &Steps) -> Result<()> {
    if image_builder().await.is_some() {
        return Ok(());
    }
    install(&["buildah"], "build images", consent, steps).await
}

/// A Chromium that is there already.
pub fn browser() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find_map(find)
}

/// Sees to it that there is a browser: what is there, or else Debian's Chromium. Elsewhere than on Debian its test says that it
/// did not run.
///
/// # Errors
/// When Chromium can't or may not be installed.
pub async fn ensure_browser(consent: Consent, steps: &Steps) -> Result<()> {
    if browser().is_some() || find("apt-get").is_none() {
        return Ok(());
    }
    install(&["chromium"], "look at the catalog in a browser", consent, steps).await
}

async fn install(packages: &[&str], purpose: &str, consent: Consent, steps: &Steps) -> Result<()> {
    let mut packages = packages.to_vec();
    packages.sort_unstable();
    packages.dedup();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if find("apt-get").is_none() {
        bail!("to {purpose}, this machine lacks what Debian calls {list}: install these with its own package manager");
    }
    steps.title(&format!("To {purpose}, these packages will be installed: {list}"));
    if consent == Consent::Ask && stdin().is_terminal() && std::env::var_os("CI").is_none() && !agreed()? {
        bail!("nothing was installed. To do it yourself: apt-get install {list}");
    }
    steps
        .step(&format!("Installing {list}"), async {
            sh(["apt-get", "update", "-qq"]).await?;
            run(Command::new("apt-get")
                .args(["install", "-y", "-qq", "--no-install-recommends"])
                .args(&packages)
                .env("DEBIAN_FRONTEND", "noninteractive"))
            .await
        })
        .await?;
    Ok(())
}

fn agreed() -> Result<bool> {
    eprint!("Install them? [Y/n] ");
    stderr().flush()?;
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}
