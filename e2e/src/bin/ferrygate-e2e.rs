//! The command line of what Ferrygate is tested with.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use ferrygate_e2e::cluster::{cli::ClusterCommand, pod::Pod};

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
    /// What a pod of a cluster test does.
    #[command(subcommand, hide = true)]
    Pod(Pod),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // The chain of causes in words: for the one who reads it, no backtrace adds to that.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Cluster(command) => command.run(),
        Command::Pod(pod) => tokio::runtime::Runtime::new()?.block_on(pod.run()),
    }
}
