//! `ferrygate worker`: what the container of a Job runs.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kube::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, error, info, info_span};

use crate::api::common::{Outcome, exit};
use crate::api::sync_pipeline::ACCEPT_SCHEMA;
use crate::api::{CdpSink, CrmSource, MappingVersion, SyncPipeline};
use crate::cluster::{ANSWER, client};
use crate::secrets::{MOUNT, Secrets};
use crate::worker::probe::{ProbeSpec, probe_sink, probe_source};
use crate::worker::publish::StreamStatusWriter;
use crate::worker::{RunSpec, sync};

/// What a worker is to do.
#[derive(Debug, Subcommand)]
pub enum Worker {
    /// Syncs one stream of one pipeline.
    Sync(SyncArgs),
    /// Logs in to a CRM and describes its objects, or calls a CDP.
    Probe(ProbeArgs),
}

/// Which stream a sync is of.
#[derive(Debug, Args)]
pub struct SyncArgs {
    /// The pipeline's namespace.
    #[arg(long)]
    namespace: String,
    /// The pipeline's name.
    #[arg(long)]
    pipeline: String,
    /// The stream's name.
    #[arg(long)]
    stream: String,
    /// The run's name, which is the Job's.
    #[arg(long)]
    run: String,
    /// The run's number among the stream's.
    #[arg(long)]
    epoch: i64,
    /// `metadata.name` of the MappingVersion to apply.
    #[arg(long)]
    mapping: String,
    /// The folder that holds the state.
    #[arg(long)]
    state: PathBuf,
}

/// What a probe is of.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The resource's namespace.
    #[arg(long)]
    namespace: String,
    /// The CrmSource's name.
    #[arg(long, conflicts_with = "sink", required_unless_present = "sink")]
    source: Option<String>,
    /// The CdpSink's name.
    #[arg(long)]
    sink: Option<String>,
    /// The probe's name, which is the Job's.
    #[arg(long)]
    run: String,
    /// `metadata.generation` of the resource.
    #[arg(long)]
    generation: i64,
    /// A CRM object to describe; may be repeated.
    #[arg(long = "object")]
    objects: Vec<String>,
}

/// Runs a worker to its end and returns the process's exit code.
pub async fn run(worker: Worker, shutdown: CancellationToken) -> i32 {
    let secrets = Secrets::Directory(PathBuf::from(MOUNT));
    let ended = match worker {
        Worker::Sync(args) => {
            let SyncArgs {
                namespace,
                pipeline,
                stream,
                run,
                ..
            } = &args;
            let span = info_span!("run", namespace, pipeline, stream, run);
            run_sync(args, &secrets, shutdown).instrument(span).await
        }
        Worker::Probe(args) => {
            let span = info_span!("probe", namespace = args.namespace, run = args.run);
            run_probe(args, &secrets).instrument(span).await
        }
    };
    match ended {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            error!(%error, "the worker could not read or write its resources");
            api_error_exit_code(&error)
        }
    }
}

/// A resource that isn't there, or that the worker may not read, is for a person to mend; all else passes.
fn api_error_exit_code(error: &kube::Error) -> i32 {
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404) => exit::CONFIGURATION,
        // The patch's test failed: the status names another probe.
        kube::Error::Api(status) if status.code == 422 => exit::SUPERSEDED,
        _ => exit::OUTAGE,
    }
}

async fn run_sync(args: SyncArgs, secrets: &Secrets, shutdown: CancellationToken) -> Result<Outcome, kube::Error> {
    let client = client(ANSWER).await?;
    let pipelines = Api::<SyncPipeline>::namespaced(client.clone(), &args.namespace);
    let pipeline = pipelines.get(&args.pipeline).await?;
    let accepted_schema = pipeline.annotations().get(ACCEPT_SCHEMA).cloned().unwrap_or_default();
    let status = pipeline.status.unwrap_or_default();
    let stream_status = status.streams.into_iter().find(|stream| stream.name == args.stream);
    let stream = pipeline
        .spec
        .streams
        .into_iter()
        .find(|stream| stream.name == args.stream);
    let (Some(stream), Some(stream_status)) = (stream, stream_status) else {
        info!(stream = args.stream, "the pipeline no longer has this stream");
        return Ok(Outcome::Superseded);
    };
    if stream_status.active_run.is_none_or(|run| run.name != args.run) {
        info!(run = args.run, "the pipeline's status names another run");
        return Ok(Outcome::Superseded);
    }
    let spec = RunSpec {
        source_name: pipeline.spec.source_ref.name.clone(),
        sink_name: pipeline.spec.sink_ref.name.clone(),
        source: Api::<CrmSource>::namespaced(client.clone(), &args.namespace)
            .get(&pipeline.spec.source_ref.name)
            .await?
            .spec,
        sink: Api::<CdpSink>::namespaced(client.clone(), &args.namespace)
            .get(&pipeline.spec.sink_ref.name)
            .await?
            .spec,
        mapping: Api::<MappingVersion>::namespaced(client, &args.namespace)
            .get(&args.mapping)
            .await?
            .spec,
        namespace: args.namespace,
        pipeline: args.pipeline,
        stream,
        on_schema_change: pipeline.spec.schema.on_change,
        accepted_schema,
        run: args.run,
        epoch: args.epoch,
        ran_before: stream_status.last_run.is_some(),
        state_directory: args.state,
        published: stream_status.watermark,
    };
    let writer = StreamStatusWriter::new(pipelines, &spec.pipeline, &spec.stream.name, &spec.run);
    let result = sync(spec, secrets, &writer, shutdown).await;
    match writer.report(&result).await {
        Ok(()) => Ok(result.outcome),
        Err(outcome) => Ok(outcome),
    }
}

async fn run_probe(args: ProbeArgs, secrets: &Secrets) -> Result<Outcome, kube::Error> {
    let client = client(ANSWER).await?;
    let spec = |name| ProbeSpec {
        name,
        run: args.run,
        generation: args.generation,
        objects: args.objects,
    };
    let result = match (args.source, args.sink) {
        (Some(name), _) => probe_source(Api::namespaced(client, &args.namespace), &spec(name), secrets).await?,
        (None, Some(name)) => probe_sink(Api::namespaced(client, &args.namespace), &spec(name), secrets).await?,
        (None, None) => unreachable!("clap requires one of --source, --sink"),
    };
    // A probe that wrote its result has done its work, whatever it found: a Job that fails would only be run again.
    info!(outcome = result.outcome.reason().as_str(), "{}", result.message);
    Ok(Outcome::Succeeded)
}
