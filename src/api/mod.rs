//! The four kinds of `ferrygate.io/v1alpha1`, as a user writes them and as `kubectl` shows them.
//!
//! One file a kind; [`common`] and [`job_template`] hold what several share, [`conditions`] the condition types and how one is
//! set. The CRDs in `crds/` are generated from these types (`make crds`), and the CEL rules on them are enforced twice with the
//! same words: by the API server, and by `ferrygate run --files`.

#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has a type of its own, and most are strings"
)]

pub mod cdp_sink;
pub mod common;
pub mod conditions;
pub mod crm_source;
pub mod job_template;
pub mod mapping_version;
pub mod observations;
pub mod sync_pipeline;

pub use cdp_sink::{CdpSink, CdpSinkSpec, CdpSinkStatus};
pub use common::{Cdp, Classification, LocalReference, SecretKeySelector, SecretValue};
pub use crm_source::{CrmSource, CrmSourceSpec, CrmSourceStatus};
pub use job_template::JobTemplate;
pub use mapping_version::{MappingVersion, MappingVersionSpec, MappingVersionStatus};
pub use sync_pipeline::{SyncPipeline, SyncPipelineSpec, SyncPipelineStatus};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The definitions of the four kinds, as `crds/` holds them.
///
/// A status is not nullable: the API server then drops a null before it applies the default, so that a status which was wiped
/// by hand reads like one that no controller has seen.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#defaulting-and-nullable>
pub fn definitions() -> [CustomResourceDefinition; 4] {
    [
        CrmSource::crd(),
        CdpSink::crd(),
        MappingVersion::crd(),
        SyncPipeline::crd(),
    ]
    .map(|mut definition| {
        for version in &mut definition.spec.versions {
            let schema = version
                .schema
                .as_mut()
                .and_then(|schema| schema.open_api_v3_schema.as_mut());
            let properties = schema.and_then(|schema| schema.properties.as_mut());
            if let Some(status) = properties.and_then(|properties| properties.get_mut("status")) {
                status.nullable = None;
            }
        }
        definition
    })
}

/// The API group of all kinds.
pub const GROUP: &str = "ferrygate.io";
