//! What is reconciled, by name.

use std::fmt;

use kube::{Resource, ResourceExt};

/// One of the four kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A CRM org.
    CrmSource,
    /// A destination.
    CdpSink,
    /// A version of a mapping.
    MappingVersion,
    /// Streams from a source to a sink.
    SyncPipeline,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::CrmSource, Kind::CdpSink, Kind::MappingVersion, Kind::SyncPipeline];

    /// The name as manifests have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::CrmSource => "CrmSource",
            Kind::CdpSink => "CdpSink",
            Kind::MappingVersion => "MappingVersion",
            Kind::SyncPipeline => "SyncPipeline",
        }
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The name of something in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl Name {
    /// The name of a resource.
    pub fn of<K: Resource>(resource: &K) -> Name {
        Name {
            namespace: resource.namespace().unwrap_or_default(),
            name: resource.name_any(),
        }
    }

    /// Another one in the same namespace.
    pub fn beside(&self, name: &str) -> Name {
        Name {
            namespace: self.namespace.clone(),
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A resource of one of the four kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
}

impl Key {
    /// The resource of a kind and a name.
    pub fn new(kind: Kind, name: Name) -> Key {
        Key { kind, name }
    }
}
