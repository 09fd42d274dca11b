//! The objects, and what happened to them: etcd's part.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, TimestampRound, Unit};
use serde_json::{Value, json};

use super::refusal::{self, Refusal};
use super::request::ResourceType;

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub resource: ResourceType,
    /// Empty for what has no namespace.
    pub namespace: String,
    pub name: String,
}

/// One write.
pub struct Change {
    pub version: u64,
    pub key: Key,
    /// The object before it; none where it was created.
    pub before: Option<Arc<Value>>,
    /// The object after it, or its last state where it was deleted; with the write's version.
    pub after: Arc<Value>,
    pub deleted: bool,
}

/// Objects by key, under one version that grows with each write.
pub struct Store {
    version: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    /// The writes since `oldest`.
    history: Vec<Change>,
    /// What happened up to this version is compacted.
    oldest: u64,
    /// How often it was compacted.
    compactions: usize,
    kinds: BTreeMap<ResourceType, String>,
    uids: u64,
    now: Timestamp,
}

impl Store {
    pub fn new() -> Self {
        Store {
            version: 1,
            objects: BTreeMap::new(),
            history: Vec::new(),
            oldest: 1,
            compactions: 0,
            kinds: BTreeMap::new(),
            uids: 0,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn compactions(&self) -> usize {
        self.compactions
    }

    pub fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// The instant as metadata holds it: in whole seconds.
    pub fn now(&self) -> String {
        let down = TimestampRound::new()
            .smallest(Unit::Second)
            .mode(jiff::RoundMode::Floor);
        self.now.round(down).unwrap_or(self.now).to_string()
    }

    /// A `uid` that was not given before.
    pub fn new_uid(&mut self) -> String {
        self.uids += 1;
        format!("00000000-0000-4000-8000-{:012}", self.uids)
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter()
    }

    /// The kind of a resource's objects, where one was there.
    pub fn kind(&self, resource: &ResourceType) -> Option<&str> {
        self.kinds.get(resource).map(String::as_str)
    }

    /// Writes an object anew, or for the first time.
    pub fn write(&mut self, key: Key, object: Value) -> Arc<Value> {
        if let Some(kind) = object["kind"].as_str() {
            self.kinds.insert(key.resource.clone(), kind.to_owned());
        }
        self.commit(key, object, false)
    }

    /// Removes an object.
    pub fn remove(&mut self, key: Key) -> Option<Arc<Value>> {
        let object = Value::clone(self.objects.get(&key)?);
        Some(self.commit(key, object, true))
    }

    fn commit(&mut self, key: Key, mut object: Value, deleted: bool) -> Arc<Value> {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let after = Arc::new(object);
        let before = if deleted {
            self.objects.remove(&key)
        } else {
            self.objects.insert(key.clone(), after.clone())
        };
        self.history.push(Change {
            version: self.version,
            key,
            before,
            after: after.clone(),
            deleted,
        });
        after
    }

    /// Forgets what happened until now.
    pub fn compact(&mut self) {
        self.history.clear();
        self.oldest = self.version;
        self.compactions += 1;
    }

    /// The writes after a version.
    ///
    /// # Errors
    /// When they are compacted.
    pub fn since(&self, version: u64) -> Result<&[Change], Refusal> {
        if version < self.oldest {
            return Err(refusal::gone(version, self.oldest));
        }
        let first = self.history.partition_point(|change| change.version <= version);
        Ok(&self.history[first..])
    }

    /// The objects as they were at a version.
    ///
    /// # Errors
    /// When what happened since is compacted.
    pub fn at(&self, version: u64) -> Result<BTreeMap<Key, Arc<Value>>, Refusal> {
        let mut objects = self.objects.clone();
        for change in self.since(version)?.iter().rev() {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), before.clone()),
                None => objects.remove(&change.key),
            };
        }
        Ok(objects)
    }
}
