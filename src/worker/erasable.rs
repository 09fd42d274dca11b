//! Whether a stream's deleted records can be erased at its sink: what `deletes: Erase` needs.

use crate::api::mapping_version::{Entity, MappingVersionSpec};
use crate::api::sync_pipeline::{Deletes, Stream};
use crate::api::{CdpSinkSpec, SyncPipelineSpec};
use crate::mapping::CompileError;
use crate::sink::segment::privacy_endpoint;

/// Objects of which Salesforce merges records, so that one that was deleted may go on as another:
/// <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_merge.htm>.
const MERGED: [&str; 5] = ["Account", "Case", "Contact", "Individual", "Lead"];

/// The object whose records are converted to others.
const CONVERTED: &str = "Lead";

/// What keeps the streams of a pipeline from erasing whom they are to erase, each with its path in the pipeline.
pub fn unerasable(pipeline: &SyncPipelineSpec, mapping: &MappingVersionSpec, sink: &CdpSinkSpec) -> Vec<CompileError> {
    let streams = pipeline.streams.iter().enumerate();
    let errors = streams.flat_map(|(position, stream)| {
        let path = format!("spec.streams[{position}].deletes");
        of_stream(stream, mapping, sink)
            .into_iter()
            .map(move |message| CompileError {
                path: path.clone(),
                message,
            })
    });
    errors.collect()
}

/// What keeps a stream from erasing whom it is to erase.
pub(super) fn of_stream(stream: &Stream, mapping: &MappingVersionSpec, sink: &CdpSinkSpec) -> Vec<String> {
    if stream.deletes != Deletes::Erase {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if let Some(segment) = &sink.segment {
        if segment.privacy_api.is_none() {
            errors.push(
                "Erase needs spec.segment.privacyApi of the CdpSink, with the token by which a person's erasure is asked for; \
                 without it, say Suppress"
                    .to_owned(),
            );
        } else if privacy_endpoint(segment).is_none() {
            errors.push(
                "Erase needs spec.segment.privacyApi.endpoint of the CdpSink, since its endpoint is none of Segment's own, which \
                 would tell the region"
                    .to_owned(),
            );
        }
    }
    let object = mapping.objects.iter().find(|object| object.object == stream.object);
    let Some(object) = object else {
        return errors;
    };
    let name = &object.object;
    if object.entity != Entity::Person {
        errors.push(format!(
            "Erase is for people, and {name} is delivered as {:?}; say Suppress",
            object.entity
        ));
        return errors;
    }
    let user = &sink.identity.user_id;
    let own = object.identity.iter().find(|key| key.kind == *user);
    if own.is_some_and(|key| !key.from.eq_ignore_ascii_case("Id") || !key.transforms.is_empty()) {
        errors.push(format!(
            "Erase asks for the erasure of a record's own id, and the sink's user id {user:?} is made of something else, which \
             another person's record may have as well; make it from Id without transforms, or say Suppress"
        ));
    }
    if MERGED.contains(&name.as_str()) && object.merged_into.is_none() {
        errors.push(format!(
            "Erase needs mergedInto of {name} in the mapping (from MasterRecordId): of two records that are merged the CRM \
             deletes one, whose person goes on as the other"
        ));
    }
    if name == CONVERTED && object.converted_into.is_none() {
        errors.push(format!(
            "Erase needs convertedInto of {name} in the mapping (from ConvertedContactId): a {name} that was converted goes on as \
             a contact"
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(object: &str, change: impl FnOnce(&mut Value, &mut Value)) -> Vec<String> {
        let mut mapping = json!({
            "object": object, "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}],
            "mergedInto": {"kind": "crm_id", "from": "MasterRecordId"},
        });
        let key = json!({"secretKeyRef": {"name": "cdp", "key": "k"}});
        let mut sink = json!({
            "segment": {"endpoint": "https://api.segment.io/v1", "writeKey": key, "privacyApi": {"token": key}},
            "identity": {"userId": "crm_id"},
        });
        change(&mut mapping, &mut sink);
        let mapping = json!({"mapping": "m", "version": "1.0.0", "objects": [mapping]});
        let pipeline = json!({
            "sourceRef": {"name": "crm"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "m", "version": "1.0.0"},
            "streams": [
                {"name": "first", "object": object, "schedule": {"every": "5m"}, "deletes": "Suppress"},
                {"name": "second", "object": object, "schedule": {"every": "5m"}, "deletes": "Erase"},
            ],
        });
        let parsed = unerasable(
            &serde_json::from_value(pipeline).unwrap(),
            &serde_json::from_value(mapping).unwrap(),
            &serde_json::from_value(sink).unwrap(),
        );
        parsed.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_erase_lacks_is_told_by_its_field_and_of_no_other_stream() {
        type Change = fn(&mut Value, &mut Value);
        let cases: [(&str, Change, &[&str]); 9] = [
            ("Contact", |_, _| {}, &[]),
            ("Visitor__c", |mapping, _| mapping["mergedInto"] = Value::Null, &[]),
            (
                "Contact",
                |_, sink| sink["segment"]["privacyApi"] = Value::Null,
                &["Erase needs spec.segment.privacyApi of the CdpSink"],
            ),
            (
                "Contact",
                |_, sink| sink["segment"]["endpoint"] = json!("https://hosted.example/v1"),
                &["Erase needs spec.segment.privacyApi.endpoint of the CdpSink"],
            ),
            (
                "Contact",
                |_, sink| {
                    sink["segment"]["endpoint"] = json!("https://hosted.example/v1");
                    sink["segment"]["privacyApi"]["endpoint"] = json!("https://privacy.example");
                },
                &[],
            ),
            (
                "Contact",
                |mapping, _| mapping["mergedInto"] = Value::Null,
                &["Erase needs mergedInto of Contact"],
            ),
            (
                "Lead",
                |mapping, _| mapping["identity"][0]["from"] = json!("Email"),
                &[
                    "Erase asks for the erasure of a record's own id",
                    "Erase needs convertedInto of Lead",
                ],
            ),
            (
                "Contact",
                |mapping, _| mapping["identity"][0]["transforms"] = json!([{"lower": {}}]),
                &["Erase asks for the erasure of a record's own id"],
            ),
            (
                "Account",
                |mapping, _| mapping["entity"] = json!("Account"),
                &["Erase is for people, and Account is delivered as Account"],
            ),
        ];
        for (number, (object, change, expected)) in cases.into_iter().enumerate() {
            let told = told(object, change);
            assert_eq!(told.len(), expected.len(), "case {number}: {told:?}");
            for (words, expected) in told.iter().zip(expected) {
                let beginning = format!("spec.streams[1].deletes: {expected}");
                assert!(words.starts_with(&beginning), "case {number}: {words}");
            }
        }
    }
}
