//! Other people's programs, run so that a failure says what was run and what it answered.

use std::{ffi::OsStr, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// When it can't be started, or ends with a failure; the error holds the command and the end of what it said.
pub async fn run(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("could not start `{shown}`"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = if said.trim().is_empty() {
        printed.as_str().into()
    } else {
        said
    };
    bail!("`{shown}` failed ({}):\n{}", output.status, tail(&said, 20))
}

/// [`run`], with the program's words at hand: `sh(["ip", "link", "show"])`.
///
/// # Errors
/// As [`run`].
pub async fn sh<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Result<String> {
    let mut words = words.into_iter();
    let program = words.next().context("a command without a word")?;
    run(Command::new(program).args(words)).await
}

/// Where a program is, looked for as a shell would, and where root's programs are kept.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/go/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn show(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_says_what_was_run_and_what_it_answered() {
        let error = sh(["sh", "-c", "echo of no use >&2; exit 3"])
            .await
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`sh -c echo of no use >&2; exit 3` failed (exit status: 3):\nof no use"
        );
    }

    #[test]
    fn a_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
