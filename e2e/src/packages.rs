//! Packages of npm and PyPI that tests need, installed once, into the user's cache folder, by their locks.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::cluster::command::run;

/// `@segment/analytics-node` and `playwright-core` ask for it.
const OLDEST_NODE: u32 = 20;

/// A language's runtime, its scripts, and where the packages that they need are installed.
#[derive(Clone, Debug)]
pub struct Runtime {
    program: &'static str,
    /// The variable that tells the program where libraries are.
    path: &'static str,
    libraries: PathBuf,
    scripts: PathBuf,
}

impl Runtime {
    /// A script, ready to run.
    pub fn script(&self, name: &OsStr) -> Command {
        let mut command = Command::new(self.program);
        command
            .arg(self.scripts.join(name))
            .env(self.path, &self.libraries)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Python with what `requirements.txt` beside the scripts names. None where there is no Python with pip, which is said of `what`.
///
/// # Errors
/// When the packages can't be installed.
pub async fn python(scripts: PathBuf, what: &str) -> Result<Option<Runtime>> {
    let Some(version) = version_of("python3", &["-m", "pip", "--version"]).await else {
        not_run(what, "there is no python3 with pip");
        return Ok(None);
    };
    let requirements = scripts.join("requirements.txt");
    let key = (version, std::fs::read_to_string(&requirements)?);
    let libraries = once("python", key, async |folder: &Path| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
        ]);
        run(pip.arg(folder).arg("--requirement").arg(&requirements)).await
    });
    Ok(Some(Runtime {
        program: "python3",
        path: "PYTHONPATH",
        libraries: libraries.await?,
        scripts,
    }))
}

/// Node.js with what `package-lock.json` beside the scripts names. None where there is no Node.js, or too old a one, which is said
/// of `what`.
///
/// # Errors
/// When the packages can't be installed.
pub async fn node(scripts: PathBuf, what: &str) -> Result<Option<Runtime>> {
    let version = version_of("node", &["--version"]).await.unwrap_or_default();
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_NODE) || version_of("npm", &["--version"]).await.is_none() {
        not_run(what, &format!("that needs node {OLDEST_NODE} or newer, and npm"));
        return Ok(None);
    }
    let files = ["package.json", "package-lock.json"];
    let contents = files.map(|file| std::fs::read(scripts.join(file)).unwrap_or_default());
    let installed = once("node", (major, contents), async |folder: &Path| {
        for file in files {
            std::fs::copy(scripts.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder);
        run(&mut npm).await
    });
    Ok(Some(Runtime {
        program: "node",
        path: "NODE_PATH",
        libraries: installed.await?.join("node_modules"),
        scripts,
    }))
}

/// The first line that the program prints, if it is there and succeeds.
async fn version_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().await.ok()?;
    let line = String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    output.status.success().then_some(line)
}

/// Says so past the capture of test output: a test that did not run must not look as if it had.
pub fn not_run(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {what}: {why}.");
}

/// The folder for this key, filled once: made under another name, and moved to its own when it is whole.
async fn once(
    language: &str,
    key: impl std::hash::Hash,
    fill: impl AsyncFnOnce(&Path) -> Result<String>,
) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let cache = cache()?.join("ferrygate/clients");
    let folder = cache.join(format!("{language}-{:016x}", hasher.finish()));
    if folder.is_dir() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&cache)?;
    let partial = tempfile::Builder::new().prefix(".installing-").tempdir_in(&cache)?;
    fill(partial.path()).await?;
    match std::fs::rename(partial.path(), &folder) {
        Ok(()) => {
            let _ = partial.keep();
        }
        // Another test process was faster; its folder is as good.
        Err(error) => anyhow::ensure!(folder.is_dir(), error),
    }
    Ok(folder)
}

fn cache() -> Result<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let home = || set("HOME").map(|home| home.join(".cache"));
    set("XDG_CACHE_HOME").or_else(home).context("HOME is not set")
}
