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
    let found = findings(&manifests, errors, None, "2026-05-04T08:00:00Z".parse().unwrap());
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
    let broken = version(
        "1.0.0.0",
        "{trait: email, form: Email, type: Strin}, {trait: vip, type: Boolean, cel: 'true', transforms: [{tirm: {}}]}",
    )
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
    let found = findings(&manifests, errors, None, "2026-05-04T08:00:00Z".parse().unwrap());
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
