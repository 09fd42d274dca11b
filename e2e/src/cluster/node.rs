//! The node, seen from this machine: started in namespaces of its own, entered, and ended.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

use super::{
    binaries::Binaries, cgroups, command::tail, components::Definition, init::DEFINITION, network::Network,
    paths::ClusterFolder, until::until,
};

/// What is remembered of a node that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The node's first process.
    pub pid: i32,
    /// When that process started, in the kernel's ticks since this machine did: another process that is given the same
    /// number later has another start.
    started: u64,
    /// Since which start of this machine.
    boot: String,
    /// Where it is to be found.
    pub network: Network,
    /// What it was started from.
    pub digest: String,
}

impl Record {
    /// What was written down when the node was started; nothing if none was, or it can't be read.
    pub fn read(folder: &ClusterFolder) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.node_record()).ok()?).ok()
    }

    /// Whether the node still runs.
    pub fn is_alive(&self) -> bool {
        boot().is_ok_and(|boot| boot == self.boot) && started(self.pid).is_ok_and(|started| started == self.started)
    }

    /// A command that runs inside the node.
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.pid.to_string(),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--",
        ]);
        command
    }

    /// Kills one of the node's programs, which the node's first process then starts again.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_program(&self, name: &str) -> Result<()> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid))?;
        let named = |pid: &&str| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
            program.rsplit(|byte| *byte == b'/').next() == Some(name.as_bytes())
        };
        let pid = children.split_whitespace().find(named);
        let pid = pid.with_context(|| format!("{name} does not run in the node"))?;
        kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL).with_context(|| format!("could not kill {name}"))
    }

    /// Ends the node with everything in it, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(&self) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        kill(Pid::from_raw(self.pid), Signal::SIGKILL).context("could not end the node's first process")?;
        until(Duration::from_secs(30), "the node to end", async || {
            Ok((!self.is_alive()).then_some(()))
        })
        .await
    }
}

/// A node whose first half runs, and whose second waits until the API server is ready.
pub struct HalfStarted {
    process: Child,
    /// How it is remembered.
    pub record: Record,
}

impl HalfStarted {
    /// Starts the second half, and lets the node go on by itself.
    ///
    /// # Errors
    /// When the node has ended.
    pub async fn go_on(mut self) -> Result<Record> {
        go(&mut self.process).await?;
        Ok(self.record)
    }
}

/// Starts the first half of a node: etcd, containerd, the API server.
///
/// Until [`HalfStarted::go_on`] the node ends when this process does.
///
/// # Errors
/// When this machine won't have a node, in words from whoever refused.
pub async fn start(
    name: &str,
    folder: &ClusterFolder,
    definition: &Definition,
    network: &Network,
    binaries: &Binaries,
) -> Result<HalfStarted> {
    furnish(folder, definition, binaries)?;
    let log = fs::File::create(folder.logs().join("node.log"))?;
    let mut process = Command::new("setsid")
        .args([
            "unshare",
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--",
        ])
        .arg(folder.node_home().join("bin/ferrygate-e2e"))
        .args(["cluster", "node", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir("/")
        .spawn()
        .context("could not start the node: is util-linux installed?")?;
    let mut pid = String::new();
    let stdout = process.stdout.take().context("the node has no voice")?;
    BufReader::new(stdout).read_line(&mut pid).await?;
    let Ok(pid) = pid.trim().parse::<i32>() else {
        let said = fs::read_to_string(folder.logs().join("node.log")).unwrap_or_default();
        bail!("this machine did not let a node start:\n{}", tail(&said, 10))
    };
    let record = Record {
        pid,
        started: started(pid)?,
        boot: boot()?,
        network: network.clone(),
        digest: definition.digest(),
    };
    fs::write(folder.node_record(), serde_json::to_vec_pretty(&record)?)?;
    cgroups::create(&folder.tag(), pid)?;
    network.connect(pid).await?;
    go(&mut process).await?;
    Ok(HalfStarted { process, record })
}

async fn go(process: &mut Child) -> Result<()> {
    let stdin = process.stdin.as_mut().context("the node hears nothing")?;
    stdin.write_all(b"go on\n").await.context("the node has ended")?;
    stdin.flush().await?;
    Ok(())
}

/// Puts programs and files where the node looks for them.
fn furnish(folder: &ClusterFolder, definition: &Definition, binaries: &Binaries) -> Result<()> {
    let home = folder.node_home();
    let bin = home.join("bin");
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(folder.logs())?;
    for empty in [
        "lib/etcd",
        "lib/kubelet",
        "lib/containerd",
        "log/pods",
        "log/containers",
        "tmp",
    ] {
        fs::create_dir_all(folder.var().join(empty))?;
    }
    // etcd insists.
    fs::set_permissions(folder.var().join("lib/etcd"), fs::Permissions::from_mode(0o700))?;
    std::os::unix::fs::symlink("/run", folder.var().join("run"))?;
    for (path, text) in &definition.files {
        let path = home.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&home))?;
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    fs::write(home.join(DEFINITION), serde_json::to_vec_pretty(definition)?)?;
    for entry in fs::read_dir(binaries.folder())? {
        let entry = entry?;
        let target = bin.join(entry.file_name());
        if entry.file_type()?.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if entry.file_type()?.is_file() {
            link(&entry.path(), &target).with_context(|| target.display().to_string())?;
        }
    }
    fs::copy(own_program()?, bin.join("ferrygate-e2e"))?;
    Ok(())
}

fn link(program: &Path, target: &Path) -> io::Result<()> {
    match fs::hard_link(program, target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => fs::copy(program, target).map(|_| ()),
        linked => linked,
    }
}

/// The program `ferrygate-e2e`: this one, or the one that Cargo built beside the test that this is.
fn own_program() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let name = "ferrygate-e2e";
    this.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .with_context(|| {
            format!(
                "there is no {name} beside {}: run `cargo build -p ferrygate-e2e` first",
                this.display()
            )
        })
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().into())
}

/// When a process that has not ended started, in ticks.
fn started(pid: i32) -> Result<u64> {
    Ok(stat(pid)?.get(19).context("not a process")?.parse()?)
}

/// What the kernel tells of a process that has not ended, from its state on.
fn stat(pid: i32) -> Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; after it come the state and the numbers.
    let (_, fields) = stat.rsplit_once(')').context("not a process")?;
    let fields: Vec<String> = fields.split_whitespace().map(String::from).collect();
    if fields.first().is_some_and(|state| state == "Z") {
        bail!("process {pid} has ended");
    }
    Ok(fields)
}
