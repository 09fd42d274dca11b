//! Label and field selectors.

use std::collections::BTreeMap;

use kube::core::{Expression, Selector, SelectorExt};
use serde_json::Value;

use super::refusal::{self, Refusal};
use super::request::{Call, ResourceType};

/// The fields of Pods that can be selected by, besides name and namespace
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/field-selectors/>).
const POD_FIELDS: [&str; 7] = [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
];

/// Which objects a list or a watch is about.
#[derive(Clone, Debug)]
pub struct Selection {
    resource: ResourceType,
    /// All where it is empty.
    namespace: String,
    labels: Selector,
    fields: Vec<(String, bool, String)>,
}

impl Selection {
    /// What a call selects.
    ///
    /// # Errors
    /// When a selector can't be read, or a field not be selected by.
    pub fn of(call: &Call) -> Result<Selection, Refusal> {
        Ok(Selection {
            resource: call.resource.clone(),
            namespace: call.namespace.clone(),
            labels: parts(call.parameter("labelSelector"))
                .map(requirement)
                .collect::<Result<_, _>>()?,
            fields: parts(call.parameter("fieldSelector"))
                .map(|part| field(&call.resource, part))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether neither labels nor fields are selected by.
    pub fn is_everything(&self) -> bool {
        self.labels.selects_all() && self.fields.is_empty()
    }

    /// Whether objects of a resource in a namespace come into question.
    pub fn covers(&self, resource: &ResourceType, namespace: &str) -> bool {
        self.resource == *resource && (self.namespace.is_empty() || self.namespace == namespace)
    }

    /// Whether an object's labels and fields are selected.
    pub fn selects(&self, object: &Value) -> bool {
        let labels: BTreeMap<String, String> =
            serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default();
        self.labels.matches(&labels)
            && self.fields.iter().all(|(path, equal, wanted)| {
                let value = path.split('.').fold(object, |value, name| &value[name]);
                (value.as_str().unwrap_or_default() == wanted) == *equal
            })
    }
}

/// The requirements of a selector: what stands between commas that are not in parentheses.
fn parts(selector: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    selector
        .split(move |letter| {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            letter == ',' && depth == 0
        })
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn requirement(part: &str) -> Result<Expression, Refusal> {
    let set = |values: &str| -> Result<_, Refusal> {
        let inner = values.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let inner = inner.ok_or_else(|| refusal::bad_request(&format!("unable to parse requirement: {part}")))?;
        Ok(inner.split(',').map(|value| value.trim().to_owned()).collect())
    };
    let owned = |text: &str| text.trim().to_owned();
    Ok(if let Some((key, values)) = part.split_once(" notin ") {
        Expression::NotIn(owned(key), set(values)?)
    } else if let Some((key, values)) = part.split_once(" in ") {
        Expression::In(owned(key), set(values)?)
    } else if let Some((key, value)) = part.split_once("!=") {
        Expression::NotEqual(owned(key), owned(value))
    } else if let Some((key, value)) = part.split_once('=') {
        Expression::Equal(owned(key), owned(value.trim_start_matches('=')))
    } else if let Some(key) = part.strip_prefix('!') {
        Expression::DoesNotExist(owned(key))
    } else {
        Expression::Exists(owned(part))
    })
}

fn field(resource: &ResourceType, part: &str) -> Result<(String, bool, String), Refusal> {
    let (path, equal, value) = match (part.split_once("!="), part.split_once('=')) {
        (Some((path, value)), _) => (path, false, value),
        (None, Some((path, value))) => (path, true, value.trim_start_matches('=')),
        (None, None) => return Err(refusal::bad_request(&format!("invalid field selector: {part}"))),
    };
    let is_pod = resource.group.is_empty() && resource.plural == "pods";
    let is_known = matches!(path, "metadata.name" | "metadata.namespace") || (is_pod && POD_FIELDS.contains(&path));
    if !is_known {
        return Err(refusal::bad_request(&format!("field label not supported: {path}")));
    }
    Ok((path.to_owned(), equal, value.to_owned()))
}
