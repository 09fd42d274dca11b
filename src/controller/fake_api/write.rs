//! POST, PUT, PATCH and DELETE, with the rules that the API server has for every resource.

use serde_json::{Value, json};

use super::read::key;
use super::refusal::{self, Refusal};
use super::request::{Call, ResourceType};
use super::store::{Key, Store};

/// What only the API server sets.
const SYSTEM_FIELDS: [&str; 6] = [
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// Creates the object of the body. Its status is dropped: that has its own door.
pub fn create(store: &mut Store, call: &Call) -> Result<Value, Refusal> {
    let mut object = call.body.clone();
    if !object["metadata"].is_object() {
        return Err(refusal::bad_request("the body has no metadata"));
    }
    if !text(&object, "resourceVersion").is_empty() {
        return Err(refusal::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    if !["", call.namespace.as_str()].contains(&text(&object, "namespace")) {
        return Err(refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let uid = store.new_uid();
    if text(&object, "name").is_empty() {
        let prefix = text(&object, "generateName").to_owned();
        if prefix.is_empty() {
            return Err(refusal::invalid(
                &call.resource,
                "",
                "metadata.name: Required value: name or generateName is required",
            ));
        }
        object["metadata"]["name"] = json!(format!("{prefix}{}", &uid[uid.len() - 5..]));
    }
    let name = text(&object, "name").to_owned();
    check_name(&call.resource, &name)?;
    let key = Key { name, ..key(call) };
    if store.get(&key).is_some() {
        return Err(refusal::already_exists(&call.resource, &key.name));
    }
    if !call.namespace.is_empty() {
        object["metadata"]["namespace"] = json!(call.namespace);
    }
    object["metadata"]["uid"] = json!(uid);
    object["metadata"]["creationTimestamp"] = json!(store.now());
    set_first_generation(&call.resource, &mut object);
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    Ok(Value::clone(&store.write(key, object)))
}

/// Replaces an object, under its `resourceVersion`. Stricter than the API server, which asks for one only of some resources.
pub fn update(store: &mut Store, call: &Call) -> Result<Value, Refusal> {
    let current = current(store, call)?;
    if text(&call.body, "name") != call.name {
        return Err(refusal::bad_request(
            "the name of the object does not match the name on the URL",
        ));
    }
    if text(&call.body, "resourceVersion").is_empty() {
        let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
        return Err(refusal::invalid(&call.resource, &call.name, why));
    }
    replace(store, call, &current, call.body.clone())
}

/// Patches an object: a merge patch (RFC 7386) or a JSON patch (RFC 6902).
pub fn patch(store: &mut Store, call: &Call) -> Result<Value, Refusal> {
    let current = current(store, call)?;
    let mut patched = current.clone();
    match call.content_type.as_str() {
        "application/merge-patch+json" => json_patch::merge(&mut patched, &call.body),
        "application/json-patch+json" => {
            let patch: json_patch::Patch =
                serde_json::from_value(call.body.clone()).map_err(|error| refusal::bad_request(&error.to_string()))?;
            json_patch::patch(&mut patched, &patch).map_err(|_| refusal::unprocessable())?;
        }
        other => return Err(refusal::unsupported_media_type(other)),
    }
    replace(store, call, &current, patched)
}

/// Deletes an object, and what it owns unless that is to be left.
pub fn delete(store: &mut Store, call: &Call) -> Result<Value, Refusal> {
    let current = current(store, call)?;
    let preconditions = &call.body["preconditions"];
    check_uid(call, &current, preconditions["uid"].as_str().unwrap_or_default())?;
    check_version(
        call,
        &current,
        preconditions["resourceVersion"].as_str().unwrap_or_default(),
    )?;
    let deleted = match call.body["propagationPolicy"].as_str() {
        Some("Orphan") => remove(store, key(call)),
        // The default of Jobs is older than the garbage collector.
        None if call.resource.to_string() == "jobs.batch" => remove(store, key(call)),
        _ => remove_with_owned(store, key(call)),
    };
    Ok(match deleted {
        Removal::Done => json!({
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": call.name,
                "group": call.resource.group,
                "kind": call.resource.plural,
                "uid": current["metadata"]["uid"],
            },
        }),
        Removal::Waits(object) => object,
    })
}

/// What became of an object that was to be removed.
pub enum Removal {
    Done,
    /// It has finalizers.
    Waits(Value),
}

fn remove(store: &mut Store, key: Key) -> Removal {
    let Some(object) = store.get(&key) else {
        return Removal::Done;
    };
    if finalizers(object) == 0 {
        store.remove(key);
        return Removal::Done;
    }
    let mut object = Value::clone(object);
    if text(&object, "deletionTimestamp").is_empty() {
        object["metadata"]["deletionTimestamp"] = json!(store.now());
        object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        object = Value::clone(&store.write(key, object));
    }
    Removal::Waits(object)
}

/// Removes an object, and what nothing else owns, as the garbage collector does a little later.
pub fn remove_with_owned(store: &mut Store, key: Key) -> Removal {
    let uid = store.get(&key).map(|object| text(object, "uid").to_owned());
    let namespace = key.namespace.clone();
    let removal = remove(store, key);
    let (Removal::Done, Some(uid)) = (&removal, uid) else {
        return removal;
    };
    let is_owned = |object: &Value| {
        let owners = object["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| !owners.is_empty() && owners.iter().all(|owner| owner["uid"] == *uid))
    };
    let owned: Vec<Key> = store
        .objects()
        .filter(|(key, object)| (namespace.is_empty() || key.namespace == namespace) && is_owned(object))
        .map(|(key, _)| key.clone())
        .collect();
    for key in owned {
        remove_with_owned(store, key);
    }
    removal
}

/// Writes an object by the test's own hand: status and all, whatever was there.
pub fn put(store: &mut Store, resource: ResourceType, mut object: Value) -> Value {
    let key = Key {
        resource,
        namespace: text(&object, "namespace").to_owned(),
        name: text(&object, "name").to_owned(),
    };
    let Some(current) = store.get(&key).map(|current| Value::clone(current)) else {
        let (uid, now) = (store.new_uid(), store.now());
        for (field, value) in [("uid", uid), ("creationTimestamp", now)] {
            if text(&object, field).is_empty() {
                object["metadata"][field] = json!(value);
            }
        }
        set_first_generation(&key.resource, &mut object);
        return Value::clone(&store.write(key, object));
    };
    keep_system_fields(&current, &mut object);
    write_changed(store, key, &current, object)
}

/// Replaces an object, or its status alone, where the conditions hold.
fn replace(store: &mut Store, call: &Call, current: &Value, mut proposed: Value) -> Result<Value, Refusal> {
    check_version(call, current, text(&proposed, "resourceVersion"))?;
    check_uid(call, current, text(&proposed, "uid"))?;
    let status = |from: &Value, to: &mut Value| match (from.get("status"), to.as_object_mut()) {
        (Some(status), Some(fields)) => {
            fields.insert("status".to_owned(), status.clone());
        }
        (None, Some(fields)) => {
            fields.remove("status");
        }
        (_, None) => {}
    };
    let next = match call.subresource.as_str() {
        "status" => {
            let mut next = current.clone();
            status(&proposed, &mut next);
            next
        }
        "" => {
            if !proposed["metadata"].is_object() || text(&proposed, "name") != call.name {
                return Err(refusal::bad_request("the name of the object can't be changed"));
            }
            status(current, &mut proposed);
            keep_system_fields(current, &mut proposed);
            proposed
        }
        other => return Err(refusal::not_supported(&format!("the subresource {other}"))),
    };
    Ok(write_changed(store, key(call), current, next))
}

/// Writes what differs; what does not is no write. The last finalizer of what is deleted takes it along.
fn write_changed(store: &mut Store, key: Key, current: &Value, mut next: Value) -> Value {
    if next == *current {
        return next;
    }
    let content = |object: &Value| {
        let mut content = object.clone();
        if let Some(fields) = content.as_object_mut() {
            fields.remove("metadata");
            fields.remove("status");
        }
        content
    };
    if let Some(generation) = current["metadata"]["generation"].as_i64()
        && content(&next) != content(current)
    {
        next["metadata"]["generation"] = json!(generation + 1);
    }
    let written = Value::clone(&store.write(key.clone(), next));
    if !text(&written, "deletionTimestamp").is_empty() && finalizers(&written) == 0 {
        remove_with_owned(store, key);
    }
    written
}

fn current(store: &Store, call: &Call) -> Result<Value, Refusal> {
    super::read::get(store, call)
}

fn keep_system_fields(current: &Value, next: &mut Value) {
    for field in SYSTEM_FIELDS.into_iter().chain(["resourceVersion"]) {
        match (&current["metadata"][field], next["metadata"].as_object_mut()) {
            (Value::Null, Some(metadata)) => {
                metadata.remove(field);
            }
            (value, _) => next["metadata"][field] = value.clone(),
        }
    }
    for field in ["apiVersion", "kind"] {
        next[field] = current[field].clone();
    }
}

/// Leases, ConfigMaps and the like have no generation.
fn set_first_generation(resource: &ResourceType, object: &mut Value) {
    if object.get("spec").is_some()
        && resource.group != "coordination.k8s.io"
        && object["metadata"]["generation"].is_null()
    {
        object["metadata"]["generation"] = json!(1);
    }
}

fn check_version(call: &Call, current: &Value, wanted: &str) -> Result<(), Refusal> {
    if wanted.is_empty() || wanted == text(current, "resourceVersion") {
        return Ok(());
    }
    Err(refusal::modified(&call.resource, &call.name))
}

fn check_uid(call: &Call, current: &Value, wanted: &str) -> Result<(), Refusal> {
    let is = text(current, "uid");
    if wanted.is_empty() || wanted == is {
        return Ok(());
    }
    Err(refusal::other_uid(&call.resource, &call.name, wanted, is))
}

/// A name must be a DNS subdomain
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>).
fn check_name(resource: &ResourceType, name: &str) -> Result<(), Refusal> {
    let is_alphanumeric = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_valid = name.len() <= 253
        && name.starts_with(is_alphanumeric)
        && name.ends_with(is_alphanumeric)
        && name
            .chars()
            .all(|letter| is_alphanumeric(letter) || "-.".contains(letter));
    if is_valid {
        return Ok(());
    }
    let why = format!("metadata.name: Invalid value: \"{name}\": must be a lowercase RFC 1123 subdomain");
    Err(refusal::invalid(resource, name, &why))
}

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}
