//! An object as a CRM describes it to the integration user, and what changed in it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// An object as the CRM describes it to the integration user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDescription {
    /// The object's API name.
    pub object: String,
    /// Its fields.
    pub fields: Vec<FieldDescription>,
}

/// A field as the CRM describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDescription {
    /// The field's API name.
    pub name: String,
    /// The name that people see.
    pub label: String,
    /// The field's type, in the CRM's own word: `string`, `email`, `currency`, `datetime`, …
    pub kind: String,
    /// The greatest length of a text.
    pub length: u32,
    /// Whether a query may filter by it.
    pub filterable: bool,
    /// Whether it can be null.
    pub nillable: bool,
    /// Whether a formula gives its value: no stamp moves when that changes.
    pub calculated: bool,
    /// The values that a picklist offers.
    pub values: Vec<String>,
}

impl ObjectDescription {
    /// The field of this API name, in the CRM's own case.
    pub fn field(&self, name: &str) -> Option<&FieldDescription> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// A hash of all that is described, whatever the order of the fields: 16 hexadecimal digits.
    pub fn hash(&self) -> String {
        let mut fields: Vec<_> = self.fields.iter().collect();
        fields.sort_by(|one, other| one.name.cmp(&other.name));
        let mut hash = Sha256::new();
        for field in fields {
            let FieldDescription {
                name,
                label,
                kind,
                length,
                nillable,
                calculated,
                values,
                filterable: _,
            } = field;
            hash.update(format!("{name}\0{label}\0{kind}\0{length}\0{nillable}\0{calculated}\0"));
            hash.update(values.join("\0"));
            hash.update("\n");
        }
        hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What is different now, by field.
    pub fn changes_to(&self, now: &ObjectDescription) -> Vec<FieldChange> {
        let by_name = |description: &'_ ObjectDescription| -> BTreeMap<String, FieldDescription> {
            let fields = description.fields.iter();
            fields.map(|field| (field.name.clone(), field.clone())).collect()
        };
        let (before, now) = (by_name(self), by_name(now));
        let mut changes = Vec::new();
        let mut add = |field: &str, what| {
            changes.push(FieldChange {
                field: field.to_owned(),
                what,
            });
        };
        for (name, field) in &before {
            match now.get(name) {
                None => add(name, Change::Removed),
                Some(now) => differences(field, now).into_iter().for_each(|what| add(name, what)),
            }
        }
        for (name, field) in now.iter().filter(|(name, _)| !before.contains_key(*name)) {
            add(name, Change::Added(field.kind.clone()));
        }
        changes.sort_by(|one, other| one.field.cmp(&other.field));
        changes
    }
}

/// What changed in one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// The field's API name.
    pub field: String,
    /// What changed.
    pub what: Change,
}

/// A change of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new, of this type.
    Added(String),
    /// It is gone, or the integration user sees it no longer.
    Removed,
    /// Its type is another one: before and now.
    Retyped(String, String),
    /// Its label is another one: before and now.
    Relabelled(String, String),
    /// The greatest length of its text is another one: before and now.
    Resized(u32, u32),
    /// It can be null now.
    Optional,
    /// It can't be null any more.
    Required,
    /// A formula gives its value now.
    Calculated,
    /// No formula gives its value any more.
    NotCalculated,
    /// Its picklist offers more values.
    ValuesAdded(Vec<String>),
    /// Its picklist no longer offers some values.
    ValuesRemoved(Vec<String>),
}

impl Change {
    /// Whether a mapping that reads the field may mean something else by it now. A field that is new, a label, a longer text and
    /// a field that is always there change nothing of what is read.
    pub fn may_matter(&self) -> bool {
        match self {
            Change::Added(_) | Change::Relabelled(..) | Change::Required | Change::NotCalculated => false,
            Change::Resized(before, now) => now < before,
            Change::Removed
            | Change::Retyped(..)
            | Change::Optional
            | Change::Calculated
            | Change::ValuesAdded(_)
            | Change::ValuesRemoved(_) => true,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Added(kind) => write!(formatter, "is new, of type {kind}"),
            Change::Removed => write!(formatter, "is gone, or is no longer visible to the integration user"),
            Change::Retyped(before, now) => write!(formatter, "was of type {before} and is of type {now}"),
            Change::Relabelled(before, now) => write!(formatter, "was labelled {before:?} and is labelled {now:?}"),
            Change::Resized(before, now) => write!(formatter, "had room for {before} characters and has for {now}"),
            Change::Optional => write!(formatter, "can be empty now"),
            Change::Required => write!(formatter, "can't be empty any more"),
            Change::Calculated => write!(formatter, "is a formula now: its changes move no stamp"),
            Change::NotCalculated => write!(formatter, "is no formula any more"),
            Change::ValuesAdded(values) => write!(formatter, "offers new values: {}", quoted(values)),
            Change::ValuesRemoved(values) => write!(formatter, "no longer offers: {}", quoted(values)),
        }
    }
}

