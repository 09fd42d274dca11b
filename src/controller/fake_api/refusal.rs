//! The refusals of the API server, in its own words
//! (<https://github.com/kubernetes/apimachinery/blob/master/pkg/api/errors/errors.go>).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusDetails};

use super::request::{ResourceType, Verb};

/// A refusal, as the API server sends it.
pub type Refusal = Box<Status>;

fn failure(code: i32, reason: &str, message: String, details: Option<StatusDetails>) -> Refusal {
    Box::new(Status {
        code: Some(code),
        reason: Some(reason.to_owned()),
        message: Some(message),
        status: Some("Failure".to_owned()),
        details,
        ..Status::default()
    })
}

fn about(resource: &ResourceType, name: &str) -> Option<StatusDetails> {
    Some(StatusDetails {
        group: Some(resource.group.clone()).filter(|group| !group.is_empty()),
        kind: Some(resource.plural.clone()),
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        ..StatusDetails::default()
    })
}

pub fn not_found(resource: &ResourceType, name: &str) -> Refusal {
    let message = format!("{resource} \"{name}\" not found");
    failure(404, "NotFound", message, about(resource, name))
}

/// A path that no API serves.
pub fn page_not_found() -> Refusal {
    let message = "the server could not find the requested resource".to_owned();
    failure(404, "NotFound", message, Some(StatusDetails::default()))
}

pub fn already_exists(resource: &ResourceType, name: &str) -> Refusal {
    let message = format!("{resource} \"{name}\" already exists");
    failure(409, "AlreadyExists", message, about(resource, name))
}

/// The `resourceVersion` is no longer the newest.
pub fn modified(resource: &ResourceType, name: &str) -> Refusal {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    conflict(resource, name, why)
}

/// A `uid` that was made a condition is another.
pub fn other_uid(resource: &ResourceType, name: &str, wanted: &str, is: &str) -> Refusal {
    let why = format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {is}");
    conflict(resource, name, &why)
}

fn conflict(resource: &ResourceType, name: &str, why: &str) -> Refusal {
    let message = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
    failure(409, "Conflict", message, about(resource, name))
}

pub fn invalid(resource: &ResourceType, name: &str, why: &str) -> Refusal {
    let message = format!("{resource} \"{name}\" is invalid: {why}");
    failure(422, "Invalid", message, about(resource, name))
}

/// A JSON patch that could not be applied; what went wrong is not told.
pub fn unprocessable() -> Refusal {
    let message = "the server rejected our request due to an error in our request".to_owned();
    failure(422, "Invalid", message, Some(StatusDetails::default()))
}

pub fn bad_request(message: &str) -> Refusal {
    failure(400, "BadRequest", message.to_owned(), None)
}

/// What this API server does not do, be it that the real one does.
pub fn not_supported(what: &str) -> Refusal {
    failure(
        405,
        "MethodNotAllowed",
        format!("the fake API server does not do {what}"),
        None,
    )
}

pub fn unsupported_media_type(content_type: &str) -> Refusal {
    let message = format!("the body of the request was in an unsupported format: {content_type}");
    failure(415, "UnsupportedMediaType", message, None)
}

pub fn forbidden(verb: Verb, resource: &ResourceType, name: &str, namespace: &str) -> Refusal {
    let subject = if name.is_empty() {
        format!("{resource} is forbidden")
    } else {
        format!("{resource} \"{name}\" is forbidden")
    };
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{namespace}\"")
    };
    let message = format!(
        "{subject}: User \"system:serviceaccount:ferrygate-system:ferrygate-controller\" cannot {} resource \"{}\" in API \
         group \"{}\" {place}",
        verb.as_str(),
        resource.plural,
        resource.group,
    );
    failure(403, "Forbidden", message, about(resource, name))
}

/// A version that is compacted.
pub fn gone(version: u64, oldest: u64) -> Refusal {
    failure(
        410,
        "Expired",
        format!("too old resource version: {version} ({oldest})"),
        None,
    )
}
