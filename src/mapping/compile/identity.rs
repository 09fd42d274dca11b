//! Who a record is, whom it belongs to, whom it concerns, and who it goes on as.

use sha2::{Digest, Sha256};

use super::super::identity::Succession;
use super::super::plan::Identity;
use super::ObjectCompiler;
use crate::api::mapping_version::{
    Entity, IdentityKey, IdentityReference, IdentityRole, MappingVersionSpec, ObjectMapping, TraitType, Transform,
};
use crate::identity::{BlockedValues, KeyRule, Relation};

/// The fields that name the record which a person goes on as, each with its name in the mapping.
pub(super) fn successors(mapping: &ObjectMapping) -> impl Iterator<Item = (&'static str, &IdentityReference)> {
    let merged = mapping.merged_into.iter().map(|reference| ("mergedInto", reference));
    merged.chain(
        mapping
            .converted_into
            .iter()
            .map(|reference| ("convertedInto", reference)),
    )
}

impl ObjectCompiler<'_> {
    pub(super) fn identity(&mut self, position: usize, required: bool) -> Identity {
        let key = &self.object.identity[position];
        let path = format!("{}.identity[{position}]", self.path);
        let chain = self.chain(&key.from, &key.transforms, TraitType::String.into(), &path);
        Identity {
            kind: key.kind.clone(),
            sent_as: self.names.of_identity(&key.kind).unwrap_or_else(|| key.kind.clone()),
            path: format!("identity[{}]", key.kind),
            chain,
            required,
            rule: KeyRule {
                informational: key.role == IdentityRole::Informational,
                shared_by: key.block_when_shared_by,
                blocked: BlockedValues::new(&key.block_values),
            },
            definition: definition(key, self.spec),
        }
    }

    /// What is wrong with the rules of a key, beyond its value's source.
    pub(super) fn key_rules(&mut self, position: usize, identity: &Identity) {
        let key = &self.object.identity[position];
        let path = format!("{}.identity[{position}]", self.path);
        if let Some(threshold) = key
            .block_when_shared_by
            .filter(|threshold| !(2..=1000).contains(threshold))
        {
            self.errors.add(
                format_args!("{path}.blockWhenSharedBy"),
                format!("{threshold}: a value can be shared by 2 records or more, and is counted up to 1000"),
            );
        }
        let list = format!("{path}.blockValues");
        for (place, entry) in key.block_values.iter().enumerate() {
            let path = format!("{list}[{place}]");
            if let Some(earlier) = key.block_values[..place].iter().position(|earlier| earlier == entry) {
                self.errors
                    .add(path, format!("{entry:?} is already blockValues[{earlier}]"));
                continue;
            }
            if entry.is_empty() || entry == "@" {
                self.errors.add(
                    path,
                    format!("{entry:?} matches no value; give a whole value, or a local part like info@"),
                );
                continue;
            }
            let left = identity.chain.leaves(entry, self.fields.names.len());
            if left.as_ref().is_some_and(|left| left != entry) {
                self.errors.add(
                    path,
                    format!(
                        "{entry:?} never matches: the transforms leave {:?} of it, and entries are compared with what the \
                         transforms leave",
                        left.unwrap_or_default()
                    ),
                );
            }
        }
    }

    pub(super) fn successions(&mut self) -> Vec<Succession> {
        let object = self.object;
        let mut successions = Vec::new();
        for (name, reference) in successors(object) {
            let path = format!("{}.{name}", self.path);
            if object.entity != Entity::Person {
                self.errors
                    .add(&path, "only a Person goes on as another record; leave it out");
            }
            successions.push(Succession {
                relation: match name {
                    "mergedInto" => Relation::Merged,
                    _ => Relation::Converted,
                },
                field: self.fields.index(&reference.from, &format!("{path}.from"), self.errors),
            });
        }
        successions
    }

    pub(super) fn group(&mut self) -> Option<Identity> {
        let group = self.object.group.as_ref()?;
        let required = self.object.entity == Entity::Membership;
        Some(self.reference("group", &group.kind, &group.from, required))
    }

    pub(super) fn subject(&mut self) -> Option<Identity> {
        let subject = self.object.subject.as_ref()?;
        let required = matches!(self.object.entity, Entity::Deal | Entity::Membership);
        Some(self.reference("subject", &subject.kind, &subject.from, required))
    }

    /// An identity of another entity.
    pub(super) fn reference(&mut self, name: &str, kind: &str, from: &str, required: bool) -> Identity {
        let path = format!("{}.{name}", self.path);
        Identity {
            kind: kind.to_owned(),
            sent_as: kind.to_owned(),
            path: format!("{name}[{kind}]"),
            chain: self.chain(from, &[], TraitType::String.into(), &path),
            required,
            rule: KeyRule::default(),
            definition: String::new(),
        }
    }
}

/// What a key's value is made from, in few characters that stay the same from version to version.
fn definition(key: &IdentityKey, spec: &MappingVersionSpec) -> String {
    let tabled = key
        .transforms
        .iter()
        .any(|transform| matches!(transform, Transform::Enum { .. }));
    let parts = (&key.from, &key.transforms, tabled.then_some(&spec.enums));
    // These types have nothing that JSON lacks.
    let text = serde_json::to_vec(&parts).unwrap_or_default();
    Sha256::digest(text)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