/// The first values in quotes, and how many more there are.
pub fn quoted(values: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut shown: Vec<String> = values.iter().take(SHOWN).map(|value| format!("{value:?}")).collect();
    if values.len() > SHOWN {
        shown.push(format!("and {} more", values.len() - SHOWN));
    }
    shown.join(", ")
}

fn differences(before: &FieldDescription, now: &FieldDescription) -> Vec<Change> {
    let mut changes = Vec::new();
    if before.kind != now.kind {
        changes.push(Change::Retyped(before.kind.clone(), now.kind.clone()));
    }
    if before.label != now.label {
        changes.push(Change::Relabelled(before.label.clone(), now.label.clone()));
    }
    if before.length != now.length {
        changes.push(Change::Resized(before.length, now.length));
    }
    match (before.nillable, now.nillable) {
        (false, true) => changes.push(Change::Optional),
        (true, false) => changes.push(Change::Required),
        _ => {}
    }
    match (before.calculated, now.calculated) {
        (false, true) => changes.push(Change::Calculated),
        (true, false) => changes.push(Change::NotCalculated),
        _ => {}
    }
    let without = |values: &[String], others: &[String]| -> Vec<String> {
        let missing = values.iter().filter(|value| !others.contains(value));
        missing.cloned().collect()
    };
    let added = without(&now.values, &before.values);
    if !added.is_empty() {
        changes.push(Change::ValuesAdded(added));
    }
    let removed = without(&before.values, &now.values);
    if !removed.is_empty() {
        changes.push(Change::ValuesRemoved(removed));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: &str) -> FieldDescription {
        FieldDescription {
            name: name.into(),
            label: name.into(),
            kind: kind.into(),
            ..FieldDescription::default()
        }
    }

    fn object(fields: &[FieldDescription]) -> ObjectDescription {
        ObjectDescription {
            object: "Contact".into(),
            fields: fields.to_vec(),
        }
    }

    #[test]
    fn every_kind_of_change_is_told_in_words_and_only_some_may_matter() {
        let picklist = |values: &[&str]| FieldDescription {
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            ..field("Stage", "picklist")
        };
        let with = |change: fn(&mut FieldDescription)| {
            let mut field = field("A", "string");
            change(&mut field);
            field
        };
        let cases = [
            (field("A", "string"), field("A", "string"), "", false),
            (
                field("A", "string"),
                field("A", "date"),
                "A was of type string and is of type date",
                true,
            ),
            (
                field("A", "string"),
                with(|field| field.label = "Alpha".into()),
                "A was labelled \"A\" and is labelled \"Alpha\"",
                false,
            ),
            (
                with(|field| field.length = 80),
                with(|field| field.length = 40),
                "A had room for 80 characters and has for 40",
                true,
            ),
            (
                with(|field| field.length = 40),
                with(|field| field.length = 80),
                "A had room for 40 characters and has for 80",
                false,
            ),
            (
                field("A", "string"),
                with(|field| field.nillable = true),
                "A can be empty now",
                true,
            ),
            (
                with(|field| field.nillable = true),
                field("A", "string"),
                "A can't be empty any more",
                false,
            ),
            (
                field("A", "string"),
                with(|field| field.calculated = true),
                "A is a formula now: its changes move no stamp",
                true,
            ),
            (
                picklist(&["Open"]),
                picklist(&["Won", "Open", "Lost"]),
                "Stage offers new values: \"Won\", \"Lost\"",
                true,
            ),
            (
                picklist(&["Open", "Won"]),
                picklist(&["Open"]),
                "Stage no longer offers: \"Won\"",
                true,
            ),
        ];
        for (before, now, words, matters) in cases {
            let changes = object(&[before]).changes_to(&object(&[now]));
            let told: Vec<_> = changes
                .iter()
                .map(|change| format!("{} {}", change.field, change.what))
                .collect();
            assert_eq!(told.join("; "), words);
            assert_eq!(
                changes.iter().any(|change| change.what.may_matter()),
                matters,
                "{words}"
            );
        }
        let changes = object(&[field("B", "int")]).changes_to(&object(&[field("C", "int")]));
        let told: Vec<_> = changes
            .iter()
            .map(|change| (change.field.as_str(), &change.what))
            .collect();
        assert_eq!(told, [("B", &Change::Removed), ("C", &Change::Added("int".into()))]);
    }

    #[test]
    fn the_hash_knows_every_change_and_not_the_order_of_the_fields() {
        let one = object(&[field("A", "string"), field("B", "int")]);
        let other = object(&[field("B", "int"), field("A", "string")]);
        assert_eq!(one.hash(), other.hash());
        assert_eq!(one.hash().len(), 16);
        let relabelled = object(&[
            FieldDescription {
                label: "Alpha".into(),
                ..field("A", "string")
            },
            field("B", "int"),
        ]);
        assert_ne!(one.hash(), relabelled.hash());
    }
}
