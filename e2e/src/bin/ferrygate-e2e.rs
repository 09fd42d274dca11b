//! The command line of what Ferrygate is tested with.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use ferrygate_e2e::bench::{BenchArgs, operator::BenchOperatorArgs};
use ferrygate_e2e::cluster::{cli::ClusterCommand, pod::Pod};
use ferrygate_e2e::demo::DemoCommand;
use ferrygate_e2e::simulators::{self, Simulator};
use ferrygate_e2e::suite;
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
    /// The main job, for a person to watch.
    #[command(subcommand)]
    Demo(DemoCommand),
    /// Measures the binary.
    Bench(BenchArgs),
    /// Measures the controller over thousands of pipelines, on a cluster that is made for it.
    BenchOperator(BenchOperatorArgs),
    /// Runs the end-to-end tests on a cluster that is made for them.
    Test,
    /// A simulator of a CRM or a CDP.
    #[command(subcommand)]
    Simulator(Simulator),
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
        Command::Demo(command) => Runtime::new()?.block_on(command.run()),
        Command::Bench(bench) => Runtime::new()?.block_on(bench.run()),
        Command::BenchOperator(bench) => Runtime::new()?.block_on(bench.run()),
        Command::Test => Runtime::new()?.block_on(suite::run()),
        Command::Simulator(simulator) => Ok(Runtime::new()?.block_on(simulators::run(simulator))?),
        Command::Pod(pod) => Runtime::new()?.block_on(pod.run()),
    }
}
