//! Lines that tell a person what is being done and how long it took.

use std::{
    future::Future,
    io::{IsTerminal, Write, stderr},
    time::{Duration, Instant},
};

use anyhow::Result;

/// How often a step that goes on tells so where nobody sees a clock tick.
const STILL_AT_IT: Duration = Duration::from_secs(30);

/// Tells the steps of a longer work, one line each, on standard error.
///
/// In a terminal a step's clock ticks while it runs; in a log there is one line when it is done, and one now and then
/// while it isn't.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    voice: Voice,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Voice {
    Silent,
    Log,
    Terminal,
}

impl Steps {
    /// Steps told to whoever is there: a terminal, or a log.
    pub fn new() -> Self {
        Self {
            voice: if stderr().is_terminal() {
                Voice::Terminal
            } else {
                Voice::Log
            },
        }
    }

    /// Steps told to nobody, except in an error.
    pub fn silent() -> Self {
        Self { voice: Voice::Silent }
    }

    /// A line above the steps that follow.
    pub fn title(&self, title: &str) {
        match self.voice {
            Voice::Silent => {}
            Voice::Log => eprintln!("{title}"),
            Voice::Terminal => eprintln!("\x1b[1m{title}\x1b[0m"),
        }
    }

    /// A line that belongs to the step before.
    pub fn note(&self, note: &str) {
        match self.voice {
            Voice::Silent => {}
            Voice::Log => eprintln!("    {note}"),
            Voice::Terminal => eprintln!("    \x1b[2m{note}\x1b[0m"),
        }
    }

    /// Does `work` and tells how long it took, or that it failed.
    pub async fn step<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let started = Instant::now();
        let mut work = std::pin::pin!(work);
        let every = if self.voice == Voice::Terminal {
            Duration::from_millis(200)
        } else {
            STILL_AT_IT
        };
        let mut ticks = tokio::time::interval(every);
        if self.voice != Voice::Terminal {
            ticks.tick().await;
        }
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = ticks.tick() => self.going_on(what, started.elapsed()),
            }
        };
        self.finished(what, started.elapsed(), outcome.is_ok());
        outcome
    }

    fn going_on(&self, what: &str, elapsed: Duration) {
        match self.voice {
            Voice::Silent => {}
            Voice::Log => eprintln!("  … {what}, {} so far", seconds(elapsed)),
            Voice::Terminal => {
                eprint!("\r\x1b[K  \x1b[33m…\x1b[0m {what} \x1b[2m{}\x1b[0m", seconds(elapsed));
                let _ = stderr().flush();
            }
        }
    }

    fn finished(&self, what: &str, elapsed: Duration, well: bool) {
        let elapsed = seconds(elapsed);
        match (self.voice, well) {
            (Voice::Silent, _) => {}
            (Voice::Log, true) => eprintln!("  ✓ {what} ({elapsed})"),
            (Voice::Log, false) => eprintln!("  ✗ {what} ({elapsed})"),
            (Voice::Terminal, true) => eprintln!("\r\x1b[K  \x1b[32m✓\x1b[0m {what} \x1b[2m{elapsed}\x1b[0m"),
            (Voice::Terminal, false) => eprintln!("\r\x1b[K  \x1b[31m✗\x1b[0m {what} \x1b[2m{elapsed}\x1b[0m"),
        }
    }
}

impl Default for Steps {
    fn default() -> Self {
        Self::new()
    }
}

/// A duration as a person would say it: `0.4 s`, `12 s`, `3 min 05 s`.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 10 {
        format!("{:.1} s", duration.as_secs_f64())
    } else if whole < 60 {
        format!("{whole} s")
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_a_person_says_them() {
        for (millis, said) in [
            (40, "0.0 s"),
            (9_940, "9.9 s"),
            (10_000, "10 s"),
            (185_900, "3 min 05 s"),
        ] {
            assert_eq!(seconds(Duration::from_millis(millis)), said);
        }
    }

    #[tokio::test]
    async fn a_step_hands_on_what_its_work_gave() {
        assert_eq!(Steps::silent().step("one", async { Ok(1) }).await.unwrap(), 1);
        assert!(
            Steps::silent()
                .step("none", async { anyhow::bail!("no") as Result<()> })
                .await
                .is_err()
        );
    }
}
