//! The helpers of the end-to-end tests, as one command.

use clap::Parser;
use ferrygate_e2e::simulators::{self, Simulator};

#[derive(Parser)]
#[command(about = "The helpers of Ferrygate's end-to-end tests")]
enum Command {
    /// A simulator of a CRM or a CDP.
    #[command(subcommand)]
    Simulator(Simulator),
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let Command::Simulator(simulator) = Command::parse();
    simulators::run(simulator).await
}
