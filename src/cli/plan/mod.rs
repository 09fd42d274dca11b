//! `ferrygate plan --files DIR`: what applying a folder would do to a cluster. Nothing is written.

mod decide;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use self::decide::{Plan, decide};
use super::files::{DEFAULT_NAMESPACE, Manifests, Namespace};
use crate::cluster::{self, ANSWER};

/// What to plan, and how it is shown.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing breaks; 1 the folder or the cluster could not be read; 3 something is refused, breaks, \
                        or is read all over again."
)]
pub struct PlanArgs {
    /// The folder with the YAML manifests of the four kinds.
    #[arg(long)]
    files: PathBuf,
    /// The namespace of manifests that name none; by default the one of the kubeconfig's context.
    #[arg(long, short)]
    namespace: Option<String>,
    /// How the plan is printed, to standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How the plan is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For a terminal.
    Text,
    /// For a pull request.
    Markdown,
    /// For a program.
    Json,
}

/// The folder or the cluster could not be read.
const FAILED: i32 = 1;
/// Something is refused, breaks, or is read all over again.
const DISRUPTIVE: i32 = 3;

/// Plans, prints the plan, and returns the process's exit code.
pub async fn run(args: &PlanArgs, now: Timestamp) -> i32 {
    let (manifests, errors) = Manifests::read_all(&args.files);
    for error in &errors {
        eprintln!("error: {error}");
    }
    if !errors.is_empty() {
        return FAILED;
    }
    let plans = match plan_all(args, &manifests, now).await {
        Ok(plans) => plans,
        Err(kube::Error::Api(status)) => {
            eprintln!("error: {}", status.message);
            return FAILED;
        }
        Err(error) => {
            eprintln!("error: the API server can't be read: {error}; check the kubeconfig");
            return FAILED;
        }
    };
    match args.output {
        Output::Text => print!("{}", show::text(&plans)),
        Output::Markdown => print!("{}", show::markdown(&plans)),
        Output::Json => println!("{}", show::json(&plans)),
    }
    if plans.iter().any(Plan::is_disruptive) {
        DISRUPTIVE
    } else {
        0
    }
}

async fn plan_all(args: &PlanArgs, manifests: &Manifests, now: Timestamp) -> Result<Vec<Plan>, kube::Error> {
    let client = cluster::client(ANSWER).await?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut plans = Vec::new();
    for (name, desired) in manifests.namespaces() {
        let name = match (name, &args.namespace) {
            (DEFAULT_NAMESPACE, Some(given)) => given.as_str(),
            (DEFAULT_NAMESPACE, None) => client.default_namespace(),
            (named, _) => named,
        };
        let live = observe(&client, name).await?;
        plans.push(decide(name, desired, &live, today));
    }
    Ok(plans)
}

/// The four kinds of a namespace as the cluster has them.
async fn observe(client: &Client, namespace: &str) -> Result<Namespace, kube::Error> {
    Ok(Namespace::of(
        list(client, namespace).await?,
        list(client, namespace).await?,
        list(client, namespace).await?,
        list(client, namespace).await?,
    ))
}

async fn list<K>(client: &Client, namespace: &str) -> Result<BTreeMap<String, K>, kube::Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let there = api.list(&ListParams::default()).await?;
    Ok(there.items.into_iter().map(|one| (one.name_any(), one)).collect())
}
