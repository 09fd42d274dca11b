//! What an HTTP request asks of which resource.

use std::collections::BTreeMap;
use std::fmt;

use axum::http::{Method, Request, header};
use kube::client::Body;
use serde_json::Value;

use super::refusal::{self, Refusal};

/// A resource of an API group, as RBAC names it: `jobs.batch`, `pods`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceType {
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural name.
    pub plural: String,
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if self.group.is_empty() {
            return Ok(());
        }
        write!(f, ".{}", self.group)
    }
}

/// Kubernetes' verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    /// Whether it may change something.
    pub fn writes(self) -> bool {
        !matches!(self, Verb::Get | Verb::List | Verb::Watch)
    }

    /// As RBAC spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        }
    }
}

/// A request, understood.
#[derive(Clone, Debug)]
pub struct Call {
    pub verb: Verb,
    pub resource: ResourceType,
    /// `v1`, `batch/v1`.
    pub api_version: String,
    /// Empty for all namespaces, and for what has none.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// `status`, or empty.
    pub subresource: String,
    pub query: BTreeMap<String, String>,
    /// Whether only the metadata is asked for.
    pub metadata_only: bool,
    pub content_type: String,
    /// Null where there is none.
    pub body: Value,
}

impl Call {
    /// Reads a request.
    ///
    /// # Errors
    /// What the API server answers to one that it does not understand.
    pub async fn read(request: Request<Body>) -> Result<Call, Refusal> {
        let (head, body) = request.into_parts();
        let bytes = body
            .collect_bytes()
            .await
            .map_err(|error| refusal::bad_request(&error.to_string()))?;
        let body = match bytes.as_ref() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|error| refusal::bad_request(&error.to_string()))?,
        };
        let url = reqwest::Url::parse(&format!("http://fake{}", head.uri))
            .map_err(|error| refusal::bad_request(&error.to_string()))?;
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let header = |name| {
            head.headers
                .get(name)
                .and_then(|value: &axum::http::HeaderValue| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        let place = Place::of(url.path()).ok_or_else(refusal::page_not_found)?;
        let watches = query.get("watch").is_some_and(|value| value == "true" || value == "1");
        let verb = match (&head.method, place.name.is_empty()) {
            (&Method::GET, true) if watches => Verb::Watch,
            (&Method::GET, true) => Verb::List,
            (&Method::GET, false) => Verb::Get,
            (&Method::POST, true) => Verb::Create,
            (&Method::PUT, false) => Verb::Update,
            (&Method::PATCH, false) => Verb::Patch,
            (&Method::DELETE, false) => Verb::Delete,
            _ => return Err(refusal::not_supported(&format!("{} on {}", head.method, url.path()))),
        };
        Ok(Call {
            verb,
            resource: place.resource,
            api_version: place.api_version,
            namespace: place.namespace,
            name: place.name,
            subresource: place.subresource,
            metadata_only: header(header::ACCEPT).contains("as=PartialObjectMetadata"),
            content_type: header(header::CONTENT_TYPE),
            query,
            body,
        })
    }

    /// A parameter of the query; empty where it was not given.
    pub fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// What a path names.
struct Place {
    resource: ResourceType,
    api_version: String,
    namespace: String,
    name: String,
    subresource: String,
}

impl Place {
    fn of(path: &str) -> Option<Place> {
        let mut parts = path.trim_matches('/').split('/').collect::<Vec<_>>().into_iter();
        let (group, version) = match parts.next()? {
            "api" => ("", parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        // A Namespace is itself at /namespaces/NAME; what is in it comes after that.
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !matches!(rest, [] | ["status" | "finalize"]) => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        Some(Place {
            resource: ResourceType {
                group: group.to_owned(),
                plural: plural.to_owned(),
            },
            api_version: if group.is_empty() {
                version.to_owned()
            } else {
                format!("{group}/{version}")
            },
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }
}
