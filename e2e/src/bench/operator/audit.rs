//! What the API server was asked for, by its own audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The log. It holds nothing of Kubernetes' own components and of administrators.
#[derive(Clone, Debug)]
pub struct AuditLog(PathBuf);

/// A place in the log.
#[derive(Clone, Copy, Debug)]
pub struct Mark(u64);

/// A request, as far as it is of interest here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    stage: String,
    verb: String,
    user: User,
    #[serde(default, rename = "requestURI")]
    uri: String,
    object_ref: Option<Object>,
    response_status: Option<Response>,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Response {
    #[serde(default)]
    code: u16,
}

impl AuditLog {
    /// The log in a file, which may not be there yet.
    pub fn new(path: PathBuf) -> Self {
        AuditLog(path)
    }

    /// The log's end.
    pub fn mark(&self) -> Mark {
        Mark(self.0.metadata().map_or(0, |about| about.len()))
    }

    /// What was written since a mark.
    pub fn since(&self, mark: Mark) -> Result<Vec<Request>> {
        ensure!(
            self.mark().0 >= mark.0,
            "the audit log was begun anew in the middle of a measurement; repeat it"
        );
        let mut file = File::open(&self.0).with_context(|| format!("no audit log in {}", self.0.display()))?;
        file.seek(SeekFrom::Start(mark.0))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // What comes after the last line's end is still being written.
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |place| place + 1);
        let lines = text[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).context("a line of the audit log can't be read"))
            .collect()
    }

    /// The writes since a mark by users whom `who` knows, renewals of Leases aside.
    pub fn writes_since(&self, mark: Mark, who: impl Fn(&str) -> bool) -> Result<Vec<Request>> {
        let requests = self.since(mark)?.into_iter();
        Ok(requests
            .filter(|request| request.is_write() && who(&request.user.username))
            .collect())
    }
}

impl Request {
    fn is_write(&self) -> bool {
        let writes = ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str());
        writes && self.stage == "ResponseComplete" && self.resource() != "leases"
    }

    /// The resource of which all objects were asked for, whatever their namespace: by a list's first page, or by a watch that
    /// begins with one.
    fn lists_all_of(&self) -> Option<&str> {
        let list = self.verb == "list" && self.stage == "ResponseComplete" && !self.uri.contains("continue=");
        let stream =
            self.verb == "watch" && self.stage == "ResponseStarted" && self.uri.contains("sendInitialEvents=true");
        let everywhere = self
            .object_ref
            .as_ref()
            .is_some_and(|object| object.namespace.is_empty());
        let granted = self.response_status.as_ref().is_some_and(|status| status.code < 400);
        ((list || stream) && everywhere && granted).then(|| self.resource())
    }

    fn resource(&self) -> &str {
        self.object_ref.as_ref().map_or("", |object| &object.resource)
    }

    /// The verb and the resource: `patch syncpipelines/status`.
    fn kind(&self) -> String {
        let subresource = self.object_ref.as_ref().map_or("", |object| &object.subresource);
        let slash = if subresource.is_empty() { "" } else { "/" };
        let code = self.response_status.as_ref().map_or(0, |status| status.code);
        let refused = if code >= 400 {
            format!(" ({code})")
        } else {
            String::new()
        };
        format!("{} {}{slash}{subresource}{refused}", self.verb, self.resource())
    }
}

/// How often all objects of each resource were listed.
pub fn lists(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut lists: BTreeMap<String, usize> = BTreeMap::new();
    for resource in requests.iter().filter_map(Request::lists_all_of) {
        *lists.entry(resource.to_owned()).or_default() += 1;
    }
    lists
}

/// How many requests of each kind: `2 patch syncpipelines/status, 1 create jobs`.
pub fn summary(requests: &[Request]) -> String {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for request in requests {
        *kinds.entry(request.kind()).or_default() += 1;
    }
    let told: Vec<_> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn log(events: &[Value]) -> (tempfile::TempDir, AuditLog) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        std::fs::write(&path, lines + "{\"stage\": \"Resp").unwrap();
        (folder, AuditLog::new(path))
    }

    fn event(verb: &str, resource: &str, user: &str) -> Value {
        json!({
            "stage": "ResponseComplete", "verb": verb, "user": {"username": user}, "requestURI": "/",
            "objectRef": {"resource": resource}, "responseStatus": {"code": 200},
        })
    }

    #[test]
    fn writes_are_counted_by_kind_without_leases_and_without_others() {
        let mut refused = event("create", "jobs", "controller");
        refused["responseStatus"]["code"] = json!(409);
        let mut status = event("patch", "syncpipelines", "controller");
        status["objectRef"]["subresource"] = json!("status");
        let (_folder, log) = log(&[
            event("update", "leases", "controller"),
            event("list", "jobs", "controller"),
            event("create", "jobs", "somebody"),
            refused,
            status.clone(),
            status,
        ]);
        let writes = log.writes_since(Mark(0), |user| user == "controller").unwrap();
        assert_eq!(summary(&writes), "1 create jobs (409), 2 patch syncpipelines/status");
    }

    #[test]
    fn a_list_of_all_is_counted_once_whatever_its_pages_and_not_one_of_a_namespace() {
        let mut streaming = event("watch", "jobs", "c");
        streaming["stage"] = json!("ResponseStarted");
        streaming["requestURI"] = json!("/apis/batch/v1/jobs?sendInitialEvents=true&watch=1");
        let mut namespaced = event("list", "jobs", "c");
        namespaced["objectRef"]["namespace"] = json!("a");
        let mut page = event("list", "jobs", "c");
        page["requestURI"] = json!("/apis/batch/v1/jobs?limit=500&continue=eyJ");
        let mut refused = event("list", "jobs", "c");
        refused["responseStatus"]["code"] = json!(403);
        let all = [
            event("list", "jobs", "c"),
            page,
            streaming,
            namespaced,
            refused,
            event("watch", "jobs", "c"),
        ];
        let (_folder, log) = log(&all);
        assert_eq!(
            lists(&log.since(Mark(0)).unwrap()),
            BTreeMap::from([("jobs".to_owned(), 2)])
        );
    }
}
