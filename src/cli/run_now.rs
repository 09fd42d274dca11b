//! `ferrygate run-now`: asks for a run of a pipeline's streams, beside their schedules.

use clap::Args;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::api::SyncPipeline;
use crate::api::common::exit;
use crate::api::sync_pipeline::RUN_NOW;
use crate::cluster::{self, ANSWER};

/// Which pipeline is asked.
#[derive(Debug, Args)]
pub struct RunNowArgs {
    /// The pipeline's name.
    pipeline: String,
    /// The pipeline's namespace; by default the one of the kubeconfig's context.
    #[arg(long, short)]
    namespace: Option<String>,
}

/// Asks, and returns the process's exit code.
pub async fn run(args: RunNowArgs) -> i32 {
    let asked = async {
        let client = cluster::client(ANSWER).await?;
        let namespace = args.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        request(client, &namespace, &args.pipeline).await?;
        Ok::<_, kube::Error>(namespace)
    };
    match asked.await {
        Ok(namespace) => {
            println!(
                "asked for a run of each stream of {namespace}/{pipeline}; see: kubectl describe syncpipeline {pipeline} -n \
                 {namespace}",
                pipeline = args.pipeline
            );
            0
        }
        Err(kube::Error::Api(status)) => {
            eprintln!("error: {}", status.message);
            exit::CONFIGURATION
        }
        Err(error) => {
            eprintln!("error: the API server can't be reached: {error}; check the kubeconfig");
            exit::OUTAGE
        }
    }
}

/// Asks for a run of each stream of a pipeline. Streams that are suspended or wait for the CRM's quota run once they may.
///
/// # Errors
/// When the API server refuses, or can't be reached.
pub async fn request(client: Client, namespace: &str, pipeline: &str) -> Result<(), kube::Error> {
    let token = Timestamp::now().to_string();
    let patch = json!({"metadata": {"annotations": {RUN_NOW: token}}});
    Api::<SyncPipeline>::namespaced(client, namespace)
        .patch(pipeline, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}
