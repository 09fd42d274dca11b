//! Whom a change concerns.

use kube::core::DeserializeGuard;
use serde_json::{Value, json};

use super::super::key::{Key, Kind, Name};
use super::index::Index;
use super::watched::Watched;
use crate::api::SyncPipeline;

fn pipeline(version: u32, schema: Value) -> DeserializeGuard<SyncPipeline> {
    let pipeline = json!({
        "apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline",
        "metadata": {"name": "people", "namespace": "crm", "uid": "u", "resourceVersion": version.to_string()},
        "spec": {
            "sourceRef": {"name": "org"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "contact", "version": "~1"},
            "streams": [{"name": "contacts", "object": "Contact", "schedule": {"every": "5m"}}],
        },
        "status": {
            "mapping": {"name": "contact-1.0.0", "version": "1.0.0"},
            "streams": [{"name": "contacts", "deadLetters": version, "schema": schema}],
        },
    });
    DeserializeGuard(Ok(serde_json::from_value(pipeline).unwrap()))
}

#[test]
fn what_a_run_saw_of_the_schema_concerns_the_mapping_version_that_it_took_and_only_when_it_changes() {
    let mut index = Index::default();
    let version = Key::new(
        Kind::MappingVersion,
        Name {
            namespace: "crm".into(),
            name: "contact-1.0.0".into(),
        },
    );
    let (well, apart) = (
        json!({"hash": "a", "mappingVersion": "1.0.0"}),
        json!({"hash": "a", "mappingVersion": "1.0.0", "findings": ["no"]}),
    );
    let mut concerns = |number, schema: &Value| {
        let mut touched = Vec::new();
        pipeline(number, schema.clone()).put(&mut index, &mut touched);
        touched.contains(&version)
    };
    concerns(1, &well);
    assert_eq!(
        [concerns(2, &well), concerns(3, &apart), concerns(4, &apart)],
        [false, true, false]
    );
}
