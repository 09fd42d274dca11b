//! Ferrygate's controller as a process of this machine.

use std::{ffi::OsStr, net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::{ControlPlane, binary::ferrygate, program::Program};

/// How long a debug build may take to start on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A controller that runs.
pub struct Controller {
    program: Program,
    metrics: SocketAddr,
}

impl Controller {
    /// Starts a controller with the rights of `kubeconfig` and waits until it serves its metrics. `name` is its log's, and its own
    /// among candidates for the Lease.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(plane: &ControlPlane, name: &str, kubeconfig: &Path, more: &[&str]) -> Result<Self> {
        let binary = ferrygate().await?;
        let metrics = plane.free_address();
        let address = metrics.to_string();
        let words = [
            "controller",
            "--worker-image=localhost/none:1",
            "--metrics-address",
            &address,
            "--identity",
            name,
        ];
        let environment = [("KUBECONFIG", kubeconfig.as_os_str()), ("RUST_LOG", OsStr::new("info"))];
        let program = Program::start(name, &binary, words.iter().chain(more), &environment, plane.folder())?;
        let mut controller = Self { program, metrics };
        let serves = async || Ok(scrape(metrics).await.is_ok());
        controller.program.ready(PATIENCE, serves).await?;
        Ok(controller)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.program.signal(signal)
    }

    /// Ends it at once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.program.kill()
    }

    /// Whether the process that was started still runs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.program.ended()?.is_none())
    }

    /// All that it has logged.
    ///
    /// # Errors
    /// When its log can't be read.
    pub fn log(&self) -> Result<String> {
        self.program.log()
    }

    /// What it says at `/metrics`.
    ///
    /// # Errors
    /// When it says nothing.
    pub async fn metrics(&self) -> Result<String> {
        scrape(self.metrics).await
    }

    /// Whether it leads, by its own word; one that is gone does not.
    pub async fn leads(&self) -> bool {
        let metrics = self.metrics().await.unwrap_or_default();
        metrics.lines().any(|line| line == "ferrygate_leader 1")
    }
}

async fn scrape(address: SocketAddr) -> Result<String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()?;
    let answer = client.get(format!("http://{address}/metrics")).send().await?;
    Ok(answer.error_for_status()?.text().await?)
}
