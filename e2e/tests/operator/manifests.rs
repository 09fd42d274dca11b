//! The four kinds as the tests apply them: right in every part, for a test to put something wrong into.

use serde_json::{Value, json};

fn resource(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "ferrygate.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

pub fn source(name: &str) -> Value {
    let secret = |key: &str| json!({"secretKeyRef": {"name": "sales-cloud", "key": key}});
    resource(
        "CrmSource",
        name,
        json!({"salesforce": {
            "instanceUrl": "http://salesforce:8080",
            "allowPlaintext": true,
            "auth": {"jwtBearer": {
                "username": "integration@acme.example", "clientId": secret("clientId"), "privateKey": secret("privateKey"),
            }},
        }}),
    )
}

pub fn sink(name: &str) -> Value {
    resource(
        "CdpSink",
        name,
        json!({
            "segment": {
                "endpoint": "http://segment:8080/v1",
                "allowPlaintext": true,
                "writeKey": {"secretKeyRef": {"name": "segment-eu", "key": "writeKey"}},
            },
            "identity": {"userId": "crm_id"},
            "consent": {"require": ["marketing_email"]},
        }),
    )
}

pub fn mapping(mapping: &str) -> Value {
    resource(
        "MappingVersion",
        &format!("{mapping}-1.0.0"),
        json!({
            "mapping": mapping,
            "version": "1.0.0",
            "enums": {"lifecycle": {
                "Open - Not Contacted": "lead", "Working": "lead", "Customer": "customer", "Former": "churned",
            }},
            "objects": [{
                "object": "Contact",
                "entity": "Person",
                "identity": [{"kind": "crm_id", "from": "Id"}],
                "traits": [
                    {"trait": "email", "from": "Email", "type": "String", "transforms": [{"trim": {}}, {"lower": {}}],
                     "classification": "Personal"},
                    {"trait": "lifecycle_stage", "from": "Lifecycle__c", "type": "String",
                     "transforms": [{"enum": {"table": "lifecycle"}}]},
                ],
                "consent": [
                    {"purpose": "marketing_email", "from": "HasOptedOutOfEmail", "granted": "value == false"},
                ],
            }],
        }),
    )
}

pub fn pipeline(name: &str, source: &str, sink: &str, mapping: &str, every: &str) -> Value {
    resource(
        "SyncPipeline",
        name,
        json!({
            "sourceRef": {"name": source},
            "sinkRef": {"name": sink},
            "mappingRef": {"name": mapping, "version": "1.0.0"},
            "streams": [{
                "name": "contacts", "object": "Contact", "schedule": {"every": every}, "freshness": {"objective": "1h"},
                "deletes": "Suppress",
            }],
        }),
    )
}

/// A pipeline from `org` to `workspace` by `contact`, with these three.
pub fn whole(pipeline: Value) -> String {
    list(vec![source("org"), sink("workspace"), mapping("contact"), pipeline])
}

pub fn list(items: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
