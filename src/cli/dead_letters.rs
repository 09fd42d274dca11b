//! `ferrygate dead-letters`: what could not be delivered, and what is to become of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::files::{FilesError, Manifests};
use super::in_cluster::{self, Answer, InClusterError, Question, StateArgs};
use super::{run_now, sealed};
use crate::api::common::exit;
use crate::cluster::{self, ANSWER};
use crate::state::{DeadLetter, Letters, StateError, Which};

/// There is no such letter.
const NOTHING: i32 = 1;

/// What is to become of dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Shows them: the record, where it was rejected, and by which rule.
    List(ListArgs),
    /// Has the next run read their records again, by the mapping as it then is. Who is delivered loses the letter.
    Replay(ChosenArgs),
    /// Forgets them, for good. A later version of such a record is dealt with as any.
    Discard(ChosenArgs),
}

/// Which letters are shown, and how.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    place: StateArgs,
    #[command(flatten)]
    filter: Filter,
    /// How many are shown of each stream.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// How they are printed, to standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Which letters something is done with.
#[derive(Debug, Args)]
pub struct ChosenArgs {
    #[command(flatten)]
    place: StateArgs,
    #[command(flatten)]
    filter: Filter,
    /// All letters of the pipeline's streams.
    #[arg(long, conflicts_with_all = ["records", "path", "mapping"], required_unless_present_any = ["records", "path", "mapping"])]
    all: bool,
}

/// Which letters.
#[derive(Debug, Args)]
struct Filter {
    /// Only of this stream.
    #[arg(long)]
    stream: Option<String>,
    /// Only of this record, by the CRM's id; may be repeated.
    #[arg(long = "record", id = "records")]
    records: Vec<String>,
    /// Only with this path, as `traits[stage]`.
    #[arg(long)]
    path: Option<String>,
    /// Only of this mapping and version, as `customer 2.1.0`.
    #[arg(long)]
    mapping: Option<String>,
}

/// How letters are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

#[derive(Debug, thiserror::Error)]
enum LettersError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Does what is asked, and returns the process's exit code.
pub async fn run(asked: DeadLetters, shutdown: &CancellationToken) -> i32 {
    let Some(files) = &asked.place().files else {
        return on_cluster(&asked, shutdown).await;
    };
    match in_folder(&asked, files, Timestamp::now()) {
        Ok((found, text)) => {
            sealed::print(&text);
            if found || matches!(asked, DeadLetters::List(_)) {
                0
            } else {
                NOTHING
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            exit::CONFIGURATION
        }
    }
}

impl DeadLetters {
    fn place(&self) -> &StateArgs {
        match self {
            DeadLetters::List(args) => &args.place,
            DeadLetters::Replay(args) | DeadLetters::Discard(args) => &args.place,
        }
    }

    fn filter(&self) -> &Filter {
        match self {
            DeadLetters::List(args) => &args.filter,
            DeadLetters::Replay(args) | DeadLetters::Discard(args) => &args.filter,
        }
    }
}

/// One stream's letters, and what became of them.
struct Stream {
    pipeline: String,
    name: String,
}

/// Does it in a folder of state; tells whether there was any such letter, and what is to be printed.
fn in_folder(asked: &DeadLetters, files: &Path, now: Timestamp) -> Result<(bool, String), LettersError> {
    let (place, filter) = (asked.place(), asked.filter());
    let which = Which {
        records: filter.records.clone(),
        path: filter.path.clone(),
        mapping: filter.mapping.clone(),
    };
    let wanted = |name: &Option<String>, found: &str| name.as_ref().is_none_or(|name| name == found);
    let (mut any, mut text, mut all) = (false, String::new(), Vec::new());
    for (namespace, resources) in Manifests::read(files)?.namespaces() {
        let pipelines = resources.pipelines.values();
        for pipeline in pipelines.filter(|pipeline| wanted(&place.pipeline, &pipeline.name_any())) {
            let folder = place.state.join(namespace).join(pipeline.name_any());
            let streams = pipeline.spec.streams.iter();
            for stream in streams.filter(|stream| wanted(&filter.stream, &stream.name)) {
                let Some(mut letters) = Letters::open(&folder, &stream.name)? else {
                    continue;
                };
                let of = Stream {
                    pipeline: format!("{namespace}/{}", pipeline.name_any()),
                    name: stream.name.clone(),
                };
                match asked {
                    DeadLetters::List(args) => {
                        let (found, count) = letters.list(&which, args.limit)?;
                        any |= count > 0;
                        match args.output {
                            Output::Text => of.show(&found, count, &mut text),
                            Output::Json => all.extend(found.iter().map(|letter| of.as_json(letter))),
                        }
                    }
                    DeadLetters::Replay(_) => {
                        let count = letters.replay(&which, now)?;
                        any |= count > 0;
                        of.tell(count, "are read again by the next run", &mut text);
                    }
                    DeadLetters::Discard(_) => {
                        let count = letters.discard(&which)?;
                        any |= count > 0;
                        of.tell(count, "are discarded", &mut text);
                    }
                }
            }
        }
    }
    match asked {
        DeadLetters::List(ListArgs {
            output: Output::Json, ..
        }) => text = format!("{}\n", json!({"deadLetters": all})),
        _ if text.is_empty() => text.push_str("there is no such dead letter\n"),
        _ => {}
    }
    Ok((any, text))
}

impl Stream {
    fn show(&self, letters: &[DeadLetter], count: i64, text: &mut String) {
        for letter in letters {
            let DeadLetter {
                record_id,
                stage,
                path,
                rule,
                mapping,
                first,
                last,
                attempts,
                stamp: _,
            } = letter;
            // Text takes whatever is written.
            let _ = writeln!(
                text,
                "{} {}: {record_id}: {stage}: {path}: {rule} ({mapping}; {attempts} times, from {first:.0} to {last:.0})",
                self.pipeline, self.name
            );
        }
        let hidden = count - i64::try_from(letters.len()).unwrap_or_default();
        if hidden > 0 {
            let _ = writeln!(
                text,
                "{} {}: {hidden} more; --limit shows them",
                self.pipeline, self.name
            );
        }
    }

    fn tell(&self, count: usize, what: &str, text: &mut String) {
        if count > 0 {
            let _ = writeln!(text, "{} {}: {count} dead letters {what}", self.pipeline, self.name);
        }
    }

    fn as_json(&self, letter: &DeadLetter) -> Value {
        json!({
            "pipeline": self.pipeline,
            "stream": self.name,
            "record": letter.record_id,
            "stamp": letter.stamp.to_string(),
            "stage": letter.stage,
            "path": letter.path,
            "rule": letter.rule,
            "mapping": letter.mapping,
            "first": letter.first.to_string(),
            "last": letter.last.to_string(),
            "attempts": letter.attempts,
        })
    }
}

async fn on_cluster(asked: &DeadLetters, shutdown: &CancellationToken) -> i32 {
    let answered = async {
        let client = cluster::client(ANSWER).await?;
        ask(&client, asked, shutdown).await
    };
    match answered.await {
        Ok(answer) => {
            answer.print();
            answer.exit_code
        }
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_code()
        }
    }
}

