//! The `ferrygate` binary: the command line, and nothing else.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use ferrygate::cli::{
    Cli, Command, LogFormat, audit, catalog, dead_letters, describe, diff, explain, plan, run, run_now, test, validate,
    worker,
};
use ferrygate::controller;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_format);
    let shutdown = on_signals();
    let code = match cli.command {
        Command::Controller(options) => controller::run(options, shutdown).await,
        Command::Worker(worker) => worker::run(worker, shutdown).await,
        Command::Run(args) => run::run(args, shutdown).await,
        Command::Explain(args) => explain::run(args, &shutdown).await,
        Command::Audit(args) => audit::run(&args),
        Command::DeadLetters(asked) => dead_letters::run(asked, &shutdown).await,
        Command::RunNow(args) => run_now::run(args).await,
        Command::Catalog(args) => catalog::run(&args).await,
        Command::Describe(args) => describe::run(&args).await,
        Command::Validate(args) => validate::run(&args, Timestamp::now()),
        Command::Diff(args) => diff::run(&args, Timestamp::now()),
        Command::Plan(args) => plan::run(&args, Timestamp::now()).await,
        Command::Test(args) => test::run(&args),
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

/// What is logged where `RUST_LOG` says nothing. What kube's own watcher warns of, the controller tells with the kind.
const LOGGED: &str = "info,kube_runtime=error";

fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// A token that is cancelled by SIGTERM, which the kubelet sends, or SIGINT.
fn on_signals() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else {
            return;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        cancelled.cancel();
    });
    token
}
