//! Leader election by a Lease, each write under its `resourceVersion`.
//!
//! Expiry is measured on this process's own monotonic clock, from when it saw the Lease change last: clocks of other machines
//! don't matter. See <https://kubernetes.io/docs/concepts/architecture/leases/>.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long a leader that was not heard of stays one.
const LEASE: Duration = Duration::from_secs(15);
/// How often the leader is heard of.
const RENEW: Duration = Duration::from_secs(4);
/// When a leader that can't renew stops: before another may begin.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(5);

/// A candidate for one Lease.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
}

impl Candidate {
    /// A candidate by the name of `identity`, which no other has.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Candidate {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
        }
    }

    /// Waits until this process leads.
    pub async fn lead(&self) {
        let mut seen: Option<(String, Instant)> = None;
        loop {
            match timeout(REQUEST, self.try_to_lead(&mut seen)).await {
                Ok(Ok(true)) => {
                    info!(identity = self.identity, "leads");
                    return;
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => warn!(%error, "the Lease could not be read or written"),
                Err(_) => warn!("the Lease could not be read or written in time"),
            }
            sleep(RENEW / 2).await;
        }
    }

    /// Renews until the lead is lost, or `shutdown`, upon which it is given up at once.
    pub async fn hold(&self, shutdown: CancellationToken) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < GIVE_UP {
            tokio::select! {
                () = shutdown.cancelled() => return self.release().await,
                () = sleep(RENEW) => {}
            }
            match timeout(REQUEST.min(GIVE_UP.saturating_sub(renewed.elapsed())), self.renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => break,
                Ok(Err(error)) => warn!(%error, "the Lease was not renewed"),
                Err(_) => warn!("the Lease was not renewed in time"),
            }
        }
        warn!(identity = self.identity, "no longer leads");
    }

    async fn try_to_lead(&self, seen: &mut Option<(String, Instant)>) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(1)),
            };
            return taken(self.api.create(&PostParams::default(), &lease).await);
        };
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let held = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_deref())
            .is_some_and(|holder| !holder.is_empty());
        let expired = match seen {
            Some((known, since)) if *known == version => since.elapsed() >= LEASE,
            _ => {
                *seen = Some((version, Instant::now()));
                false
            }
        };
        if held && !expired {
            return Ok(false);
        }
        let transitions = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_transitions)
            .unwrap_or_default()
            + 1;
        self.write(lease, self.spec(transitions)).await
    }

    async fn renew(&self) -> Result<bool, kube::Error> {
        let lease = self.api.get(&self.name).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(false);
        }
        let spec = LeaseSpec {
            renew_time: Some(MicroTime(Timestamp::now())),
            ..spec
        };
        self.write(lease, spec).await
    }

    async fn release(&self) {
        let released = async {
            let lease = self.api.get(&self.name).await?;
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                self.write(
                    lease,
                    LeaseSpec {
                        holder_identity: Some(String::new()),
                        ..spec
                    },
                )
                .await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(REQUEST, released).await {
            Ok(Ok(())) => info!(identity = self.identity, "gave up the lead"),
            _ => warn!("the Lease was not given up; another leads once it has expired"),
        }
    }

    async fn write(&self, mut lease: Lease, spec: LeaseSpec) -> Result<bool, kube::Error> {
        lease.spec = Some(spec);
        taken(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = Some(MicroTime(Timestamp::now()));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

/// Whether a write was taken, or another was first.
fn taken(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
