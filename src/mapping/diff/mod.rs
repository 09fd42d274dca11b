//! What changed between two versions of a mapping, for whom, and which version number that needs.
//!
//! `compare` walks both specs as JSON by the tables of `shape`, so that a field that no table names is compared too: it is taken
//! for breaking, and a new field needs a line there only to be milder. `projections` compares what each CDP is sent. Each change follows one [`Rule`], which says whether it
//! breaks; `docs/versions.md` lists them. `numbering` holds the version number against the worst of the changes.

mod compare;
mod numbering;
mod projections;
mod rule;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use jiff::civil::Date;
use semver::Version;
use serde::Serialize;
use serde_json::Value;

use super::CompileError;
use crate::api::mapping_version::{Dependent, MappingVersionSpec, Owner};

pub use numbering::{Numbering, predecessor};
pub use rule::{Effect, Rule};

/// Everything that differs between two versions of a mapping.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The later version's mapping.
    pub mapping: String,
    /// The version that is compared with.
    pub from: String,
    /// The later version.
    pub to: String,
    /// The changes, in the order of the spec.
    pub changes: Vec<Change>,
    /// Who is asked about the contract, of both versions.
    pub owners: Vec<Owner>,
    /// The first day after the given one on which the comparison says something else: a `removeAfter` that is still to come.
    #[serde(skip)]
    pub until: Option<Date>,
}

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Where, by names and not by positions: `objects[Contact].traits[phone].onNull`.
    pub path: String,
    /// Whether it is new, gone, or other than before.
    pub kind: ChangeKind,
    /// The rule that it falls under.
    pub rule: Rule,
    /// What the rule makes of it.
    pub effect: Effect,
    /// What was there, where it is gone or other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What is there, where it is new or other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// What a reader may want to know beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The traits concerned that are marked as critical.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<String>,
    /// What rests on the traits concerned, by either version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependents: Vec<Dependent>,
}

/// Whether something is new, gone, or other than before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// It is other than before.
    Changed,
}

/// Compares two versions of a mapping on a day, which decides whether a deprecated trait may be gone.
pub fn compare(before: &MappingVersionSpec, after: &MappingVersionSpec, today: Date) -> Comparison {
    compare::compare(before, after, today)
}

impl Comparison {
    /// The worst effect among the changes; nothing where there is no change.
    pub fn effect(&self) -> Option<Effect> {
        self.changes.iter().map(|change| change.effect).max()
    }

    /// The changes of one effect.
    pub fn of(&self, effect: Effect) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.effect == effect)
    }

    /// The version number, held against the changes. Nothing where one of the numbers is no semantic version, which compiling
    /// the mapping tells.
    pub fn numbering(&self) -> Option<Numbering> {
        let (from, to) = (Version::parse(&self.from).ok()?, Version::parse(&self.to).ok()?);
        Some(Numbering::of(from, to, self.effect()))
    }

    /// What is wrong with the version number, in the words of `status`, `validate` and `diff`.
    pub fn misnumbered(&self) -> Option<CompileError> {
        let numbering = self.numbering()?;
        let least = numbering.too_low()?;
        let effect = self.effect()?;
        Some(CompileError {
            path: "spec.version".to_owned(),
            message: format!(
                "{} is too low for what changed since {}: {}. The next version with such changes is {least}",
                self.to,
                self.from,
                few(self
                    .of(effect)
                    .map(|change| format!("{change} ({})", effect.as_adjective()))),
            ),
        })
    }

    /// Everyone who is told, with what rests on something that changed, and the paths of these changes.
    pub fn told(&self) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
        let mut told: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
        for change in &self.changes {
            for dependent in &change.dependents {
                let theirs = told.entry(dependent.owner.clone()).or_default();
                let paths = theirs.entry(named(dependent)).or_default();
                paths.push(change.path.clone());
            }
        }
        told
    }
}

/// `Audience "EU win-back"`.
pub fn named(dependent: &Dependent) -> String {
    format!("{:?} {:?}", dependent.kind, dependent.name)
}

/// How many are named where more could be.
const NAMED: usize = 5;

/// The first of them, and how many more there are.
fn few(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    match all.len().checked_sub(NAMED) {
        None | Some(0) => all.join("; "),
        Some(more) => format!("{}; and {more} more", all[..NAMED].join("; ")),
    }
}

impl fmt::Display for Change {
    /// `objects[Contact].traits[phone].type: String → Integer`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.before, &self.after) {
            (ChangeKind::Changed, Some(before), Some(after)) => {
                write!(out, "{}: {} → {}", self.path, short(before), short(after))
            }
            (ChangeKind::Added, ..) => write!(out, "{} is new", self.path),
            (ChangeKind::Removed, ..) => write!(out, "{} is gone", self.path),
            (ChangeKind::Changed, ..) => write!(out, "{} is other", self.path),
        }
    }
}

/// How much of a value is shown, in characters.
const SHOWN: usize = 160;

/// A value of the spec on one line.
fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.replace('\n', " "),
        other => other.to_string(),
    };
    if text.chars().count() > SHOWN {
        let beginning: String = text.chars().take(SHOWN).collect();
        format!("{beginning}…")
    } else {
        text
    }
}
