//! `ferrygate describe --files DIR`: the CRM's objects that pipelines read, as the integration user sees them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use kube::ResourceExt;

use super::described::{Described, DescribedSource};
use super::files::{FilesError, Manifests};
use crate::api::CrmSource;
use crate::api::common::exit;
use crate::secrets::Secrets;
use crate::source::{Source, SourceError};

/// Which objects to describe.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// The folder with the YAML manifests of sources and pipelines, and of the Secrets that the sources name.
    #[arg(long)]
    files: PathBuf,
    /// Only this CrmSource.
    #[arg(long)]
    source: Option<String>,
    /// These objects, in place of those that pipelines read; may be repeated.
    #[arg(long = "object")]
    objects: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum DescribeError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("CrmSource {source_name}: {cause}")]
    Source { source_name: String, cause: SourceError },
    #[error("there is no CrmSource {0}in the folder, or no pipeline reads of it; --object names what to describe")]
    Nothing(String),
}

/// Describes, prints JSON to standard output, and returns the process's exit code.
pub async fn run(args: &DescribeArgs) -> i32 {
    match describe(args).await {
        Ok(described) => {
            println!("{}", serde_json::json!(described));
            0
        }
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                DescribeError::Source { cause, .. } => cause.outcome.exit_code(),
                DescribeError::Files(_) | DescribeError::Nothing(_) => exit::CONFIGURATION,
            }
        }
    }
}

async fn describe(args: &DescribeArgs) -> Result<Described, DescribeError> {
    let manifests = Manifests::read(&args.files)?;
    let secrets = manifests.secrets();
    let (mut described, mut any) = (Described::default(), false);
    for (namespace, resources) in manifests.namespaces() {
        let sources = resources.sources.values();
        for source in sources.filter(|source| args.source.as_ref().is_none_or(|name| *name == source.name_any())) {
            let pipelines = resources.pipelines.values();
            let streams = pipelines
                .filter(|pipeline| pipeline.spec.source_ref.name == source.name_any())
                .flat_map(|pipeline| &pipeline.spec.streams);
            let mut objects: BTreeSet<&str> = args.objects.iter().map(String::as_str).collect();
            if objects.is_empty() {
                objects = streams.map(|stream| stream.object.as_str()).collect();
            }
            if objects.is_empty() {
                continue;
            }
            any = true;
            described.add(of_source(namespace, source, objects, &secrets).await?);
        }
    }
    if !any {
        let named = args.source.iter().map(|name| format!("{name:?} "));
        return Err(DescribeError::Nothing(named.collect()));
    }
    Ok(described)
}

async fn of_source(
    namespace: &str,
    source: &CrmSource,
    objects: BTreeSet<&str>,
    secrets: &Secrets,
) -> Result<DescribedSource, DescribeError> {
    let failed = |cause| DescribeError::Source {
        source_name: format!("{namespace}/{}", source.name_any()),
        cause,
    };
    let crm = Source::connect(&source.spec, secrets).await.map_err(failed)?;
    let mut described = Vec::with_capacity(objects.len());
    for object in objects {
        described.push(crm.describe(object).await.map_err(failed)?);
    }
    Ok(DescribedSource {
        namespace: namespace.to_owned(),
        source: source.name_any(),
        objects: described,
    })
}
