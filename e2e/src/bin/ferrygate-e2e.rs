//! The command line of what Ferrygate is tested with.

use anyhow::Result;
use clap::{Parser, Subcommand};
use ferrygate_e2e::cluster::{cli::ClusterCommand, pod::Pod};
use ferrygate_e2e::simulators::{self, Simulator};
use tokio::runtime::Runtime;

#[derive(Parser)]
#[command(about = "What Ferrygate is tested with", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A Kubernetes cluster on this machine.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// A simulator of a CRM or a CDP.
    #[command(subcommand)]
    Simulator(Simulator),
    /// What a pod of a cluster test does.
    #[command(subcommand, hide = true)]
    Pod(Pod),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Cluster(command) => command.run(),
        Command::Simulator(simulator) => Ok(Runtime::new()?.block_on(simulators::run(simulator))?),
        Command::Pod(pod) => Runtime::new()?.block_on(pod.run()),
    }
}
