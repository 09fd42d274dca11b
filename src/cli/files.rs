//! Manifests from a folder: the four kinds and Secrets, read as strictly as the API server would.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::{fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::ResourceExt;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::debug;

use super::schema::{self, Schema};
use crate::api::common::SecretKeySelector;
use crate::api::{CdpSink, CrmSource, GROUP, MappingVersion, SyncPipeline};
use crate::secrets::Secrets;

/// The namespace of a manifest that names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// What a folder holds, namespace by namespace.
#[derive(Debug, Default)]
pub struct Manifests {
    namespaces: BTreeMap<String, Namespace>,
    /// The files that were read, by namespace, kind and name of the resources in them.
    files: BTreeMap<(String, String, String), PathBuf>,
    examples: Vec<PathBuf>,
}

/// How the name of a file ends that holds examples of a mapping, and no resources.
pub const EXAMPLES: &str = ".examples.yaml";

/// The resources of one namespace: references never leave it.
#[derive(Debug, Default)]
pub struct Namespace {
    /// The sources, by name.
    pub sources: BTreeMap<String, CrmSource>,
    /// The sinks, by name.
    pub sinks: BTreeMap<String, CdpSink>,
    /// The mapping versions, by name.
    pub mappings: BTreeMap<String, MappingVersion>,
    /// The pipelines, by name.
    pub pipelines: BTreeMap<String, SyncPipeline>,
    secrets: BTreeMap<SecretKeySelector, SecretString>,
}

/// Why a folder could not be read. Each names the file, and the resource and the field where there are any.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The folder or a file could not be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file is no YAML.
    #[error("{}: {cause}", path.display())]
    NoYaml {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        cause: String,
    },
    /// A resource is not of its kind's form.
    #[error("{}: {resource}: {cause}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Its kind and name.
        resource: String,
        /// The field and the rule.
        cause: String,
    },
    /// Two manifests are of the same resource.
    #[error("{}: {resource} is in this folder twice; remove one of the two", path.display())]
    Twice {
        /// The file of the second.
        path: PathBuf,
        /// Its kind and name.
        resource: String,
    },
}

impl Manifests {
    /// Reads all `.yaml`, `.yml` and `.json` files of a folder and the folders in it.
    ///
    /// # Errors
    /// At the first file, in the order of the paths, that holds something wrong.
    pub fn read(folder: &Path) -> Result<Self, FilesError> {
        let (manifests, errors) = Manifests::read_all(folder);
        match errors.into_iter().next() {
            None => Ok(manifests),
            Some(error) => Err(error),
        }
    }

    /// Reads as [`Manifests::read`] does, and goes on where something is wrong: returns what could be read, and all errors in the
    /// order of the paths.
    pub fn read_all(folder: &Path) -> (Self, Vec<FilesError>) {
        let (mut paths, mut errors) = (Vec::new(), Vec::new());
        if let Err(error) = collect(folder, &mut paths) {
            errors.push(error);
        }
        paths.sort();
        let mut manifests = Manifests::default();
        for path in paths {
            if path.to_string_lossy().ends_with(EXAMPLES) {
                manifests.examples.push(path);
            } else {
                manifests.add_file(&path, &mut errors);
            }
        }
        (manifests, errors)
    }

    /// The files with examples, by their paths. They are read by `ferrygate test` alone.
    pub fn examples(&self) -> &[PathBuf] {
        &self.examples
    }

    /// Reads one file.
    pub fn read_file(path: &Path) -> (Self, Vec<FilesError>) {
        let (mut manifests, mut errors) = (Manifests::default(), Vec::new());
        manifests.add_file(path, &mut errors);
        (manifests, errors)
    }

    /// The file that a resource was read from.
    pub fn file_of(&self, namespace: &str, kind: &str, name: &str) -> Option<&Path> {
        let key = (namespace.to_owned(), kind.to_owned(), name.to_owned());
        self.files.get(&key).map(PathBuf::as_path)
    }

