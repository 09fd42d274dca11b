//! What a pipeline refers to, and what was made for it.

use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use super::super::jobs::PIPELINE_LABEL;
use super::super::names;
use super::super::observe::Made;
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};

/// All that a decision about a pipeline rests on, but for the clock.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The sources of the namespace.
    pub sources: Vec<CrmSource>,
    /// The sinks of the namespace.
    pub sinks: Vec<CdpSink>,
    /// The mapping versions of the namespace.
    pub mappings: Vec<MappingVersion>,
    /// The Jobs and Pods of the pipeline's runs.
    pub made: Made,
}

/// Asks the API server.
pub async fn observe(client: &Client, pipeline: &SyncPipeline) -> Result<Observed, kube::Error> {
    let namespace = pipeline.namespace().unwrap_or_default();
    let everything = ListParams::default();
    Ok(Observed {
        sources: Api::namespaced(client.clone(), &namespace)
            .list(&everything)
            .await?
            .items,
        sinks: Api::namespaced(client.clone(), &namespace)
            .list(&everything)
            .await?
            .items,
        mappings: Api::namespaced(client.clone(), &namespace)
            .list(&everything)
            .await?
            .items,
        made: Made::observe(client, &namespace, PIPELINE_LABEL, &names::label(&pipeline.name_any())).await?,
    })
}
