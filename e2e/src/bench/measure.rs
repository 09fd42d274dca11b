//! One run of the binary, and what it took.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;
use tokio::process::Command;

use super::contacts::manifests;

/// How often the process is asked for its peak memory. What it takes between the last look and its end is not seen.
const LOOK: Duration = Duration::from_millis(10);

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// From start to end.
    pub wall: Duration,
    /// CPU time in the program.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The largest resident set, in bytes.
    pub peak_bytes: u64,
}

/// Runs the binary once, on a state of its own.
pub async fn measure(binary: &Path, crm: &str, sink: &str) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let files = folder.path().join("files");
    std::fs::create_dir(&files)?;
    std::fs::write(files.join("bench.yaml"), manifests(crm, sink))?;
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let started = Instant::now();
    let mut child = Command::new(binary)
        .args(["run", "--output", "json", "--files"])
        .arg(&files)
        .arg("--state")
        .arg(folder.path().join("state"))
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("could not start {}", binary.display()))?;
    let status = format!("/proc/{}/status", child.id().context("the run has ended already")?);
    let mut peak_bytes = 0;
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended?,
            () = tokio::time::sleep(LOOK) => peak_bytes = peak_of(&status).unwrap_or(peak_bytes),
        }
    };
    let wall = started.elapsed();
    if !ended.success() {
        let output = child.wait_with_output().await?;
        bail!("the run failed: {ended}\n{}", String::from_utf8_lossy(&output.stdout));
    }
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let spent = |time: fn(&Usage) -> TimeVal| {
        let micros = |value: TimeVal| value.tv_sec() * 1_000_000 + value.tv_usec();
        Duration::from_micros(u64::try_from(micros(time(&after)) - micros(time(&before))).unwrap_or_default())
    };
    Ok(Figures {
        wall,
        user: spent(Usage::user_time),
        system: spent(Usage::system_time),
        peak_bytes,
    })
}

/// The process's peak resident memory so far.
fn peak_of(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes * 1024)
}
