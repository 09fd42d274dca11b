//! Plain nulls that say something, and that client-side `kubectl apply` drops on the way to the API server: in a projection, what is
//! left out would go out under its canonical name.

use std::path::Path;

use serde_json::Value;

use super::files::documents;

/// What is said of each.
pub const WORDS: &str = "client-side kubectl apply drops a plain null, and this would be delivered under its canonical name; write \
                         \"Null\" with quotes";

/// The paths of those in the MappingVersion of that name in a file.
pub fn lost_nulls(file: &Path, name: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for document in documents(file).unwrap_or_default() {
        let items = document["items"].as_array();
        for resource in items.into_iter().flatten().chain([&document]) {
            if resource["kind"] == "MappingVersion" && resource["metadata"]["name"] == name {
                let projections = &resource["spec"]["projections"];
                nulls("spec.projections", projections, &mut paths);
            }
        }
    }
    paths
}

fn nulls(path: &str, value: &Value, paths: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}.{name}");
                if member.is_null() {
                    paths.push(path);
                } else {
                    nulls(&path, member, paths);
                }
            }
        }
        Value::Array(elements) => {
            for (position, element) in elements.iter().enumerate() {
                nulls(&format!("{path}[{position}]"), element, paths);
            }
        }
        _ => {}
    }
}