    /// The mapping versions of all namespaces; where several have the very same one, it is one.
    pub fn mapping_versions(&self) -> Vec<&MappingVersion> {
        let mut found: Vec<&MappingVersion> = Vec::new();
        let all = self
            .namespaces
            .values()
            .flat_map(|namespace| namespace.mappings.values());
        for version in all {
            let is_same =
                |other: &&MappingVersion| other.name_any() == version.name_any() && other.spec == version.spec;
            if !found.iter().any(is_same) {
                found.push(version);
            }
        }
        found
    }

    /// The Secrets of all namespaces.
    pub fn secrets(&self) -> Secrets {
        let all = self.namespaces.values().flat_map(|namespace| namespace.secrets.clone());
        Secrets::Manifests(all.collect())
    }

    /// How many resources of the four kinds there are.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    fn add_file(&mut self, path: &Path, errors: &mut Vec<FilesError>) {
        match documents(path) {
            Ok(documents) => documents
                .into_iter()
                .for_each(|document| self.add(path, document, errors)),
            Err(error) => errors.push(error),
        }
    }

    /// The namespaces, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        self.namespaces
            .iter()
            .map(|(name, namespace)| (name.as_str(), namespace))
    }

    fn add(&mut self, path: &Path, document: Value, errors: &mut Vec<FilesError>) {
        if document.is_null() {
            return;
        }
        let text = |pointer: &str| {
            document
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
        if kind == "List" || kind.ends_with("List") && document["items"].is_array() {
            let items = document["items"].as_array().cloned().unwrap_or_default();
            return items.into_iter().for_each(|item| self.add(path, item, errors));
        }
        let namespace = match text("/metadata/namespace") {
            empty if empty.is_empty() => DEFAULT_NAMESPACE.to_owned(),
            named => named,
        };
        let place = Place {
            path,
            resource: format!("{kind} {name}"),
        };
        let ours = self.namespaces.entry(namespace.clone()).or_default();
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        match (group, kind.as_str()) {
            (group, "CrmSource" | "CdpSink" | "MappingVersion" | "SyncPipeline") if group == GROUP => {
                if version != "v1alpha1" {
                    errors
                        .push(place.invalid(format!("apiVersion: {api_version} is not served; use {GROUP}/v1alpha1")));
                    return;
                }
                if name.is_empty() {
                    errors.push(place.invalid("metadata.name: must be given"));
                    return;
                }
                let Some(schema) = Schema::of(&kind) else { return };
                match kind.as_str() {
                    "CrmSource" => place.insert(&mut ours.sources, document, schema, errors),
                    "CdpSink" => place.insert(&mut ours.sinks, document, schema, errors),
                    "MappingVersion" => place.insert(&mut ours.mappings, document, schema, errors),
                    _ => place.insert(&mut ours.pipelines, document, schema, errors),
                }
                self.files
                    .entry((namespace, kind, name))
                    .or_insert_with(|| path.to_owned());
            }
            (group, other) if group == GROUP => errors.push(place.invalid(format!(
                "kind: {other} is not a kind of {GROUP}; there are CrmSource, CdpSink, MappingVersion and SyncPipeline"
            ))),
            ("", "Secret") => errors.extend(place.insert_secret(&mut ours.secrets, document).err()),
            _ => debug!(file = %path.display(), kind, "passed over: not a kind that a sync reads"),
        }
    }
}

pub(super) fn documents(path: &Path) -> Result<Vec<Value>, FilesError> {
    let text = fs::read_to_string(path).map_err(|cause| FilesError::Unreadable {
        path: path.to_owned(),
        cause,
    })?;
    serde_saphyr::from_multiple(&text).map_err(|cause| FilesError::NoYaml {
        path: path.to_owned(),
        cause: cause.to_string(),
    })
}

impl Namespace {
    /// A namespace with these resources, by name, and no Secrets.
    pub fn of(
        sources: BTreeMap<String, CrmSource>,
        sinks: BTreeMap<String, CdpSink>,
        mappings: BTreeMap<String, MappingVersion>,
        pipelines: BTreeMap<String, SyncPipeline>,
    ) -> Namespace {
        Namespace {
            sources,
            sinks,
            mappings,
            pipelines,
            secrets: BTreeMap::new(),
        }
    }

