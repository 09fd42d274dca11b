//! The node's control groups: one of its own in each hierarchy, so that two nodes on a machine don't share their pods'.
//!
//! Version 1 (one hierarchy a controller, at `/sys/fs/cgroup/<controller>`) and version 2 (one hierarchy, at
//! `/sys/fs/cgroup`) are both met.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// The kubelet's `cgroupRoot` for the cluster with a tag.
pub fn root_of(tag: &str) -> String {
    format!("/ferrygate-node-{tag}")
}

/// Makes the node's group in each hierarchy, and moves the process `pid` into a part of it: whoever started the node may
/// have limits of their own, and may end before the node does.
///
/// # Errors
/// When the hierarchies are not to be written to, as in a container without privileges.
pub fn create(tag: &str, pid: i32) -> Result<()> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(&root_of(tag)[1..]);
        let programs = group.join("programs");
        fs::create_dir_all(&programs).with_context(|| {
            format!(
                "could not make the control group {}: is {ROOT} mounted read-only?",
                group.display()
            )
        })?;
        if is_version_1() {
            hand_down_cpus(&hierarchy, &group)?;
            hand_down_cpus(&group, &programs)?;
        } else {
            hand_down_controllers(&hierarchy)?;
            hand_down_controllers(&group)?;
        }
        fs::write(programs.join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("could not move the node into {}", programs.display()))?;
    }
    Ok(())
}

/// Removes the node's groups, once nothing runs in them.
///
/// # Errors
/// When something still runs in one of them.
pub fn remove(tag: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(&root_of(tag)[1..]);
        remove_tree(&group).with_context(|| format!("could not remove the control group {}", group.display()))?;
    }
    Ok(())
}

/// Whether the cluster has groups here.
pub fn exist(tag: &str) -> bool {
    hierarchies()
        .iter()
        .any(|hierarchy| hierarchy.join(&root_of(tag)[1..]).exists())
}

/// Whether this machine has version 1, of which the kubelet wants to be told that it is meant.
pub fn is_version_1() -> bool {
    !Path::new(ROOT).join("cgroup.controllers").exists()
}

fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if !is_version_1() {
        return vec![root];
    }
    let Ok(entries) = fs::read_dir(root) else { return vec![] };
    entries
        .flatten()
        // `cpu` may be a link to `cpu,cpuacct`.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|hierarchy| hierarchy.join("cgroup.procs").exists())
        .collect()
}

/// Lets a version 2 group's children use each controller that it has itself.
fn hand_down_controllers(group: &Path) -> Result<()> {
    let available = fs::read_to_string(group.join("cgroup.controllers"))?;
    for controller in available.split_whitespace() {
        // One that can't be handed down (as `cpu` with real-time tasks about) is one the kubelet does without.
        let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    }
    Ok(())
}

/// Version 1 starts a cpuset empty, and nothing runs in an empty one.
fn hand_down_cpus(from: &Path, to: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if from.join(file).exists() {
            fs::write(to.join(file), fs::read(from.join(file))?)?;
        }
    }
    Ok(())
}

fn remove_tree(group: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
