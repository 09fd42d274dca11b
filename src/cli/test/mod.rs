//! `ferrygate test --files DIR`: mappings held against the examples that are kept beside them.
//!
//! [`example`] is what a file of examples holds, `mapped` what a mapping makes of an example's record, `compare` what differs.

mod compare;
pub mod example;
mod mapped;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use self::compare::differences;
use self::example::{Example, Examples};
use self::mapped::{canonical_sink, map};
use super::files::{EXAMPLES, Manifests};
use crate::api::{CdpSinkSpec, MappingVersionSpec};
use crate::mapping::Plan;
use crate::secrets::Secrets;
use crate::worker::resolve_mapping;

/// Which examples to run, and how the result is shown.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 every example holds; 1 one does not, or could not be read.")]
pub struct TestArgs {
    /// The folder with the mappings and, in files that end in .examples.yaml, their examples.
    #[arg(long)]
    files: PathBuf,
    /// How the result is printed, to standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

/// What became of an example.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// The file.
    file: PathBuf,
    /// The mapping and its version; empty where there is none.
    mapping: String,
    /// The example's name; empty where the file as a whole could not be taken.
    example: String,
    /// What differs, a line each: `- ` what was expected, `+ ` what came of it. Nothing where the example holds.
    differences: Vec<String>,
}

/// Runs the examples, prints the result, and returns the process's exit code.
pub fn run(args: &TestArgs) -> i32 {
    let (manifests, errors) = Manifests::read_all(&args.files);
    for error in &errors {
        eprintln!("error: {error}");
    }
    let mut outcomes = Vec::new();
    let files = manifests.examples();
    for file in files {
        outcomes.extend(run_file(file, &manifests));
    }
    if files.is_empty() {
        eprintln!(
            "error: there is no file that ends in {EXAMPLES} in {}",
            args.files.display()
        );
    }
    match args.output {
        Output::Text => print!("{}", as_text(&outcomes)),
        Output::Json => println!("{}", json!({ "examples": outcomes })),
    }
    let holds = outcomes.iter().all(|outcome| outcome.differences.is_empty());
    i32::from(!holds || !errors.is_empty() || files.is_empty())
}

fn run_file(file: &Path, manifests: &Manifests) -> Vec<Outcome> {
    let failed = |mapping: &str, why: String| Outcome {
        file: file.to_owned(),
        mapping: mapping.to_owned(),
        example: String::new(),
        differences: vec![why],
    };
    let read = fs::read_to_string(file).map_err(|error| error.to_string());
    let documents = read.and_then(|text| Examples::read(&text));
    let documents = match documents {
        Ok(documents) => documents,
        Err(why) => return vec![failed("", why)],
    };
    let secrets = manifests.secrets();
    let mut outcomes = Vec::new();
    for Examples {
        mapping,
        sink,
        examples,
    } in documents
    {
        let version = match resolve_mapping(&mapping, manifests.mapping_versions()) {
            Ok(version) => version,
            Err(error) => {
                let why = error.to_string().replace("spec.mappingRef", "mapping");
                outcomes.push(failed(&mapping.name, why));
                continue;
            }
        };
        let name = format!("{} {}", version.spec.mapping, version.spec.version);
        let found = sink.as_ref().map(|sink| find_sink(manifests, sink));
        let sink = match found.transpose() {
            Ok(sink) => sink,
            Err(why) => {
                outcomes.push(failed(&name, why));
                continue;
            }
        };
        outcomes.extend(examples.iter().map(|example| Outcome {
            file: file.to_owned(),
            mapping: name.clone(),
            example: example.name.clone(),
            differences: run_example(example, &version.spec, sink, &secrets),
        }));
    }
    outcomes
}

fn find_sink<'m>(manifests: &'m Manifests, name: &str) -> Result<&'m CdpSinkSpec, String> {
    let all = || {
        manifests
            .namespaces()
            .flat_map(|(_, namespace)| namespace.sinks.values())
    };
    let there = || {
        let names: Vec<_> = all().map(ResourceExt::name_any).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let found = all().find(|sink| sink.name_any() == name);
    found.map(|sink| &sink.spec).ok_or_else(|| {
        format!(
            "sink: there is no CdpSink {name:?} in the folder; there are: {}",
            there()
        )
    })
}

/// What differs between what an example expects and what the mapping makes of its record.
fn run_example(
    example: &Example,
    spec: &MappingVersionSpec,
    sink: Option<&CdpSinkSpec>,
    secrets: &Secrets,
) -> Vec<String> {
    let canonical;
    let sink = match sink {
        Some(sink) => sink,
        None => match canonical_sink(spec, &example.object) {
            Ok(sink) => {
                canonical = sink;
                &canonical
            }
            Err(why) => return vec![why],
        },
    };
    let mut plan = match Plan::compile(spec, &example.object, sink) {
        Ok(plan) => plan,
        Err(errors) => return errors.iter().map(ToString::to_string).collect(),
    };
    if let Err(error) = plan.read_keys(secrets) {
        return vec![format!(
            "examples need the mapping's keys, in a Secret of the folder that holds one for tests: {error}"
        )];
    }
    match map(example, &plan, sink, spec) {
        Ok(outcome) => {
            let mut lines = differences(example, &outcome);
            let absent = plan.fields().iter().filter(|field| example.field(field).is_none());
            let absent: Vec<&str> = absent.map(String::as_str).collect();
            if !lines.is_empty() && !absent.is_empty() {
                lines.push(format!(
                    "  the record has none of these fields, which are null then: {}",
                    absent.join(", ")
                ));
            }
            lines
        }
        Err(why) => vec![why],
    }
}

fn as_text(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let Outcome {
            file,
            mapping,
            example,
            differences,
        } = outcome;
        let verdict = if differences.is_empty() { "ok    " } else { "FAILED" };
        let parts = [mapping.as_str(), example.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty());
        let parts: Vec<&str> = parts.collect();
        text.push_str(&format!("{verdict} {}: {}\n", file.display(), parts.join(": ")));
        for line in differences {
            text.push_str(&format!("         {line}\n"));
        }
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| !outcome.differences.is_empty())
        .count();
    text.push_str(&format!("{} examples: {failed} failed\n", outcomes.len()));
    text
}

/// A value as the differences show it: its JSON.
fn shown(value: &Value) -> String {
    value.to_string()
}
