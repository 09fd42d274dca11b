//! The Lease at the API server, and how a candidate sees it.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::time::{Instant, timeout};

use super::{LEASE, REQUEST};

/// Why the Lease was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The API server refused, or could not be reached.
    #[error("the API server did not do it; the controller needs get, create and update on Leases: {0}")]
    Api(#[from] kube::Error),
    /// It may have done it nevertheless.
    #[error("the API server did not answer within {} s", REQUEST.as_secs())]
    Silent,
}

/// One candidate's hand on the Lease.
#[derive(Clone)]
pub struct Lock {
    api: Api<Lease>,
    name: String,
    identity: String,
}

impl Lock {
    pub fn new(client: Client, namespace: &str, name: &str, identity: String) -> Self {
        Lock {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity,
        }
    }

    /// Whom the Lease names while this candidate holds it.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The Lease as it is now, where it is there.
    pub async fn read(&self) -> Result<Option<Lease>, LockError> {
        bounded(self.api.get_opt(&self.name)).await
    }

    /// Takes the Lease as it was seen; none when another was first.
    pub async fn take(&self, seen: Option<&Lease>) -> Result<Option<Lease>, LockError> {
        let spec = seen.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let now = Some(MicroTime(Timestamp::now()));
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(spec.lease_transitions.unwrap_or_default().saturating_add(1)),
            ..spec
        };
        match seen {
            Some(lease) => self.write(lease, spec).await,
            None => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(self.name.clone()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(spec),
                };
                taken(bounded(self.api.create(&PostParams::default(), &lease)).await)
            }
        }
    }

    /// Renews the Lease that is held; none when it is no longer as it was left.
    pub async fn renew(&self, held: &Lease) -> Result<Option<Lease>, LockError> {
        let spec = LeaseSpec {
            renew_time: Some(MicroTime(Timestamp::now())),
            ..held.spec.clone().unwrap_or_default()
        };
        self.write(held, spec).await
    }

    /// Lets go of the Lease that is held; none when it is no longer as it was left.
    pub async fn release(&self, held: &Lease) -> Result<Option<Lease>, LockError> {
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            ..held.spec.clone().unwrap_or_default()
        };
        self.write(held, spec).await
    }

    /// The Lease as it is now, where this candidate holds it.
    pub async fn read_held(&self) -> Result<Option<Lease>, LockError> {
        let lease = self.read().await?;
        Ok(lease.filter(|lease| holder(lease) == Some(&self.identity)))
    }

    async fn write(&self, seen: &Lease, spec: LeaseSpec) -> Result<Option<Lease>, LockError> {
        let lease = Lease {
            spec: Some(spec),
            ..seen.clone()
        };
        taken(bounded(self.api.replace(&self.name, &PostParams::default(), &lease)).await)
    }
}

/// The Lease as a candidate saw it, and since when.
pub struct View {
    lease: Option<Lease>,
    since: Instant,
    /// How long whoever holds it may not be heard of; none where nobody does.
    held_for: Option<Duration>,
}

impl View {
    /// What is seen now, after what was seen before.
    pub fn of(lease: Option<Lease>, before: Option<View>, now: Instant) -> Self {
        let version = |lease: &Option<Lease>| lease.as_ref().and_then(ResourceExt::resource_version);
        match before {
            Some(before) if version(&before.lease) == version(&lease) => before,
            before => {
                let held_for = match &lease {
                    Some(lease) => held_for(lease),
                    // The holder of a Lease that was deleted may not have noticed.
                    None => before.and_then(|before| before.held_for),
                };
                View {
                    lease,
                    since: now,
                    held_for,
                }
            }
        }
    }

    /// The Lease, where it is there.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Whether nobody else can be at work by this Lease. What the candidate itself holds already is from an attempt whose
    /// answer was lost, or from a lead that it lost sight of.
    pub fn may_be_taken(&self, identity: &str, now: Instant) -> bool {
        self.lease.as_ref().and_then(holder) == Some(identity) || self.expires_in(now).is_none()
    }

    /// How long whoever holds it may still be at work; none when nobody can be.
    pub fn expires_in(&self, now: Instant) -> Option<Duration> {
        (self.since + self.held_for?)
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// How long the holder, of whichever version it is, has said that it leads without being heard of.
fn held_for(lease: &Lease) -> Option<Duration> {
    holder(lease)?;
    let seconds = lease.spec.as_ref()?.lease_duration_seconds;
    let said = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Some(said.filter(|seconds| *seconds > 0).map_or(LEASE, Duration::from_secs))
}

async fn bounded<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LockError> {
    match timeout(REQUEST, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(LockError::Silent),
    }
}

/// What was written; none where another was first, or has removed it.
fn taken(written: Result<Lease, LockError>) -> Result<Option<Lease>, LockError> {
    match written {
        Ok(lease) => Ok(Some(lease)),
        Err(LockError::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(error),
    }
}
