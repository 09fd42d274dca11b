//! `ferrygate validate --files DIR`: everything that is wrong with a folder of manifests, at once.

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

use super::files::{FilesError, Manifests, Namespace};
use super::lost_nulls::{self, lost_nulls};
use crate::api::{MappingVersion, SyncPipeline};
use crate::controller::schedule::Cadence;
use crate::mapping::diff::{compare, predecessor};
use crate::mapping::{CompileError, Plan, lifecycle};
use crate::worker::{resolve_mapping, unerasable};

/// What to validate, and how the findings are shown.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// The folder with the YAML manifests of the four kinds.
    #[arg(long)]
    files: PathBuf,
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
    let findings = findings(&manifests, errors, now);
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

/// All findings: what could not be read first, then by namespace, kind and name.
pub fn findings(manifests: &Manifests, unread: Vec<FilesError>, now: Timestamp) -> Vec<Finding> {
    let mut findings: Vec<Finding> = unread.into_iter().map(of_file).collect();
    for (namespace, resources) in manifests.namespaces() {
        for version in resources.mappings.values() {
            let mut report = Report::new(manifests, namespace, version, &mut findings);
            mapping(version, resources, now.to_zoned(TimeZone::UTC).date(), &mut report);
        }
        for one in resources.pipelines.values() {
            let mut report = Report::new(manifests, namespace, one, &mut findings);
            pipeline(one, namespace, resources, now, &mut report);
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

/// What keeps a pipeline from running.
fn pipeline(one: &SyncPipeline, namespace: &str, resources: &Namespace, now: Timestamp, report: &mut Report<'_>) {
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
            return;
        }
    };
    let Some(sink) = sink else { return };
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SOURCE: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: CrmSource
metadata: {name: org}
spec:
  salesforce:
    instanceUrl: https://acme.my.salesforce.com
    auth:
      clientCredentials:
        clientId: {secretKeyRef: {name: s, key: id}}
        clientSecret: {secretKeyRef: {name: s, key: secret}}
";
    const SINK: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: CdpSink
metadata: {name: cdp}
spec:
  segment: {endpoint: https://api.segment.io/v1, writeKey: {secretKeyRef: {name: s, key: k}}}
  identity: {userId: crm_id}
";
    const PIPELINE: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: SyncPipeline
metadata: {name: people}
spec:
  sourceRef: {name: org}
  sinkRef: {name: cdp}
  mappingRef: {name: contact, version: ~1}
  streams: [{name: contacts, object: Contact, schedule: {every: 5m}}]
";

    fn version(number: &str, traits: &str) -> String {
        format!(
            "
apiVersion: ferrygate.io/v1alpha1
kind: MappingVersion
metadata: {{name: contact-{number}}}
spec:
  mapping: contact
  version: {number}
  objects:
    - object: Contact
      entity: Person
      identity: [{{kind: crm_id, from: Id}}]
      traits: [{traits}]
"
        )
    }

    /// The findings of a folder with these files, a line each.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let (manifests, errors) = Manifests::read_all(folder.path());
        let found = findings(&manifests, errors, "2026-05-04T08:00:00Z".parse().unwrap());
        let inside = format!("{}/", folder.path().display());
        found
            .iter()
            .map(|finding| finding.to_string().replace(&inside, ""))
            .collect()
    }

    #[test]
    fn a_folder_in_which_all_is_well_has_no_findings() {
        let first = version("1.0.0", "{trait: email, from: Email, type: String}");
        let second = version(
            "1.1.0",
            "{trait: email, from: Email, type: String}, {trait: vip, from: Vip, type: Boolean}",
        );
        let files = [
            ("a", SOURCE),
            ("b", SINK),
            ("c", PIPELINE),
            ("d", &first),
            ("e", &second),
        ];
        let files = files.map(|(name, text)| (format!("{name}.yaml"), text));
        let files = files.each_ref().map(|(name, text)| (name.as_str(), *text));
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_with_its_file_resource_and_path() {
        let first = version(
            "1.0.0",
            "{trait: email, from: Email, type: String}, {trait: vip, from: Vip, type: Boolean}",
        );
        let second = version(
            "1.0.1",
            "{trait: email, from: Email, cel: record., type: String}, {trait: email, from: E, type: String}",
        );
        let old = version(
            "0.9.0",
            "{trait: fax, from: Fax, type: String, deprecated: {since: 0.9.0, removeAfter: '2026-05-04'}}",
        );
        let source = SOURCE.replace("  salesforce:", "  color: blue\n  flavour: sour\n  salesforce:");
        let sink = SINK.replace("userId: crm_id", "userId: crmid");
        let pipeline = PIPELINE
            .replace("name: org", "name: orc")
            .replace("every: 5m", "cron: 0 0 31 2 *")
            .replace("object: Contact", "object: Contract");
        let found = found(&[
            ("a.yaml", "a: ["),
            ("b.yaml", &source),
            ("c.yaml", &sink),
            ("d.yaml", &pipeline),
            ("e.yaml", &first),
            ("f.yaml", &second),
            ("g.yaml", &old),
        ]);
        let expected = [
            "error: a.yaml: line 1 column 4: unclosed bracket",
            "error: b.yaml: CrmSource org: spec.color: unknown field",
            "error: b.yaml: CrmSource org: spec.flavour: unknown field",
            "error: f.yaml: MappingVersion contact-1.0.1: spec.objects[0].traits[0]: a trait has exactly one of from, cel",
            "warning: g.yaml: MappingVersion contact-0.9.0: spec.objects[0].traits[0].deprecated: trait \"fax\" of Contact may be",
            "error: f.yaml: MappingVersion contact-1.0.1: spec.objects[0].traits[1].trait: \"email\" is already traits[0]",
            "error: f.yaml: MappingVersion contact-1.0.1: spec.version: 1.0.1 is too low for what changed since 1.0.0: ",
            "error: d.yaml: SyncPipeline people: spec.streams[0]: schedule.cron \"0 0 31 2 *\" never fires",
            "error: d.yaml: SyncPipeline people: spec.sourceRef.name: there is no CrmSource \"orc\" in its namespace; there are: org",
            "error: d.yaml: SyncPipeline people: spec.streams[0]: MappingVersion contact-1.0.1 does not serve this pipeline: \
             spec.objects: mapping contact 1.0.1 has no object \"Contract\"; did you mean \"Contact\"?",
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (line, beginning) in found.iter().zip(expected) {
            assert!(
                line.starts_with(beginning),
                "{line:?} does not begin with {beginning:?}\n{found:#?}"
            );
        }
    }

    #[test]
    fn a_pipeline_is_told_what_its_sink_lacks_and_which_versions_there_are() {
        let sink = SINK.replace("userId: crm_id", "userId: crmid");
        let first = version("1.0.0", "");
        let apart = [
            ("a.yaml", SOURCE),
            ("b.yaml", &sink),
            ("c.yaml", PIPELINE),
            ("d.yaml", &first),
        ];
        assert_eq!(
            found(&apart),
            [
                "error: c.yaml: SyncPipeline people: spec.streams[0]: MappingVersion contact-1.0.0 does not serve this pipeline: \
                 CdpSink spec.identity.userId: object Contact of the mapping has no identity of kind \"crmid\"; did you mean \
                 \"crm_id\"?"
            ]
        );
        let pipeline = PIPELINE.replace("~1", "~2");
        let none = [
            ("a.yaml", SOURCE),
            ("b.yaml", SINK),
            ("c.yaml", &pipeline),
            ("d.yaml", &first),
        ];
        assert_eq!(
            found(&none),
            [
                "error: c.yaml: SyncPipeline people: spec.mappingRef.version: mapping \"contact\" has no version that fits \"~2\"; \
                 versions: 1.0.0"
            ]
        );
    }

    #[test]
    fn a_stream_that_erases_is_told_what_its_sink_and_its_mapping_lack() {
        let pipeline = PIPELINE.replace("{every: 5m}", "{every: 5m}, deletes: Erase");
        let first = version("1.0.0", "");
        let files = [
            ("a.yaml", SOURCE),
            ("b.yaml", SINK),
            ("c.yaml", &*pipeline),
            ("d.yaml", &*first),
        ];
        let beginnings = [
            "Erase needs spec.segment.privacyApi of the CdpSink",
            "Erase needs mergedInto of Contact in the mapping",
        ];
        let found = found(&files);
        assert_eq!(found.len(), beginnings.len(), "{found:#?}");
        for (line, beginning) in found.iter().zip(beginnings) {
            let beginning = format!("error: c.yaml: SyncPipeline people: spec.streams[0].deletes: {beginning}");
            assert!(line.starts_with(&beginning), "{line}");
        }
    }

    #[test]
    fn the_schema_of_a_kind_is_held_as_the_api_server_does_and_all_of_it_at_once() {
        let broken = version("1.0.0.0", "{trait: email, form: Email, type: Strin}, {trait: vip, type: Boolean, cel: 'true', transforms: [{tirm: {}}]}")
            .replace("mapping: contact", "mapping: Contact");
        let found = found(&[("a.yaml", &broken)]);
        let all = found.join("\n");
        for words in [
            "spec.mapping: the value does not match",
            "spec.version: the value does not match",
            "spec.objects[0].traits[0].form: unknown field; did you mean \"from\"?",
            "spec.objects[0].traits[0].type: unknown variant `Strin`, expected one of `String`",
            "spec.objects[0].traits[1].transforms[0].tirm: unknown field; did you mean \"trim\"?",
        ] {
            assert!(
                all.contains(&format!("error: a.yaml: MappingVersion contact-1.0.0.0: {words}")),
                "{words}\n{all}"
            );
        }
    }

    #[test]
    fn a_null_that_is_lost_on_the_way_to_the_cluster_is_told() {
        let projection = "  projections: [{cdp: segment, entity: Person, traits: {fax: null, vip: \"Null\"}}]\n";
        let traits = "{trait: fax, from: Fax, type: String}, {trait: vip, from: Vip, type: Boolean}";
        let version = format!("{}{projection}", version("1.0.0", traits));
        assert_eq!(
            found(&[("a.yaml", &version)]),
            [format!(
                "warning: a.yaml: MappingVersion contact-1.0.0: spec.projections[0].traits.fax: {}",
                lost_nulls::WORDS
            )]
        );
    }

    #[test]
    fn the_samples_are_valid() {
        let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config/samples");
        let (manifests, errors) = Manifests::read_all(&samples);
        let found = findings(&manifests, errors, "2026-05-04T08:00:00Z".parse().unwrap());
        assert_eq!((found, manifests.count()), (Vec::new(), 4));
    }

    #[test]
    fn a_version_that_is_there_twice_is_told_of_both() {
        let first = version("1.0.0", "");
        let copy = first.replace("contact-1.0.0", "contact-copy");
        let found = found(&[("a.yaml", &first), ("b.yaml", &copy)]);
        let words = "spec.version: the same version of the mapping is in";
        let told: Vec<_> = found.iter().filter(|line| line.contains(words)).collect();
        assert_eq!(told.len(), 2, "{found:?}");
    }
}
