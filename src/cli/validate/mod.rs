//! `ferrygate validate --files DIR`: everything that is wrong with a folder of manifests, at once.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kube::{Resource, ResourceExt};
use semver::Version;
use serde::Serialize;
use serde_json::json;

use super::described::Described;
use super::files::{FilesError, Manifests, Namespace};
use super::lost_nulls::{self, lost_nulls};
use crate::api::{CdpSink, MappingVersion, SyncPipeline};
use crate::controller::schedule::Cadence;
use crate::mapping::diff::{compare, predecessor};
use crate::mapping::{CompileError, Plan, findings as fitting, lifecycle};
use crate::worker::{resolve_mapping, unerasable};

/// What to validate, and how the findings are shown.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The folder with the YAML manifests of the four kinds.
    #[arg(long)]
    files: PathBuf,
    /// A file of `ferrygate describe`: mappings are held against the CRM's objects as well, as a run and the condition
    /// `SchemaAligned` do.
    #[arg(long)]
    schema: Option<PathBuf>,
    /// How the findings are printed, to standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How the findings are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// A finding a line.
    Text,
    /// For a program.
    Json,
}

/// Something that a person should know of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, or folder, that it is in.
    pub file: PathBuf,
    /// Kind and name of the resource; empty where a file as a whole is wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// Where in the resource; empty where it is wrong as a whole.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Severity {
    /// The API server or the controller would refuse it.
    Error,
    /// It works, and somebody should look at it.
    Warning,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(out, "{severity}: {}: ", self.file.display())?;
        for part in [&self.resource, &self.path] {
            if !part.is_empty() {
                write!(out, "{part}: ")?;
            }
        }
        out.write_str(&self.message)
    }
}

/// Validates, prints the findings, and returns the process's exit code: 0 without an error, 1 with one.
pub fn run(args: &ValidateArgs, now: Timestamp) -> i32 {
    let (manifests, errors) = Manifests::read_all(&args.files);
    let schema = match args.schema.as_deref().map(Described::read).transpose() {
        Ok(schema) => schema,
        Err(error) => {
            eprintln!("error: {error}");
            return 1;
        }
    };
    let findings = findings(&manifests, errors, schema.as_ref(), now);
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    match args.output {
        Output::Json => println!(
            "{}",
            json!({"resources": manifests.count(), "errors": errors, "warnings": warnings, "findings": findings})
        ),
        Output::Text => {
            for finding in &findings {
                println!("{finding}");
            }
            println!("{} resources: {errors} errors, {warnings} warnings", manifests.count());
        }
    }
    i32::from(errors > 0)
}

/// All findings: what could not be read first, then by namespace, kind and name. With a `schema`, how mappings fit the CRM's objects.
pub fn findings(
    manifests: &Manifests,
    unread: Vec<FilesError>,
    schema: Option<&Described>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = unread.into_iter().map(of_file).collect();
    for (namespace, resources) in manifests.namespaces() {
        for version in resources.mappings.values() {
            let mut report = Report::new(manifests, namespace, version, &mut findings);
            mapping(version, resources, now.to_zoned(TimeZone::UTC).date(), &mut report);
        }
        for one in resources.pipelines.values() {
            let mut report = Report::new(manifests, namespace, one, &mut findings);
            if let Some(fitting) = pipeline(one, namespace, resources, now, &mut report)
                && let Some(schema) = schema
            {
                fits(one, namespace, fitting, schema, &mut report);
            }
        }
    }
    findings
}

fn of_file(error: FilesError) -> Finding {
    let (file, resource, text) = match error {
        FilesError::Unreadable { path, cause } => (path, String::new(), cause.to_string()),
        // The lines after the first show the place in the text.
        FilesError::NoYaml { path, cause } => {
            let first = cause.lines().next().unwrap_or_default();
            (path, String::new(), first.trim_start_matches("error: ").to_owned())
        }
        FilesError::Invalid { path, resource, cause } => (path, resource, cause),
        FilesError::Twice { path, resource } => (
            path,
            resource,
            "is in this folder twice; remove one of the two".to_owned(),
        ),
    };
    let (path, message) = split(&text);
    Finding {
        severity: Severity::Error,
        file,
        resource,
        path,
        message,
    }
}

/// The path that an error's words begin with, and the rest of them.
fn split(text: &str) -> (String, String) {
    match text.split_once(": ") {
        Some((path, message))
            if ["spec.", "metadata.", "apiVersion", "kind"]
                .iter()
                .any(|start| path.starts_with(start)) =>
        {
            (path.to_owned(), message.to_owned())
        }
        _ => (String::new(), text.to_owned()),
    }
}

/// Where the findings of one resource go.
struct Report<'r> {
    file: PathBuf,
    resource: String,
    findings: &'r mut Vec<Finding>,
}

