//! `ferrygate controller` as a process of this machine, under the identity that the chart gives it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::{AuthInfo, Kubeconfig};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::cluster::Cluster;
use crate::cluster::command::tail;
use crate::operator::NAMESPACE;

/// The controller's ServiceAccount, as the chart names it.
pub const SERVICE_ACCOUNT: &str = "ferrygate-controller";
/// The controller's user name: what it writes is known by it.
pub const USER: &str = "system:serviceaccount:ferrygate-system:ferrygate-controller";

/// How long its token holds.
const DAY: i64 = 24 * 60 * 60;
/// The kernel counts CPU time in hundredths of a second, whatever its own clock: `USER_HZ` of
/// <https://man7.org/linux/man-pages/man7/time.7.html>.
const TICK: Duration = Duration::from_millis(10);
/// A process that used less than a fiftieth of a core for so long has nothing to do.
const CALM: Duration = Duration::from_secs(4);

/// How controllers are started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The binary that is measured.
    pub binary: PathBuf,
    /// The workers' image.
    pub image: String,
    /// The rights of the chart's ServiceAccount.
    pub kubeconfig: PathBuf,
    /// Where the logs go.
    pub folder: PathBuf,
}

impl Launch {
    /// Writes a kubeconfig with the rights of the controller's ServiceAccount alone.
    ///
    /// # Errors
    /// When there is no such ServiceAccount.
    pub async fn prepare(cluster: &Cluster, binary: PathBuf, image: String, folder: PathBuf) -> Result<Self> {
        let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client().await?, NAMESPACE);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(DAY),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let granted = accounts
            .create_token_request(SERVICE_ACCOUNT, &PostParams::default(), &request)
            .await?;
        let token = granted.status.context("the API server granted no token")?.token;
        let mut config = Kubeconfig::read_from(cluster.kubeconfig())?;
        for user in &mut config.auth_infos {
            user.auth_info = Some(AuthInfo {
                token: Some(token.clone().into()),
                ..AuthInfo::default()
            });
        }
        let kubeconfig = folder.join("kubeconfig");
        // JSON is YAML.
        fs::write(&kubeconfig, serde_json::to_vec(&config)?)?;
        Ok(Launch {
            binary,
            image,
            kubeconfig,
            folder,
        })
    }

    /// Starts a controller that leads without asking, or one of several `candidate`s for the Lease.
    ///
    /// # Errors
    /// When the binary can't be started.
    pub fn start(&self, identity: &str, candidate: bool) -> Result<Controller> {
        let metrics = free_address()?;
        let log = self.folder.join(format!("{identity}.log"));
        let file = File::create(&log)?;
        let mut command = Command::new(&self.binary);
        without_proxy(&mut command)
            .args([
                "controller",
                "--worker-image",
                &self.image,
                "--worker-image-pull-policy",
                "Never",
            ])
            .args(["--identity", identity, "--metrics-address", &metrics.to_string()])
            .env("KUBECONFIG", &self.kubeconfig)
            // As the chart has it.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_TRIM_THRESHOLD_", "131072")
            .env("RUST_LOG", "info,kube=warn")
            .env_remove("POD_NAMESPACE")
            .env_remove("POD_NAME")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true);
        if candidate {
            command.args(["--lease-namespace", NAMESPACE]);
        }
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("could not start {}", self.binary.display()))?;
        let pid = child.id().context("the controller has ended already")?;
        Ok(Controller {
            identity: identity.to_owned(),
            child,
            pid,
            metrics,
            started,
            log,
        })
    }
}

/// A controller that runs, and ends with this.
pub struct Controller {
    identity: String,
    child: Child,
    pid: u32,
    metrics: SocketAddr,
    started: Instant,
    log: PathBuf,
}

impl Controller {
    /// Its name among candidates.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// How many reconciles of a kind have ended, well or not, by its metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn reconciles(&self, kind: &str) -> Result<u64> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let text = http
            .get(format!("http://{}/metrics", self.metrics))
            .send()
            .await?
            .text()
            .await?;
        Ok(count_of(&text, kind))
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// The most resident memory since [`forget_peak`](Self::forget_peak), in bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn peak(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// Sets the peak to what is resident now: <https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html>.
    ///
    /// # Errors
    /// When it has ended.
    pub fn forget_peak(&self) -> Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").with_context(|| self.last_words())
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).with_context(|| self.last_words())?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        Ok(kilobytes.with_context(|| self.last_words())? * 1024)
    }

    /// The CPU time that it has used, its own and the kernel's for it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).with_context(|| self.last_words())?;
        // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th after it.
        let (_, fields) = stat.rsplit_once(')').context("not a process")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>);
        Ok(TICK * ticks.sum::<Result<u32, _>>()?)
    }

    /// Waits until it has nothing to do, and returns when that began.
    ///
    /// # Errors
    /// When it has ended, or is still at work after `patience`.
    pub async fn calm(&mut self, patience: Duration) -> Result<Instant> {
        let begun = Instant::now();
        let (mut since, mut cpu) = (begun, self.cpu()?);
        while since.elapsed() < CALM {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.is_alive()?;
            if begun.elapsed() > patience {
                bail!(
                    "the controller is still at work after {patience:?}; {}",
                    self.last_words()
                );
            }
            let now = self.cpu()?;
            if (now - cpu) * 50 > since.elapsed().max(CALM) {
                (since, cpu) = (Instant::now(), now);
            }
        }
        Ok(since)
    }

    fn is_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(ended) => bail!("the controller ended ({ended}); {}", self.last_words()),
            None => Ok(()),
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid.cast_signed()), signal).with_context(|| self.last_words())
    }

    /// Ends it as Kubernetes would, and waits until it is gone.
    ///
    /// # Errors
    /// When it has ended before, or stays.
    pub async fn stop(mut self) -> Result<()> {
        self.is_alive()?;
        self.signal(Signal::SIGTERM)?;
        self.gone().await
    }

    /// Waits until it is gone, after a signal.
    ///
    /// # Errors
    /// When it stays.
    pub async fn gone(&mut self) -> Result<()> {
        let ended = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        ended.with_context(|| format!("the controller stays; {}", self.last_words()))??;
        Ok(())
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        format!("{} ends with:\n{}", self.log.display(), tail(&text, 8))
    }
}

/// A command that asks nobody for the way: what it talks to is on this machine.
pub fn without_proxy(command: &mut Command) -> &mut Command {
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The sum of `ferrygate_reconcile_duration_seconds_count` over a kind's outcomes.
fn count_of(text: &str, kind: &str) -> u64 {
    let kind = format!("kind=\"{kind}\"");
    text.lines()
        .filter(|line| line.starts_with("ferrygate_reconcile_duration_seconds_count{") && line.contains(&kind))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconciles_are_counted_over_outcomes() {
        let text = "ferrygate_reconcile_duration_seconds_count{kind=\"SyncPipeline\",outcome=\"success\"} 40\n\
                    ferrygate_reconcile_duration_seconds_count{kind=\"SyncPipeline\",outcome=\"error\"} 2\n\
                    ferrygate_reconcile_duration_seconds_count{kind=\"CdpSink\",outcome=\"success\"} 7\n\
                    ferrygate_reconcile_duration_seconds_sum{kind=\"SyncPipeline\",outcome=\"success\"} 9.5\n";
        assert_eq!(
            (count_of(text, "SyncPipeline"), count_of(text, "MappingVersion")),
            (42, 0)
        );
    }
}
