//! Where the cluster keeps its files, on this machine and inside its node.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Inside a node: what the node is made of. On this machine it is `var/lib/ferrygate` in the cluster's folder.
pub const NODE_HOME: &str = "/var/lib/ferrygate";

/// The folder for what can be made again: programs that were built, and the clusters' own folders.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("ferrygate"))
        .context("neither HOME nor XDG_CACHE_HOME is set: set one, so that the cluster has a folder to live in")
}

/// The files of one cluster. All are gone when it is taken down.
#[derive(Clone, Debug)]
pub struct ClusterFolder(PathBuf);

impl ClusterFolder {
    /// The folder of the cluster `name`, whether it is there or not.
    ///
    /// # Errors
    /// When there is no cache folder.
    pub fn of(name: &str) -> Result<Self> {
        Ok(Self(cache()?.join("clusters").join(name)))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The cluster's name for what it makes outside of its folder: no two clusters have the same, even if they are called
    /// alike and live under two users' caches.
    pub fn tag(&self) -> String {
        let hash = Sha256::digest(self.0.as_os_str().as_encoded_bytes());
        hash[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a person's `kubectl` needs to know.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Which process is the node's first, and what it was started from.
    pub fn node_record(&self) -> PathBuf {
        self.0.join("node.json")
    }

    /// What the node sees as `/var`.
    pub fn var(&self) -> PathBuf {
        self.0.join("var")
    }

    /// What the node sees as [`NODE_HOME`].
    pub fn node_home(&self) -> PathBuf {
        self.0.join("var/lib/ferrygate")
    }

    /// A log file for each of the node's programs.
    pub fn logs(&self) -> PathBuf {
        self.0.join("var/log")
    }

    /// Who asked the API server for what: an audit event a line.
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }
}
