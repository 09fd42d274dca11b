//! The command line: a file per subcommand.

pub mod audit;
pub mod catalog;
pub mod dead_letters;
pub mod describe;
pub mod described;
pub mod diff;
pub mod explain;
pub mod files;
pub mod in_cluster;
mod lost_nulls;
pub mod plan;
pub mod run;
pub mod run_now;
mod schema;
mod sealed;
pub mod test;
pub mod validate;
pub mod worker;

use clap::{Parser, Subcommand, ValueEnum};

use crate::controller;

/// Keeps customer data platforms true to the CRM.
#[derive(Debug, Parser)]
#[command(name = "ferrygate", version)]
pub struct Cli {
    /// How the log is written, to standard error. Its level is set by `RUST_LOG`.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For a person.
    Text,
    /// An object a line, for a log store.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconciles the four kinds: the operator's Deployment.
    Controller(controller::Options),
    /// Syncs or probes: the container of a Job.
    #[command(subcommand)]
    Worker(worker::Worker),
    /// Syncs with manifests and Secrets from a folder, and no cluster.
    Run(run::RunArgs),
    /// Tells why a profile has an id or a trait: each identity key, the rule that chose or refused it, and the run.
    Explain(explain::ExplainArgs),
    /// Reads the audit trail: what stood of a person's consent whenever something of theirs was sent.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Shows what could not be delivered, has it tried again, or forgets it.
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// Asks for a run of a pipeline's streams, beside their schedules.
    RunNow(run_now::RunNowArgs),
    /// Writes the contracts of a folder for people: a site, Markdown, JSON Schema, Open Data Contracts.
    Catalog(catalog::CatalogArgs),
    /// Prints the CRM's objects as the integration user sees them, for `validate --schema`.
    Describe(describe::DescribeArgs),
    /// Tells everything that is wrong with a folder of manifests.
    Validate(validate::ValidateArgs),
    /// Tells what changed between two versions of a mapping, and for whom.
    Diff(diff::DiffArgs),
    /// Tells what applying a folder of manifests would do to a cluster, and writes nothing.
    Plan(plan::PlanArgs),
    /// Holds mappings against the examples that are kept beside them.
    Test(test::TestArgs),
}
