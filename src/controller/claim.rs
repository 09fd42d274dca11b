//! The volume claim that holds a pipeline's state, and whether it goes with the pipeline.
//!
//! It goes by an owner reference, which Kubernetes' garbage collector follows also when the controller is gone; it stays where
//! it has none.

use json_patch::Patch;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::jobs::{MANAGED_BY, PIPELINE_LABEL};
use super::names;
use crate::api::SyncPipeline;
use crate::api::sync_pipeline::WhenDeleted;

/// The claim that holds a pipeline's state.
pub fn state_claim(pipeline: &SyncPipeline) -> PersistentVolumeClaim {
    let name = pipeline.name_any();
    let volume = &pipeline.spec.state.volume;
    let claim = json!({
        "metadata": {
            "name": names::state_claim(&name),
            "namespace": pipeline.namespace(),
            "labels": {MANAGED_BY.0: MANAGED_BY.1, PIPELINE_LABEL: names::label(&name)},
            "ownerReferences": owner(pipeline).into_iter().collect::<Vec<_>>(),
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": volume.storage_class_name,
            "resources": {"requests": {"storage": volume.size}},
        },
    });
    serde_json::from_value(claim).expect("the manifest is of a claim's form, which the tests hold it to")
}

/// The reference by which the claim goes with the pipeline; none where it is to stay.
fn owner(pipeline: &SyncPipeline) -> Option<OwnerReference> {
    match pipeline.spec.state.volume.when_deleted {
        WhenDeleted::Delete => pipeline.controller_owner_ref(&()),
        WhenDeleted::Retain => None,
    }
}

/// Whether a claim that is there can hold the state for which `wanted` is made: it is not about to go, by itself or with another
/// pipeline of that name.
pub fn is_usable(there: &ObjectMeta, wanted: &PersistentVolumeClaim) -> bool {
    let mut owners = there.owner_references.iter().flatten();
    let is_wanted = |owner: &OwnerReference| {
        let mut wanted = wanted.owner_references().iter();
        wanted.any(|ours| ours.uid == owner.uid) || owner.kind != SyncPipeline::kind(&())
    };
    there.deletion_timestamp.is_none() && owners.all(is_wanted)
}