/// Does it on a cluster. A replay also asks for a run.
///
/// # Errors
/// Where there is no answer: the API server refuses, or the Job has not ended in time.
pub async fn ask(client: &Client, asked: &DeadLetters, shutdown: &CancellationToken) -> Result<Answer, InClusterError> {
    let place = asked.place();
    let pipeline = place.pipeline.as_deref().unwrap_or_default();
    let (words, private) = words(asked);
    let question = Question {
        pipeline,
        purpose: "dead-letters",
        words,
        private,
    };
    let answer = in_cluster::ask(client, &place.cluster, question, shutdown).await?;
    if answer.exit_code == 0 && matches!(asked, DeadLetters::Replay(_)) {
        run_now::request(client.clone(), place.cluster.namespace(client), pipeline).await?;
    }
    Ok(answer)
}

/// The words of the command, and what of them stands in no spec: the records' ids.
fn words(asked: &DeadLetters) -> (Vec<String>, BTreeMap<String, String>) {
    let filter = asked.filter();
    let mut words = vec!["dead-letters".to_owned()];
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    match asked {
        DeadLetters::List(args) => {
            let output = args.output.to_possible_value();
            let output = output.as_ref().map_or("text", |value| value.get_name());
            add(&["list", "--limit", &args.limit.to_string(), "--output", output]);
        }
        DeadLetters::Replay(_) => add(&["replay"]),
        DeadLetters::Discard(_) => add(&["discard"]),
    }
    for (flag, value) in [
        ("--stream", &filter.stream),
        ("--path", &filter.path),
        ("--mapping", &filter.mapping),
    ] {
        if let Some(value) = value {
            add(&[flag, value]);
        }
    }
    if matches!(asked, DeadLetters::Replay(args) | DeadLetters::Discard(args) if args.all) {
        add(&["--all"]);
    }
    let mut private = BTreeMap::new();
    for (number, record) in filter.records.iter().enumerate() {
        let name = format!("RECORD_{number}");
        add(&["--record", &format!("$({name})")]);
        private.insert(name, record.clone());
    }
    (words, private)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        asked: DeadLetters,
    }

    fn asked(words: &str) -> Result<(String, BTreeMap<String, String>), clap::error::ErrorKind> {
        let line = Line::try_parse_from(["dead-letters"].into_iter().chain(words.split(' ')));
        let (words, private) = super::words(&line.map_err(|error| error.kind())?.asked);
        Ok((words.join(" "), private))
    }

    #[test]
    fn a_job_is_asked_the_same_and_its_spec_names_no_record() {
        let (words, private) = asked("replay --pipeline people --stream contacts --record 003A --record 003B").unwrap();
        assert_eq!(
            words,
            "dead-letters replay --stream contacts --record $(RECORD_0) --record $(RECORD_1)"
        );
        assert_eq!(private.into_values().collect::<Vec<_>>(), ["003A", "003B"]);
        let (words, _) = asked("list --pipeline people --path traits[stage] --limit 5 --output json").unwrap();
        assert_eq!(words, "dead-letters list --limit 5 --output json --path traits[stage]");
    }

    #[test]
    fn nothing_is_done_with_letters_that_nobody_named() {
        use clap::error::ErrorKind::{ArgumentConflict, MissingRequiredArgument};
        let refused = [
            "discard --pipeline people",
            "replay --pipeline people",
            "list",
            "discard --pipeline people --all --path x",
        ];
        assert_eq!(
            refused.map(|words| asked(words).unwrap_err()),
            [
                MissingRequiredArgument,
                MissingRequiredArgument,
                MissingRequiredArgument,
                ArgumentConflict
            ]
        );
        assert_eq!(
            asked("discard --pipeline people --all").unwrap().0,
            "dead-letters discard --all"
        );
    }
}
