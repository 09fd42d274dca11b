//! How long nobody leads when the leader ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Api, ListParams};
use nix::sys::signal::Signal;

use super::{Bench, PATIENCE};
use crate::bench::operator::report::Row;
use crate::operator::NAMESPACE;

/// How often each way of ending is tried; the longest counts.
const TRIES: usize = 3;
/// How often it is asked who leads.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take before the measurement is broken.
const VACANCY: Duration = Duration::from_secs(120);

/// Two controllers, of which the leader is ended again and again.
///
/// # Errors
/// When nobody takes the lead.
pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let leases: Api<Lease> = Api::namespaced(bench.client.clone(), NAMESPACE);
    let mut names = (1..).map(|number| format!("candidate-{number}"));
    let mut next = || names.next().context("a name");
    let mut leader = bench.launch.start(&next()?, true)?;
    until_held(&leases, leader.identity()).await?;
    leader.calm(PATIENCE).await?;
    let mut rows = Vec::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let mut longest = Duration::ZERO;
        for _ in 0..TRIES {
            let mut standby = bench.launch.start(&next()?, true)?;
            standby.calm(PATIENCE).await?;
            let begun = Instant::now();
            leader.signal(signal)?;
            until_held(&leases, standby.identity()).await?;
            longest = longest.max(begun.elapsed());
            leader.gone().await?;
            leader = standby;
            // It takes everything over before it is ended in its turn.
            leader.calm(PATIENCE).await?;
        }
        let grace = Duration::from_secs(2);
        let wanted = match signal {
            Signal::SIGKILL => grace + lease_of(&leases).await?,
            _ => grace,
        };
        rows.push(Row::time(
            format!("leadership on {signal}, longest of {TRIES}"),
            longest,
            wanted,
        ));
    }
    leader.stop().await?;
    Ok(rows)
}

async fn until_held(leases: &Api<Lease>, identity: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        // A process adds a random part to its name.
        let holder = held(leases).await?.holder_identity.unwrap_or_default();
        if holder.rsplit_once('_').is_some_and(|(name, _)| name == identity) {
            return Ok(());
        }
        if begun.elapsed() > VACANCY {
            anyhow::bail!("waited {VACANCY:?} for {identity} to lead, in vain");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The controllers' Lease, the only one in their namespace.
async fn held(leases: &Api<Lease>) -> Result<LeaseSpec> {
    let all = leases.list(&ListParams::default()).await?;
    Ok(all.items.into_iter().find_map(|lease| lease.spec).unwrap_or_default())
}

async fn lease_of(leases: &Api<Lease>) -> Result<Duration> {
    let seconds = held(leases)
        .await?
        .lease_duration_seconds
        .context("a Lease without a duration")?;
    Ok(Duration::from_secs(seconds.unsigned_abs().into()))
}
