//! GET: one object, or a list by pages.

use serde_json::{Value, json};

use super::refusal::{self, Refusal};
use super::request::Call;
use super::selector::Selection;
use super::store::{Key, Store};

/// The object that a call names.
pub fn get(store: &Store, call: &Call) -> Result<Value, Refusal> {
    let object = store
        .get(&key(call))
        .ok_or_else(|| refusal::not_found(&call.resource, &call.name))?;
    Ok(Value::clone(object))
}

/// Where the object that a call names is.
pub fn key(call: &Call) -> Key {
    Key {
        resource: call.resource.clone(),
        namespace: call.namespace.clone(),
        name: call.name.clone(),
    }
}

/// A page of the objects that a call selects. All pages show the state of the first.
pub fn list(store: &Store, call: &Call) -> Result<Value, Refusal> {
    let selection = Selection::of(call)?;
    let limit = match call.parameter("limit") {
        "" => usize::MAX,
        limit => limit.parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX),
    };
    let (version, after) = match call.parameter("continue") {
        "" => (store.version(), None),
        token => read_token(token)?,
    };
    let objects = store.at(version)?;
    let mut selected = objects
        .iter()
        .filter(|(key, object)| selection.covers(&key.resource, &key.namespace) && selection.selects(object))
        .filter(|(key, _)| {
            after
                .as_ref()
                .is_none_or(|(namespace, name)| (&key.namespace, &key.name) > (namespace, name))
        });
    let page: Vec<_> = selected.by_ref().take(limit).collect();
    let left = selected.count();

    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some((last, _)) = page.last().filter(|_| left > 0) {
        metadata["continue"] = json!(format!("{version}/{}/{}", last.namespace, last.name));
        if selection.is_everything() {
            metadata["remainingItemCount"] = json!(left);
        }
    }
    let items: Vec<Value> = page.into_iter().map(|(_, object)| item(call, object)).collect();
    let (api_version, kind) = if call.metadata_only {
        ("meta.k8s.io/v1", "PartialObjectMetadataList".to_owned())
    } else {
        let kind = store.kind(&call.resource).unwrap_or_default();
        (call.api_version.as_str(), format!("{kind}List"))
    };
    Ok(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "items": items}))
}

/// An object as the call wants to see it.
pub fn shown(call: &Call, object: &Value) -> Value {
    if call.metadata_only && object["kind"] != "Status" {
        json!({
            "apiVersion": "meta.k8s.io/v1",
            "kind": "PartialObjectMetadata",
            "metadata": object["metadata"],
        })
    } else {
        object.clone()
    }
}

/// An object as it stands in a list: those of the built-in groups don't say there what they are.
fn item(call: &Call, object: &Value) -> Value {
    let mut shown = shown(call, object);
    let group = &call.resource.group;
    let is_built_in = !group.contains('.') || group.ends_with(".k8s.io");
    if is_built_in
        && !call.metadata_only
        && let Some(fields) = shown.as_object_mut()
    {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    shown
}

fn read_token(token: &str) -> Result<(u64, Option<(String, String)>), Refusal> {
    let mut parts = token.splitn(3, '/');
    let mut next = || {
        parts
            .next()
            .ok_or_else(|| refusal::bad_request("continue key is not valid"))
    };
    let version = next()?
        .parse()
        .map_err(|_| refusal::bad_request("continue key is not valid"))?;
    Ok((version, Some((next()?.to_owned(), next()?.to_owned()))))
}