/// What makes the claim that is there go with the pipeline, or stay, as the spec says; `None` where it does already.
///
/// Left alone is a claim that is being deleted, one that Ferrygate did not make, and one that belongs to something else. A
/// pipeline that was deleted is something else too: its claim was to go with it, and the garbage collector is on its way.
///
/// The patch holds only for the very metadata that it was decided on: the API server answers 422 to one that is out of date.
pub fn claim_patch(claim: &ObjectMeta, pipeline: &SyncPipeline) -> Option<Patch> {
    let label = |key: &str| {
        claim
            .labels
            .as_ref()
            .and_then(|labels| labels.get(key))
            .map(String::as_str)
    };
    let made_for_it = label(MANAGED_BY.0) == Some(MANAGED_BY.1)
        && label(PIPELINE_LABEL) == Some(names::label(&pipeline.name_any()).as_str());
    if !made_for_it || claim.deletion_timestamp.is_some() {
        return None;
    }
    let owners = claim.owner_references.as_deref().unwrap_or_default();
    let (own, others): (Vec<_>, Vec<_>) = owners
        .iter()
        .partition(|owner| Some(&owner.uid) == pipeline.meta().uid.as_ref());
    let path = "/metadata/ownerReferences";
    let operation = match owner(pipeline) {
        Some(wanted) if owners.is_empty() => json!({"op": "add", "path": path, "value": [wanted]}),
        None if own.is_empty() => return None,
        None if others.is_empty() => json!({"op": "remove", "path": path}),
        None => json!({"op": "add", "path": path, "value": others}),
        Some(_) => return None,
    };
    let unchanged = json!({"op": "test", "path": "/metadata/resourceVersion", "value": claim.resource_version});
    let patch = serde_json::from_value(json!([unchanged, operation]));
    Some(patch.expect("the operations are of a patch's form, which the tests hold them to"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn pipeline(when_deleted: &str) -> SyncPipeline {
        serde_json::from_value(json!({
            "apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline",
            "metadata": {"name": "people", "namespace": "crm", "uid": "u-1"},
            "spec": {
                "sourceRef": {"name": "org"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "m", "version": "1.0.0"},
                "streams": [{"name": "contacts", "object": "Contact", "schedule": {"every": "5m"}}],
                "state": {"volume": {"whenDeleted": when_deleted}},
            },
        }))
        .unwrap()
    }

    fn there(owners: &[OwnerReference], change: impl FnOnce(&mut ObjectMeta)) -> ObjectMeta {
        let mut metadata = state_claim(&pipeline("Retain")).metadata;
        metadata.resource_version = Some("7".into());
        metadata.owner_references = (!owners.is_empty()).then(|| owners.to_vec());
        change(&mut metadata);
        metadata
    }

    #[test]
    fn a_claim_is_owned_where_it_goes_with_the_pipeline_and_by_nobody_where_it_stays() {
        let owners = |when| {
            state_claim(&pipeline(when))
                .metadata
                .owner_references
                .unwrap_or_default()
        };
        let uids: Vec<_> = owners("Delete").into_iter().map(|owner| owner.uid).collect();
        assert_eq!((uids, owners("Retain").len()), (vec!["u-1".to_owned()], 0));
    }

    #[test]
    fn a_claim_that_is_there_is_brought_to_what_the_spec_says() {
        let own = pipeline("Delete").controller_owner_ref(&()).unwrap();
        let other = OwnerReference {
            uid: "u-0".into(),
            ..own.clone()
        };
        let same = |_: &mut ObjectMeta| {};
        let going = |claim: &mut ObjectMeta| {
            claim.deletion_timestamp = serde_json::from_value(json!("2026-05-04T08:00:00Z")).unwrap()
        };
        let foreign = |claim: &mut ObjectMeta| claim.labels = None;
        let of_another = |claim: &mut ObjectMeta| {
            let labels = claim.labels.get_or_insert_default();
            labels.insert(PIPELINE_LABEL.to_owned(), "others".to_owned());
        };
        let path = "/metadata/ownerReferences";
        let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"});
        let add = |owners: Value| Some(json!([test, {"op": "add", "path": path, "value": owners}]));
        let remove = Some(json!([test, {"op": "remove", "path": path}]));
        let cases = [
            (
                "Delete, and owned",
                "Delete",
                there(std::slice::from_ref(&own), same),
                None,
            ),
            ("Retain, and free", "Retain", there(&[], same), None),
            (
                "changed to Delete, or taken up again",
                "Delete",
                there(&[], same),
                add(json!([own])),
            ),
            (
                "changed to Retain",
                "Retain",
                there(std::slice::from_ref(&own), same),
                remove,
            ),
            (
                "changed to Retain, and owned by another too",
                "Retain",
                there(&[own.clone(), other.clone()], same),
                add(json!([other])),
            ),
            (
                "of a pipeline that was deleted",
                "Delete",
                there(std::slice::from_ref(&other), same),
                None,
            ),
            (
                "of a pipeline that was deleted",
                "Retain",
                there(std::slice::from_ref(&other), same),
                None,
            ),
            ("being deleted", "Delete", there(&[], going), None),
            ("made by someone else", "Delete", there(&[], foreign), None),
            ("made for another pipeline", "Delete", there(&[], of_another), None),
        ];
        for (title, when, claim, expected) in cases {
            let patch = claim_patch(&claim, &pipeline(when)).map(|patch| json!(patch));
            assert_eq!(patch, expected, "{title}");
        }
    }

    #[test]
    fn a_patch_that_was_applied_leaves_nothing_to_patch() {
        let own = pipeline("Delete").controller_owner_ref(&()).unwrap();
        for (when, claim) in [("Delete", there(&[], |_| {})), ("Retain", there(&[own], |_| {}))] {
            let patch = claim_patch(&claim, &pipeline(when)).expect("something to patch");
            let mut patched = json!({"metadata": claim});
            json_patch::patch(&mut patched, &patch).unwrap();
            let after: ObjectMeta = serde_json::from_value(patched["metadata"].take()).unwrap();
            assert_eq!(claim_patch(&after, &pipeline(when)), None, "{when}");
        }
    }
}
