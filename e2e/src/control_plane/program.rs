//! A program of the control plane: started, frozen, killed, and never outliving the test that started it.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::cluster::{command::tail, until::until};

/// A process of this machine.
pub struct Program {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Program {
    /// Starts a program whose output goes to `NAME.log` in `logs`, after what is there already.
    ///
    /// It ends when the thread that started it does, even where that is killed. So it must not be started from a thread that
    /// ends sooner than it is needed.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &OsStr)],
        logs: &Path,
    ) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(environment.iter().copied())
            .current_dir(logs)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("could not start {name}: is util-linux installed?"))?;
        Ok(Self {
            name: name.into(),
            log,
            child,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal: `SIGSTOP` freezes it, `SIGCONT` lets it go on.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).with_context(|| format!("{} has ended", self.name))
    }

    /// Ends it at once, and waits until it is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// How it ended; nothing while it runs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `patience`.
    pub async fn end(&mut self, patience: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        until(patience, &what, async || self.ended()).await
    }

    /// All that it has said.
    ///
    /// # Errors
    /// When its log can't be read.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    /// Looks until it is ready, for as long as it runs.
    ///
    /// # Errors
    /// When it ends, or is not ready after `patience`: with the end of its log.
    pub async fn ready(&mut self, patience: Duration, mut look: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        loop {
            if look().await.unwrap_or(false) {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                bail!("{} ended ({status}):\n{}", self.name, tail(&self.log()?, 20));
            }
            if started.elapsed() > patience {
                bail!("{} is not ready:\n{}", self.name, tail(&self.log()?, 20));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Program {
    /// The end of the log is shown by the test runner where the test has failed.
    fn drop(&mut self) {
        let _ = self.kill();
        let said = self.log().unwrap_or_default();
        eprintln!("--- {} ends with:\n{}", self.name, tail(&said, 25));
    }
}
