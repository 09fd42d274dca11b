//! Ferrygate's own program, for what runs on this machine rather than in a pod.

use std::{env, path::PathBuf};

use anyhow::{Context, Result};
use tokio::{process::Command, sync::OnceCell};

use crate::{cluster::command::run, operator::checkout};

/// The variable of the environment that names a program that is built already. The suite names the one that is in the image.
pub const BINARY: &str = "FERRYGATE_BINARY";

/// The program: the one that the environment names, or one that is built from the source as it is, without optimisation.
///
/// # Errors
/// When it does not compile.
pub async fn ferrygate() -> Result<PathBuf> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    if let Some(named) = env::var_os(BINARY) {
        return Ok(named.into());
    }
    BUILT.get_or_try_init(build).await.cloned()
}

async fn build() -> Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(checkout()).args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "ferrygate",
        "--bin",
        "ferrygate",
    ]);
    run(&mut cargo).await.context("ferrygate does not compile")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Ok(checkout().join(target).join("debug/ferrygate"))
}