impl<'r> Report<'r> {
    fn new<K>(manifests: &Manifests, namespace: &str, resource: &K, findings: &'r mut Vec<Finding>) -> Self
    where
        K: Resource<DynamicType = ()>,
    {
        let (kind, name) = (K::kind(&()), resource.name_any());
        let file = manifests.file_of(namespace, &kind, &name);
        Report {
            file: file.map(ToOwned::to_owned).unwrap_or_default(),
            resource: format!("{kind} {name}"),
            findings,
        }
    }

    fn add(&mut self, severity: Severity, path: impl Into<String>, message: impl Into<String>) {
        let finding = Finding {
            severity,
            file: self.file.clone(),
            resource: self.resource.clone(),
            path: path.into(),
            message: message.into(),
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    fn all(&mut self, severity: Severity, these: impl IntoIterator<Item = CompileError>) {
        for CompileError { path, message } in these {
            self.add(severity, path, message);
        }
    }
}

/// What is wrong with a mapping version as it stands, and beside its siblings in the folder.
fn mapping(version: &MappingVersion, resources: &Namespace, today: Date, report: &mut Report<'_>) {
    report.all(Severity::Error, Plan::check_spec(&version.spec));
    let Ok(number) = Version::parse(&version.spec.version) else {
        return;
    };
    let siblings = resources
        .mappings
        .values()
        .filter(|other| other.spec.mapping == version.spec.mapping && other.metadata.name != version.metadata.name);
    let siblings: Vec<_> = siblings
        .filter_map(|other| Some((Version::parse(&other.spec.version).ok()?, other)))
        .collect();
    for (_, twin) in siblings.iter().filter(|(other, _)| *other == number) {
        let message = format!(
            "the same version of the mapping is in {} as well; delete one",
            twin.name_any()
        );
        report.add(Severity::Error, "spec.version", message);
    }
    if let Some(before) = predecessor(&number, siblings) {
        report.all(
            Severity::Error,
            compare(&before.spec, &version.spec, today).misnumbered(),
        );
    }
    for path in lost_nulls(&report.file, &version.name_any()) {
        report.add(Severity::Warning, path, lost_nulls::WORDS);
    }
    report.all(Severity::Warning, lifecycle::loose_ends(&version.spec));
    report.all(Severity::Warning, lifecycle::review_due(&version.spec, today));
    report.all(Severity::Warning, lifecycle::removals_due(&version.spec, today));
}

/// What keeps a pipeline from running. Returns the mapping version and the sink that it would run with.
fn pipeline<'n>(
    one: &SyncPipeline,
    namespace: &str,
    resources: &'n Namespace,
    now: Timestamp,
    report: &mut Report<'_>,
) -> Option<(&'n MappingVersion, &'n CdpSink)> {
    let spec = &one.spec;
    for (position, stream) in spec.streams.iter().enumerate() {
        let identity = format!("{namespace}/{}/{}", one.name_any(), stream.name);
        if let Err(error) = Cadence::of(&stream.schedule, &identity, now) {
            report.add(Severity::Error, format!("spec.streams[{position}]"), error.to_string());
        }
    }
    let source = &spec.source_ref.name;
    if !resources.sources.contains_key(source) {
        let message = absent("CrmSource", source, &resources.sources);
        report.add(Severity::Error, "spec.sourceRef.name", message);
    }
    let sink = resources.sinks.get(&spec.sink_ref.name);
    if sink.is_none() {
        let message = absent("CdpSink", &spec.sink_ref.name, &resources.sinks);
        report.add(Severity::Error, "spec.sinkRef.name", message);
    }
    let version = match resolve_mapping(&spec.mapping_ref, resources.mappings.values()) {
        Ok(version) => version,
        Err(error) => {
            let (path, message) = split(&error.to_string());
            report.add(Severity::Error, path, message);
            return None;
        }
    };
    let sink = sink?;
    report.all(Severity::Error, unerasable(spec, &version.spec, &sink.spec));
    // These are told of the mapping version itself.
    let known = Plan::check_spec(&version.spec);
    for (position, stream) in spec.streams.iter().enumerate() {
        let errors = Plan::compile(&version.spec, &stream.object, &sink.spec)
            .err()
            .unwrap_or_default();
        for error in errors.iter().filter(|error| !known.contains(error)) {
            let message = format!(
                "MappingVersion {} does not serve this pipeline: {error}",
                version.name_any()
            );
            report.add(Severity::Error, format!("spec.streams[{position}]"), message);
        }
    }
    Some((version, sink))
}

/// How a pipeline's mapping fits the objects as the CRM describes them, in the words of a run.
fn fits(
    one: &SyncPipeline,
    namespace: &str,
    (version, sink): (&MappingVersion, &CdpSink),
    schema: &Described,
    report: &mut Report<'_>,
) {
    let source = &one.spec.source_ref.name;
    for (position, stream) in one.spec.streams.iter().enumerate() {
        let path = format!("spec.streams[{position}]");
        let object = &stream.object;
        let Some(description) = schema.object(namespace, source, object) else {
            let message = format!("the file of the schema does not describe {object} of CrmSource {source:?}");
            report.add(Severity::Warning, path, message);
            continue;
        };
        // What keeps it from compiling is told already.
        let Ok(plan) = Plan::compile(&version.spec, object, &sink.spec) else {
            continue;
        };
        let mut add = |severity, place: &str, what: &str| {
            let name = version.name_any();
            let message =
                format!("MappingVersion {name} does not fit {object} of CrmSource {source:?}: {place}: {what}");
            report.add(severity, path.clone(), message);
        };
        for lacking in plan.check_schema(description).err().unwrap_or_default() {
            add(Severity::Error, &lacking.path, &lacking.message);
        }
        for found in fitting(&version.spec, description, &sink.spec) {
            let severity = if found.fatal {
                Severity::Error
            } else {
                Severity::Warning
            };
            add(severity, &found.path, &found.message);
        }
    }
}

fn absent<K>(kind: &str, name: &str, there: &BTreeMap<String, K>) -> String {
    let there: Vec<&str> = there.keys().map(String::as_str).collect();
    let there = if there.is_empty() {
        "none".to_owned()
    } else {
        there.join(", ")
    };
    format!("there is no {kind} {name:?} in its namespace; there are: {there}")
}
