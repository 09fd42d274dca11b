//! The node's first process: it lays out the node's file system, starts its programs, and starts again what ends.
//!
//! It is process 1 of a process namespace. When it is killed, the kernel kills everything else in the node with it,
//! containers included, and the mounts and the network go with the last of them. So no way of ending leaves anything
//! behind.

use std::{
    collections::HashMap,
    env, fs,
    io::{Write, stdin, stdout},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        wait::wait,
    },
    unistd::{getpid, sethostname},
};

use super::{
    components::{Component, Definition},
    paths::{ClusterFolder, NODE_HOME},
};

/// The file in [`NODE_HOME`] that says what to run.
pub const DEFINITION: &str = "definition.json";

/// A program that ends sooner than this after its start is not started again at once.
const TOO_SOON: Duration = Duration::from_secs(1);

/// Is the first process of the cluster `name`'s node.
///
/// It says its process id on standard output, then starts the first half of the programs when a line comes in, and the
/// second half at the next. If the one who talks goes away before that, it ends.
///
/// # Errors
/// When the node can't be laid out, or is given up.
pub fn run(name: &str) -> Result<()> {
    if getpid().as_raw() != 1 {
        bail!("this is what `cluster up` runs inside of a node, and of no use outside");
    }
    let folder = ClusterFolder::of(name)?;
    let definition: Definition = serde_json::from_slice(&fs::read(folder.node_home().join(DEFINITION))?)?;
    // The machine's /proc is still in place, and there this process has the number by which the machine knows it.
    let seen_from_outside = fs::read_link("/proc/self").context("no /proc")?;
    sethostname(&definition.host_name)?;
    // Pods need many open files; what the machine allows at most is what they get.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    lay_out(&folder)?;
    writeln!(stdout(), "{}", seen_from_outside.display())?;

    let mut running = HashMap::new();
    for phase in [&definition.first, &definition.then] {
        if stdin().read_line(&mut String::new())? == 0 {
            bail!("given up from outside");
        }
        for component in phase {
            start(component, &mut running)?;
        }
    }
    loop {
        match wait() {
            Ok(ended) => {
                let Some((component, since)) = ended.pid().and_then(|pid| running.remove(&pid.as_raw())) else {
                    continue; // An orphan of some container.
                };
                eprintln!("{} ended: {ended:?}", component.name);
                sleep(TOO_SOON.saturating_sub(Instant::now().saturating_duration_since(since)));
                start(component, &mut running)?;
            }
            Err(Errno::EINTR) => {}
            Err(error) => bail!("nothing left to wait for: {error}"),
        }
    }
}

/// Gives the node its own `/var`, `/run` and `/proc`.
fn lay_out(folder: &ClusterFolder) -> Result<()> {
    let none = None::<&str>;
    let var = folder.var();
    mount(Some(&var), "/var", none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .context("could not mount the node's /var")?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .context("could not mount the node's /run")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none).context("could not mount the node's /proc")?;
    // What the kubelet mounts must be seen by the containers that containerd starts.
    mount(none, "/", none, MsFlags::MS_SHARED | MsFlags::MS_REC, none).context("could not share the node's mounts")?;
    Ok(())
}

fn start<'a>(component: &'a Component, running: &mut HashMap<i32, (&'a Component, Instant)>) -> Result<()> {
    let log = Path::new("/var/log").join(format!("{}.log", component.name));
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| log.display().to_string())?;
    let path = env::var("PATH").unwrap_or_default();
    let child = Command::new(&component.program)
        .args(&component.arguments)
        .env_clear()
        .env(
            "PATH",
            format!("{NODE_HOME}/bin:/usr/local/sbin:/usr/sbin:/sbin:{path}"),
        )
        .env("HOME", "/root")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("could not start {}", component.program))?;
    running.insert(child.id().cast_signed(), (component, Instant::now()));
    Ok(())
}
