//! `ferrygate explain`: why a profile has an id, or a trait, from the state of the streams that delivered it.
//!
//! `gather` joins what the store remembers with what the mapping says, `reveal` reads the record's present values from the CRM
//! for an asker who may, and `show` prints the whole. `on_cluster` has a Job do so where the state is on a volume.

mod gather;
mod on_cluster;
mod reveal;
mod show;

use std::path::Path;

use clap::{Args, ValueEnum};
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use self::gather::{Explanation, Place};
pub use self::on_cluster::ask;
use super::files::{FilesError, Manifests, Namespace};
use super::in_cluster::{Answer, InClusterError, StateArgs};
use super::sealed;
use crate::api::SyncPipeline;
use crate::api::common::exit;
use crate::cluster::{self, ANSWER};
use crate::identity::SecretError;
use crate::secrets;
use crate::source::SourceError;
use crate::state::StateError;

/// How many records are explained at most: a value that more have needs no more examples.
const SHOWN: usize = 20;

/// Nothing is known of what was asked for.
const NOTHING: i32 = 1;

/// Whom to explain, and how the answer is shown.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    place: StateArgs,
    /// A record: its CRM object and id, `Contact/003Qy00000AbCdE`.
    #[arg(long, value_parser = pair::<'/'>, required_unless_present = "identity", conflicts_with = "identity")]
    record: Option<Pair>,
    /// All records with a value of an identity: `email=ada@example.com`. The mapping's transforms are applied to it.
    #[arg(long, value_parser = pair::<'='>)]
    identity: Option<Pair>,
    /// Also this trait: which field it comes from, and what is done to it.
    #[arg(long = "trait")]
    trait_name: Option<String>,
    /// Shows values as the CRM has them now. It reads the record anew, and needs the identity map's key, which stands beside the
    /// stores and is readable for their owner alone. Not on a cluster, where the Job has no credentials of the CRM.
    #[arg(long, requires = "files")]
    reveal: bool,
    /// How the answer is printed, to standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

/// Two words: an object and a record's id, or a kind of identity and a value.
#[derive(Clone, Debug)]
struct Pair(String, String);

fn pair<const SIGN: char>(text: &str) -> Result<Pair, String> {
    match text.split_once(SIGN) {
        Some((first, second)) if !first.is_empty() && !second.is_empty() => Ok(Pair(first.into(), second.into())),
        _ => Err(format!("it must have two parts with {SIGN:?} between them")),
    }
}

/// Why nothing could be explained.
#[derive(Debug, thiserror::Error)]
enum ExplainError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{0}; a value can be looked up, or revealed, only by an asker who may read that key")]
    Secret(#[from] SecretError),
    #[error("{0}; the mapping hashes values of this kind with that key, and they can't be looked up without it")]
    Key(#[from] secrets::SecretError),
    #[error("the record's values could not be read from the CRM: {0}")]
    Source(#[from] SourceError),
    #[error("mapping {mapping} does not compile: {errors}; `ferrygate explain` needs it as it was delivered")]
    Mapping { mapping: String, errors: String },
}

/// Explains, and returns the process's exit code.
pub async fn run(args: ExplainArgs, shutdown: &CancellationToken) -> i32 {
    match (&args.place.files, &args.place.pipeline) {
        (Some(folder), _) => told(&args, explain(&args, folder).await),
        (None, Some(pipeline)) => match on_cluster(&args, pipeline, shutdown).await {
            Ok(answer) => {
                answer.print();
                answer.exit_code
            }
            Err(error) => {
                eprintln!("error: {error}");
                error.exit_code()
            }
        },
        (None, None) => unreachable!("clap requires one of --files, --pipeline"),
    }
}

async fn on_cluster(
    args: &ExplainArgs,
    pipeline: &str,
    shutdown: &CancellationToken,
) -> Result<Answer, InClusterError> {
    let client = cluster::client(ANSWER).await?;
    ask(&client, args, pipeline, shutdown).await
}

fn told(args: &ExplainArgs, explained: Result<Vec<Explanation>, ExplainError>) -> i32 {
    match explained {
        Ok(found) if found.is_empty() => {
            eprintln!(
                "nothing is known of it in {}: it was not delivered, or by a pipeline whose state is elsewhere",
                args.place.state.display()
            );
            NOTHING
        }
        Ok(found) => {
            sealed::print(&match args.output {
                Output::Text => show::as_text(&found),
                Output::Json => format!("{}\n", serde_json::json!({ "explanations": found })),
            });
            0
        }
        Err(error) => {
            eprintln!("error: {error}");
            exit::CONFIGURATION
        }
    }
}

async fn explain(args: &ExplainArgs, folder: &Path) -> Result<Vec<Explanation>, ExplainError> {
    let manifests = Manifests::read(folder)?;
    let mut found = Vec::new();
    for (name, namespace) in manifests.namespaces() {
        let pipelines = namespace.pipelines.values();
        for pipeline in pipelines.filter(|pipeline| {
            args.place
                .pipeline
                .as_ref()
                .is_none_or(|name| *name == pipeline.name_any())
        }) {
            for place in places(args, name, namespace, pipeline) {
                found.extend(explain_in(args, &place).await?);
            }
        }
    }
    Ok(found)
}

/// The streams whose state can tell something.
fn places<'n>(args: &ExplainArgs, name: &str, namespace: &'n Namespace, pipeline: &'n SyncPipeline) -> Vec<Place<'n>> {
    let object = args.record.as_ref().map(|Pair(object, _)| object);
    let streams = pipeline.spec.streams.iter();
    streams
        .filter(|stream| object.is_none_or(|object| *object == stream.object))
        .map(|stream| Place {
            namespace,
            pipeline,
            stream,
            shown: format!("{name}/{}", pipeline.name_any()),
            state: args.place.state.join(name).join(pipeline.name_any()),
        })
        .collect()
}

async fn explain_in(args: &ExplainArgs, place: &Place<'_>) -> Result<Vec<Explanation>, ExplainError> {
    let Some(ledger) = place.ledger()? else {
        return Ok(Vec::new());
    };
    let ids = match (&args.record, &args.identity) {
        (Some(Pair(_, id)), _) => vec![id.clone()],
        (None, Some(Pair(kind, value))) => {
            let hash = place.hash(kind, value)?;
            ledger.records_with(hash, SHOWN)?
        }
        (None, None) => Vec::new(),
    };
    let mut found = Vec::new();
    for id in ids {
        if let Some(whereabouts) = ledger.record(&id)? {
            found.push(gather::explain(
                place,
                &ledger,
                whereabouts,
                args.trait_name.as_deref(),
            )?);
        }
    }
    if args.reveal {
        for explanation in &mut found {
            reveal::reveal(place, explanation).await?;
        }
    }
    Ok(found)
}