    /// The Secrets, to be read by a run.
    pub fn secrets(&self) -> Secrets {
        Secrets::Manifests(self.secrets.clone())
    }
}

/// Where a resource stands.
struct Place<'a> {
    path: &'a Path,
    resource: String,
}

impl Place<'_> {
    fn invalid(&self, cause: impl Display) -> FilesError {
        FilesError::Invalid {
            path: self.path.to_owned(),
            resource: self.resource.clone(),
            cause: cause.to_string(),
        }
    }

    fn twice(&self) -> FilesError {
        FilesError::Twice {
            path: self.path.to_owned(),
            resource: self.resource.clone(),
        }
    }

    fn insert<K>(&self, into: &mut BTreeMap<String, K>, document: Value, schema: &Schema, errors: &mut Vec<FilesError>)
    where
        K: DeserializeOwned + Serialize + ResourceExt,
    {
        let Some(read) = self.strictly::<K>(document, schema, errors) else {
            return;
        };
        let broken = schema.broken_rules(&read).into_iter();
        errors.extend(broken.map(|broken| self.invalid(broken)));
        if into.insert(read.name_any(), read).is_some() {
            errors.push(self.twice());
        }
    }

    fn insert_secret(
        &self,
        into: &mut BTreeMap<SecretKeySelector, SecretString>,
        document: Value,
    ) -> Result<(), FilesError> {
        // `data` is taken as text here: its type's own error would quote the value.
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Values {
            #[serde(default)]
            data: BTreeMap<String, String>,
            #[serde(default)]
            string_data: BTreeMap<String, String>,
        }
        let unreadable = || self.invalid("data and stringData must be maps from keys to text");
        let name = document
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let values: Values = serde_json::from_value(document).map_err(|_| unreadable())?;
        if into.keys().any(|selector| selector.name == name) {
            return Err(self.twice());
        }
        for (key, encoded) in values.data {
            let decoded = STANDARD
                .decode(encoded.trim())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let text = decoded.ok_or_else(|| self.invalid(format!("data.{key}: is not the base64 form of a text")))?;
            into.insert(
                SecretKeySelector {
                    name: name.clone(),
                    key,
                },
                SecretString::from(text.trim_end()),
            );
        }
        for (key, text) in values.string_data {
            into.insert(
                SecretKeySelector {
                    name: name.clone(),
                    key,
                },
                SecretString::from(text.trim_end()),
            );
        }
        Ok(())
    }

    /// Reads a resource as the API server would: by the schema of its kind, and a field that the kind does not have is an error.
    fn strictly<K: DeserializeOwned>(
        &self,
        mut document: Value,
        schema: &Schema,
        errors: &mut Vec<FilesError>,
    ) -> Option<K> {
        let mut found = schema.check(&mut document);
        let mut unknown = Vec::new();
        let mut note = |path: serde_ignored::Path| unknown.push(schema::dotted(&path.to_string(), '.'));
        let reader = serde_ignored::Deserializer::new(document, &mut note);
        let read = serde_path_to_error::deserialize(reader).map_err(|error| {
            let (path, words) = (error.path().to_string(), error.inner().to_string());
            let says_more = |(other, words): &(String, String)| *other == path && words.contains("required property");
            if !found.iter().any(says_more) {
                // What the schema says of the same value, or of all around it, says less.
                found.retain(|(other, _)| !path.starts_with(other.as_str()));
                found.insert(0, (path, words));
            }
        });
        // The kind was looked at already, and the status and the metadata are none of a sync's concern.
        unknown.retain(|path| path.starts_with("spec"));
        for path in unknown {
            if !found.iter().any(|(other, _)| *other == path) {
                found.push((path, "unknown field".to_owned()));
            }
        }
        let found = found.into_iter();
        errors.extend(found.map(|(path, words)| self.invalid(format!("{path}: {words}"))));
        read.ok()
    }
}

