//! Objects of one kind, by namespace and name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::Resource;

use super::super::key::Name;

/// Objects of one kind, and those of it that can't be decoded.
#[derive(Debug)]
pub struct Objects<K> {
    whole: HashMap<String, BTreeMap<String, Arc<K>>>,
    undecodable: HashMap<Name, String>,
}

impl<K> Default for Objects<K> {
    fn default() -> Self {
        Objects {
            whole: HashMap::new(),
            undecodable: HashMap::new(),
        }
    }
}

impl<K: Resource> Objects<K> {
    /// One of them.
    pub fn get(&self, name: &Name) -> Option<&Arc<K>> {
        self.whole.get(&name.namespace)?.get(&name.name)
    }

    /// Those of a namespace, by name.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = (&String, &Arc<K>)> {
        self.whole.get(namespace).into_iter().flatten()
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.whole.values().flat_map(BTreeMap::values)
    }

    /// The names of all, decodable or not, of a namespace or of every one.
    pub fn names(&self, namespace: Option<&str>) -> Vec<Name> {
        let wanted = |candidate: &str| namespace.is_none_or(|namespace| namespace == candidate);
        let whole = self.whole.iter().filter(|(namespace, _)| wanted(namespace));
        let whole = whole.flat_map(|(namespace, objects)| {
            objects.keys().map(|name| Name {
                namespace: namespace.clone(),
                name: name.clone(),
            })
        });
        let undecodable = self.undecodable.keys().filter(|name| wanted(&name.namespace));
        whole.chain(undecodable.cloned()).collect()
    }

    /// Why one of them can't be decoded.
    pub fn undecodable(&self, name: &Name) -> Option<&str> {
        self.undecodable.get(name).map(String::as_str)
    }

    /// Puts one in, unless a newer one is there; returns the one before, or nothing where it was not taken.
    pub fn put(&mut self, object: K) -> Option<(Arc<K>, Option<Arc<K>>)> {
        let name = Name::of(&object);
        if self.get(&name).is_some_and(|held| is_older(&object, held)) {
            return None;
        }
        self.undecodable.remove(&name);
        let object = Arc::new(object);
        let objects = self.whole.entry(name.namespace).or_default();
        let before = objects.insert(name.name, object.clone());
        Some((object, before))
    }

    /// Notes one that can't be decoded; returns the one before.
    pub fn put_undecodable(&mut self, name: Name, error: String) -> Option<Arc<K>> {
        let before = self.take(&name);
        self.undecodable.insert(name, error);
        before
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &Name) -> Option<Arc<K>> {
        self.undecodable.remove(name);
        self.take(name)
    }

    fn take(&mut self, name: &Name) -> Option<Arc<K>> {
        let objects = self.whole.get_mut(&name.namespace)?;
        let taken = objects.remove(&name.name);
        if objects.is_empty() {
            self.whole.remove(&name.namespace);
        }
        taken
    }
}

/// Whether an object is an older state of the very same one. Versions of one kind are numbers that grow:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>.
fn is_older<K: Resource>(object: &K, held: &K) -> bool {
    let version = |one: &K| one.meta().resource_version.as_ref()?.parse::<u128>().ok();
    object.meta().uid == held.meta().uid && version(object) < version(held)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_older_state_does_not_take_the_place_of_a_newer_one() {
        let object = |uid: &str, version: &str| -> ConfigMap {
            serde_json::from_value(
                json!({"metadata": {"name": "a", "namespace": "n", "uid": uid, "resourceVersion": version}}),
            )
            .unwrap()
        };
        let mut objects = Objects::default();
        let taken = ["9", "10", "9"].map(|version| objects.put(object("u", version)).is_some());
        // Made anew under the same name.
        let anew = objects.put(object("v", "8")).is_some();
        assert_eq!((taken, anew), ([true, true, false], true));
        let name = Name::of(&object("v", "8"));
        objects.put_undecodable(name.clone(), "no".into());
        assert_eq!((objects.get(&name), objects.names(None)), (None, vec![name]));
    }
}
