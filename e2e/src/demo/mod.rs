//! `make demo`: the main job, for a person to watch. A cluster, the operator, a CRM and a CDP; the first sync; then changes in
//! the CRM and how each arrives.

mod story;
mod table;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Subcommand;
use ferrygate::api::SyncPipeline;
use ferrygate::api::conditions::{FRESH, READY, is_true};
use serde_json::json;

use crate::cluster::Cluster;
use crate::image;
use crate::operator;
use crate::progress::{Steps, seconds};
use crate::tenant::{Simulated, Tenant};

/// The demo's cluster.
const CLUSTER: &str = "ferrygate-demo";
/// The demo's namespace.
const NAMESPACE: &str = "crm-demo";
/// The demo's pipeline.
const PIPELINE: &str = "customers";
/// How many contacts the CRM begins with.
const CONTACTS: usize = 2_000;
/// How long a run may take to come by.
const PATIENCE: Duration = Duration::from_secs(180);

/// What to do with the demo.
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// Sets everything up and shows the main job.
    Up,
    /// Removes everything that the demo made.
    Down,
}

impl DemoCommand {
    /// Does it.
    ///
    /// # Errors
    /// When a step fails, in words that say what to do.
    pub async fn run(self) -> Result<()> {
        let steps = Steps::new();
        match self {
            DemoCommand::Up => up(&steps).await,
            DemoCommand::Down => Cluster::take_down(CLUSTER, &steps).await,
        }
    }
}

async fn up(steps: &Steps) -> Result<()> {
    let started = Instant::now();
    steps.title("Ferrygate: from a CRM to a CDP, through Kubernetes");
    let cluster = Cluster::ensure(CLUSTER, steps).await?;
    let images = image::build_images(&cluster, steps).await?;
    operator::install(&cluster, &images, steps).await?;

    steps.title("A tenant: a Salesforce org and a Segment workspace, simulated, and the four resources");
    let tenant = steps
        .step(
            "Starting the simulators in the namespace crm-demo",
            Tenant::create(&cluster, &images, NAMESPACE),
        )
        .await?;
    steps
        .step(
            &format!("Filling the CRM with {CONTACTS} contacts"),
            tenant.tell(Simulated::Salesforce, "POST", "seed", &json!({"contacts": CONTACTS})),
        )
        .await?;
    steps.step("Applying config/samples", tenant.apply_samples()).await?;
    let first = steps
        .step(
            "The first sync",
            tenant.until_pipeline(PIPELINE, PATIENCE, "the first sync", synced),
        )
        .await?;
    table::print_first(&first);

    steps.title("Changes in the CRM, and how each arrives");
    let scenes = story::prepare(&tenant).await?;
    steps
        .step("Making the changes in the CRM", story::change(&tenant, &scenes))
        .await?;
    steps
        .step(
            "Waiting for the next run to carry them",
            story::until_arrived(&tenant, &scenes),
        )
        .await?;
    steps
        .step(
            "Waiting for that run to end",
            tenant.until_pipeline(PIPELINE, PATIENCE, "the end of the run", at_rest),
        )
        .await?;
    table::print_scenes(&story::tell(&tenant, &scenes).await?);

    for words in [
        &["get", "ferrygate", "-n", NAMESPACE][..],
        &["describe", "syncpipeline", PIPELINE, "-n", NAMESPACE][..],
    ] {
        println!("\n$ kubectl {}", words.join(" "));
        print!("{}", tenant.kubectl(words).await?);
    }
    println!(
        "\nDone after {}. Look around, then remove it all with `make demo-down`:",
        seconds(started.elapsed())
    );
    println!("  export KUBECONFIG={}", cluster.kubeconfig().display());
    println!("  kubectl get ferrygate -n {NAMESPACE}");
    Ok(())
}

/// Whether the pipeline is ready and fresh, and its first run has ended.
fn synced(pipeline: &SyncPipeline) -> bool {
    pipeline.status.as_ref().is_some_and(|status| {
        is_true(&status.conditions, READY)
            && is_true(&status.conditions, FRESH)
            && status.streams.iter().all(|stream| stream.last_success_time.is_some())
    })
}

/// Whether no run is under way.
fn at_rest(pipeline: &SyncPipeline) -> bool {
    pipeline
        .status
        .as_ref()
        .is_some_and(|status| status.streams.iter().all(|stream| stream.active_run.is_none()))
}
