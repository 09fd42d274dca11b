//! Simulators of the CRMs and the CDPs, which follow the published protocols.
//!
//! Each is an HTTP server that keeps its data in memory and is arranged and asked through `/_control/…`, from the same
//! process or from beside a cluster. What a simulator refuses, and how, is taken from its vendor's pages, and vendors' own
//! clients are run before it (`tests/clients.rs`).

pub mod faults;
pub mod keys;
pub mod received;
pub mod salesforce;
pub mod segment;
pub mod server;

use std::io;

/// `ferrygate-e2e simulator …`
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Simulator {
    /// A Salesforce org.
    Salesforce(salesforce::Args),
    /// The Segment HTTP Tracking API.
    Segment(segment::Args),
}

/// Serves until the process is told to stop.
pub async fn run(simulator: Simulator) -> io::Result<()> {
    match simulator {
        Simulator::Salesforce(args) => salesforce::run(args).await,
        Simulator::Segment(args) => segment::run(args).await,
    }
}

/// Until SIGTERM or SIGINT.
async fn until_stopped() -> io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
