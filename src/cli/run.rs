//! `ferrygate run --files DIR`: the worker's code with manifests and Secrets from a folder, and no cluster.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::files::{FilesError, Manifests, Namespace};
use crate::api::SyncPipeline;
use crate::api::common::exit;
use crate::api::sync_pipeline::{ACCEPT_SCHEMA, Stream};
use crate::state::{DeadLetter, Store};
use crate::worker::{RunResult, RunSpec, Silent, UnresolvedMapping, sync, takeable_mappings};

/// How many dead letters of a stream are shown.
const LETTERS_SHOWN: usize = 100;

/// What to run, and how its result is shown.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The folder with the YAML manifests of the four kinds and of the Secrets that they name.
    #[arg(long)]
    files: PathBuf,
    /// Only this pipeline.
    #[arg(long)]
    pipeline: Option<String>,
    /// Only this stream.
    #[arg(long)]
    stream: Option<String>,
    /// The folder that keeps the state between runs: watermarks, fingerprints, dead letters.
    #[arg(long, default_value = ".ferrygate/state")]
    state: PathBuf,
    /// How the result is printed, to standard output.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For a person.
    Table,
    /// For a program.
    Json,
}

/// Why nothing was run. Each names the field that is wrong.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("there is no {what} in {}; there are: {there}", folder.display())]
    Nothing {
        what: String,
        folder: PathBuf,
        there: String,
    },
    #[error(
        "SyncPipeline {pipeline}: spec.{field}.name: there is no {kind} {name:?} in its namespace; there are: {there}"
    )]
    NoReference {
        /// As `namespace/name`.
        pipeline: String,
        field: &'static str,
        kind: &'static str,
        name: String,
        there: String,
    },
    #[error("SyncPipeline {pipeline}: {cause}")]
    NoMapping { pipeline: String, cause: UnresolvedMapping },
}

/// A stream's run that has ended.
struct Ended {
    pipeline: String,
    stream: String,
    run: String,
    result: RunResult,
    letters: Vec<DeadLetter>,
}

/// Runs the streams in turn, prints what became of them, and returns the process's exit code: the worst of them.
pub async fn run(args: RunArgs, shutdown: CancellationToken) -> i32 {
    match run_all(&args, shutdown).await {
        Ok(ended) => {
            match args.output {
                Output::Table => print!("{}", as_table(&ended)),
                Output::Json => println!("{}", as_json(&ended)),
            }
            ended
                .iter()
                .map(|ended| ended.result.outcome.exit_code())
                .max()
                .unwrap_or_default()
        }
        Err(error) => {
            eprintln!("error: {error}");
            exit::CONFIGURATION
        }
    }
}

async fn run_all(args: &RunArgs, shutdown: CancellationToken) -> Result<Vec<Ended>, RunError> {
    let manifests = Manifests::read(&args.files)?;
    let mut ended = Vec::new();
    for (namespace_name, namespace) in manifests.namespaces() {
        for pipeline in namespace
            .pipelines
            .values()
            .filter(|pipeline| wanted(&args.pipeline, &pipeline.name_any()))
        {
            for stream in pipeline
                .spec
                .streams
                .iter()
                .filter(|stream| wanted(&args.stream, &stream.name))
            {
                let spec = specify(args, namespace_name, namespace, pipeline, stream)?;
                ended.push(run_one(spec, namespace, shutdown.clone()).await);
            }
        }
    }
    if ended.is_empty() {
        return Err(nothing(args, &manifests));
    }
    Ok(ended)
}

fn wanted(name: &Option<String>, found: &str) -> bool {
    name.as_ref().is_none_or(|name| name == found)
}

fn nothing(args: &RunArgs, manifests: &Manifests) -> RunError {
    let mut there = Vec::new();
    for pipeline in manifests
        .namespaces()
        .flat_map(|(_, namespace)| namespace.pipelines.values())
    {
        there.extend(
            pipeline
                .spec
                .streams
                .iter()
                .map(|stream| format!("{}/{}", pipeline.name_any(), stream.name)),
        );
    }
    let part = |kind: &str, name: &Option<String>| name.as_ref().map(|name| format!("{kind} {name:?}"));
    let what: Vec<_> = [part("SyncPipeline", &args.pipeline), part("stream", &args.stream)]
        .into_iter()
        .flatten()
        .collect();
    RunError::Nothing {
        what: if what.is_empty() {
            "SyncPipeline".to_owned()
        } else {
            what.join(" with ")
        },
        folder: args.files.clone(),
        there: listed(there.iter()),
    }
}

