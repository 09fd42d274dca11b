//! What is measured, a file each.

pub mod herd;
pub mod idle;
pub mod leadership;
pub mod one_run;
pub mod relist;
pub mod spec_change;
pub mod start;

use std::time::Duration;

use kube::Client;

use super::audit::AuditLog;
use super::controller::Launch;
use super::fixture::Fixture;
use super::kwok::Simulation;
use crate::cluster::Cluster;
use crate::progress::Steps;

/// How long a controller may take over anything before the measurement is broken.
pub const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Where it is measured.
pub struct Bench {
    /// The cluster.
    pub cluster: Cluster,
    /// The administrator's client.
    pub client: Client,
    /// What the API server was asked for.
    pub audit: AuditLog,
    /// How controllers are started.
    pub launch: Launch,
    /// The simulated nodes.
    pub nodes: Simulation,
    /// The pipelines.
    pub fixture: Fixture,
    /// Tells what is being done.
    pub steps: Steps,
}
