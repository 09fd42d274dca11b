//! A resource that this version of the controller can't read: it stops only itself, and says so.

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::act::{ActError, Context, Notice, notify};
use super::key::Name;
use crate::api::conditions::{Reason, Standing, conditions};

/// Says on the resource itself why it can't be decoded, where it does not say so already.
///
/// # Errors
/// When it can't be read or written.
pub async fn report<K>(name: &Name, error: &str, context: &Context, now: Timestamp) -> Result<(), ActError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
{
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &name.namespace, &ApiResource::erase::<K>(&()));
    let Some(object) = api.get_opt(&name.name).await? else {
        return Ok(());
    };
    let generation = object.metadata.generation.unwrap_or_default();
    let status = object.data.get("status").unwrap_or(&Value::Null);
    let before: Vec<Condition> = serde_json::from_value(status["conditions"].clone()).unwrap_or_default();
    let message = format!(
        "this version of the controller can't read the resource: {}",
        place::<K>(&object, error)
    );
    let after = conditions(
        &before,
        Standing::Stalled.verdicts(Reason::Undecodable, message.as_str()),
        generation,
        now,
    );
    if before == after && status["observedGeneration"] == json!(generation) {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"resourceVersion": object.resource_version()},
        "status": {"observedGeneration": generation, "conditions": after},
    });
    api.patch_status(&name.name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    let notice = Notice {
        warning: true,
        reason: Reason::Undecodable.as_str(),
        message,
    };
    notify(context, &object.object_ref(&ApiResource::erase::<K>(&())), &notice).await;
    Ok(())
}

/// The error with the field that it is about, which the first reading of an object does not tell.
fn place<K: DeserializeOwned>(object: &DynamicObject, error: &str) -> String {
    match serde_path_to_error::deserialize::<_, K>(json!(object)) {
        Err(found) => format!("{}: {}", found.path(), found.inner()),
        Ok(_) => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::SyncPipeline;

    #[test]
    fn the_field_that_can_t_be_read_is_named() {
        let object = json!({
            "apiVersion": "ferrygate.io/v1alpha1", "kind": "SyncPipeline", "metadata": {"name": "people"},
            "spec": {
                "sourceRef": {"name": "org"}, "sinkRef": {"name": "cdp"}, "mappingRef": {"name": "m", "version": "1.0.0"},
                "streams": [{"name": "contacts", "object": "Contact", "schedule": {"every": "soon"}}],
            },
        });
        let told = place::<SyncPipeline>(&serde_json::from_value(object).unwrap(), "something");
        assert!(told.starts_with("spec.streams[0].schedule.every: "), "{told}");
    }
}