fn specify(
    args: &RunArgs,
    namespace_name: &str,
    namespace: &Namespace,
    pipeline: &SyncPipeline,
    stream: &Stream,
) -> Result<RunSpec, RunError> {
    let name = pipeline.name_any();
    let missing = |field, kind, name: &str, there| RunError::NoReference {
        pipeline: format!("{namespace_name}/{}", pipeline.name_any()),
        field,
        kind,
        name: name.to_owned(),
        there,
    };
    let (source, sink) = (&pipeline.spec.source_ref.name, &pipeline.spec.sink_ref.name);
    let source = namespace
        .sources
        .get(source)
        .ok_or_else(|| missing("sourceRef", "CrmSource", source, listed(namespace.sources.keys())))?;
    let sink = namespace
        .sinks
        .get(sink)
        .ok_or_else(|| missing("sinkRef", "CdpSink", sink, listed(namespace.sinks.keys())))?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let fitting = takeable_mappings(&pipeline.spec.mapping_ref, namespace.mappings.values(), None, today);
    let fitting = fitting.map_err(|cause| RunError::NoMapping {
        pipeline: name.clone(),
        cause,
    })?;
    if let Some((held, error)) = &fitting.held {
        let held = held.name_any();
        eprintln!(
            "note: the range of pipeline {name} does not take MappingVersion {held}, whose number hides what it changes: {error}"
        );
    }
    let mapping = fitting.highest;
    let state_directory = args.state.join(namespace_name).join(&name);
    // A store that can't be read is reported by the run itself.
    let epoch = Store::last_epoch(&state_directory, &stream.name).unwrap_or_default() + 1;
    Ok(RunSpec {
        namespace: namespace_name.to_owned(),
        run: format!("{name}-{}-{}", stream.name, Timestamp::now().as_millisecond()),
        pipeline: name,
        stream: stream.clone(),
        source_name: source.name_any(),
        source: source.spec.clone(),
        sink_name: sink.name_any(),
        sink: sink.spec.clone(),
        mapping: mapping.spec.clone(),
        on_schema_change: pipeline.spec.schema.on_change,
        accepted_schema: pipeline.annotations().get(ACCEPT_SCHEMA).cloned().unwrap_or_default(),
        epoch,
        ran_before: epoch > 1,
        state_directory,
        published: None,
    })
}

async fn run_one(spec: RunSpec, namespace: &Namespace, shutdown: CancellationToken) -> Ended {
    let result = sync(spec.clone(), &namespace.secrets(), &Silent, shutdown).await;
    let letters = if result.dead_letters > 0 {
        letters_of(&spec)
    } else {
        Vec::new()
    };
    Ended {
        pipeline: spec.pipeline,
        stream: spec.stream.name,
        run: spec.run,
        result,
        letters,
    }
}

fn letters_of(spec: &RunSpec) -> Vec<DeadLetter> {
    Store::open(&spec.opening(&spec.mapping.mapping))
        .and_then(|(store, _)| store.dead_letters(LETTERS_SHOWN))
        .unwrap_or_default()
}

fn listed<S: AsRef<str>>(names: impl Iterator<Item = S>) -> String {
    let names: Vec<String> = names.map(|name| name.as_ref().to_owned()).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn as_json(ended: &[Ended]) -> Value {
    let results: Vec<_> = ended
        .iter()
        .map(
            |Ended {
                 pipeline,
                 stream,
                 run,
                 result,
                 letters,
             }| {
                let letters: Vec<_> = letters
                    .iter()
                    .map(|letter| {
                        json!({
                            "recordId": letter.record_id,
                            "stamp": letter.stamp.to_string(),
                            "stage": letter.stage,
                            "path": letter.path,
                            "rule": letter.rule,
                            "mapping": letter.mapping,
                            "attempts": letter.attempts,
                        })
                    })
                    .collect();
                json!({
                    "pipeline": pipeline,
                    "stream": stream,
                    "run": run,
                    "outcome": result.outcome,
                    "message": result.message,
                    "counts": result.counts,
                    "watermark": result.watermark,
                    "completeAsOf": result.complete_as_of.map(|instant| instant.to_string()),
                    "parkedUntil": result.parked_until.map(|instant| instant.to_string()),
                    "deadLetterCount": result.dead_letters,
                    "deadLetters": letters,
                    "erasures": result.erasures,
                    "reconciliation": result.reconciliation,
                })
            },
        )
        .collect();
    json!({ "results": results })
}

fn as_table(ended: &[Ended]) -> String {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "pipeline",
        "stream",
        "outcome",
        "read",
        "delivered",
        "unchanged",
        "suppressed",
        "rejected",
        "watermark",
    ]);
    for Ended {
        pipeline,
        stream,
        result,
        ..
    } in ended
    {
        let counts = &result.counts;
        table.add_row([
            pipeline.clone(),
            stream.clone(),
            result.outcome.reason().as_str().to_owned(),
            counts.read.to_string(),
            counts.delivered.to_string(),
            counts.unchanged.to_string(),
            counts.suppressed.to_string(),
            counts.rejected.to_string(),
            result.watermark.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    let mut text = format!("{table}\n");
    for Ended {
        pipeline,
        stream,
        result,
        letters,
        ..
    } in ended
    {
        let _ = writeln!(text, "{pipeline}/{stream}: {}", result.message);
        for letter in letters {
            let _ = writeln!(
                text,
                "  dead letter {}: {}: {}",
                letter.record_id, letter.path, letter.rule
            );
        }
    }
    text
}