/// All files of YAML or JSON below a folder, but for what is hidden: a repo's own folders (`.git`, `.github`), and the copies that a
/// mounted ConfigMap or Secret keeps beside the names that are meant.
fn collect(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), FilesError> {
    let unreadable = |cause| FilesError::Unreadable {
        path: folder.to_owned(),
        cause,
    };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            collect(&path, into)?;
        } else if path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        {
            into.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINK: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: CdpSink
metadata: {name: segment}
spec:
  segment:
    endpoint: https://api.segment.io/v1
    writeKey: {secretKeyRef: {name: segment, key: writeKey}}
  identity: {userId: crm_id}
";

    const PIPELINE: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: SyncPipeline
metadata: {name: people}
spec:
  sourceRef: {name: org}
  sinkRef: {name: segment}
  mappingRef: {name: contact, version: 1.0.0}
  streams: [{name: contacts, object: Contact, schedule: {every: 5m}}]
";

    fn read(text: &str) -> Result<Manifests, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("all.yaml"), text).unwrap();
        Manifests::read(folder.path()).map_err(|error| {
            error
                .to_string()
                .replace(&folder.path().join("all.yaml").display().to_string(), "all.yaml")
        })
    }

    #[test]
    fn what_is_wrong_is_named_with_its_file_and_field() {
        let cases = [
            (
                SINK.replace("endpoint:", "endpiont:"),
                "all.yaml: CdpSink segment: spec.segment",
            ),
            (
                SINK.replace("identity:", "color: blue\n  identity:"),
                "all.yaml: CdpSink segment: spec.color: unknown field",
            ),
            (
                SINK.replace("https:", "http:"),
                "endpoint must begin with https://; http:// needs allowPlaintext: true",
            ),
            (
                SINK.replace("{userId: crm_id}", "{userId: 7}"),
                "all.yaml: CdpSink segment: spec.identity.userId: invalid type",
            ),
            (
                SINK.replace("CdpSink", "CdpSnik"),
                "kind: CdpSnik is not a kind of ferrygate.io",
            ),
            (format!("{SINK}---{SINK}"), "CdpSink segment is in this folder twice"),
            (
                format!("{PIPELINE}  jobTemplate: {{labels: {{ferrygate.io/pipeline: others}}}}\n"),
                "labels must not set what Ferrygate",
            ),
            (
                format!("{PIPELINE}  jobTemplate: {{volumes: [{{name: host, hostPath: {{path: /}}}}]}}\n"),
                "volumes[0].hostPath: unknown field",
            ),
            (
                format!("{PIPELINE}  jobTemplate: {{affinity: {{nodeAfinity: {{}}}}}}\n"),
                "nodeAfinity: unknown field",
            ),
            ("a: [".to_owned(), "all.yaml: "),
            (
                "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {k: '%%%'}}".to_owned(),
                "Secret s: data.k: is not the base64 form of a text",
            ),
        ];
        for (text, words) in cases {
            let error = read(&text).map(|_| ()).unwrap_err();
            assert!(error.contains(words), "{words:?} is not in {error:?}");
        }
    }

    /// <https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets-as-files-from-a-pod>
    #[test]
    fn a_mounted_volume_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let copies = folder.path().join("..2026_11_25");
        fs::create_dir(&copies).unwrap();
        fs::write(copies.join("all.yaml"), SINK).unwrap();
        let link = |from: &str, to: &str| std::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
        link("..data", "..2026_11_25");
        link("all.yaml", "..data/all.yaml");
        assert_eq!(
            Manifests::read(folder.path())
                .map(|manifests| manifests.count())
                .unwrap(),
            1
        );
    }

    #[test]
    fn lists_documents_and_other_kinds_are_read() {
        let other = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}";
        let secret = "{apiVersion: v1, kind: Secret, metadata: {name: segment}, stringData: {writeKey: \"abc\\n\"}}";
        let list = format!("{{apiVersion: v1, kind: List, items: [{secret}]}}");
        let manifests = read(&format!("{SINK}---\n{other}\n---\n{list}\n")).unwrap();
        let (name, namespace) = manifests.namespaces().next().unwrap();
        let found: Vec<_> = namespace
            .secrets
            .keys()
            .map(|selector| format!("{}/{}", selector.name, selector.key))
            .collect();
        assert_eq!(
            (name, namespace.sinks.len(), found),
            ("default", 1, vec!["segment/writeKey".to_owned()])
        );
    }
}
