//! What the catalog says, whatever form it is written in.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::words::{self, Step, Term};
use crate::api::common::Classification;
use crate::api::mapping_version::{Dependent, Deprecation, Owner};

/// The contracts of a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// The mappings, by namespace and name.
    pub mappings: Vec<Mapping>,
}

/// A mapping with all of its versions.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where its pages stand: a relative path of two names.
    pub folder: String,
    /// Its versions, newest first.
    pub versions: Vec<Version>,
    /// Which of them is shown: the highest that is no pre-release or, where all are, the highest.
    pub current: usize,
    /// What became of each trait over the versions, in the order of the current version, and after those what it lacks.
    pub traits: Vec<TraitHistory>,
    /// The pipelines that name the mapping.
    pub pipelines: Vec<Pipeline>,
}

/// One version.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    /// Its number.
    pub number: String,
    /// `metadata.name` of the MappingVersion.
    pub resource: String,
    /// How it stands.
    pub standing: Standing,
    /// Who is asked.
    pub owners: Vec<Owner>,
    /// When it is due for a review.
    pub review_by: Option<Date>,
    /// What is new, in its author's words.
    pub release_notes: Option<String>,
    /// What changed against the version before, by rule.
    pub changes: Vec<Change>,
    /// The canonical entities.
    pub entities: Vec<Entity>,
    /// What the contract says beside.
    pub further: Vec<Term>,
}

/// How a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A pipeline takes it.
    Active,
    /// None does, and none is newer.
    Proposed,
    /// A pre-release that no pipeline takes.
    Draft,
    /// None does, and there are newer ones.
    Retired,
}

/// What changed about one trait from one version to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entity's name.
    pub entity: String,
    /// The trait's name.
    pub name: String,
    /// What changed.
    pub what: What,
}

/// What changed about a trait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// These parts of it are others, in words.
    Changed(Vec<&'static str>),
}

/// What CDPs call something that they have a name of their own for, by the CDP's name in manifests; nothing where it does not get
/// it.
pub type Names = BTreeMap<&'static str, Option<String>>;

/// A canonical entity in one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Entity {
    /// Its name: `Person`.
    pub name: String,
    /// The CRM objects that become it.
    pub objects: Vec<Object>,
    /// Its traits, in the mapping's order.
    pub traits: Vec<Trait>,
}

/// A CRM object in one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its API name.
    pub name: String,
    /// How a record is told from others, in order of precedence.
    pub identity: Vec<Source>,
    /// What it belongs to and whom it concerns.
    pub references: Vec<Term>,
    /// The purposes that a person has agreed to.
    pub consent: Vec<Source>,
    /// The events.
    pub events: Vec<Event>,
    /// What the contract says of it beside.
    pub further: Vec<Term>,
}

/// Something with a name that comes from a CRM field: an identity, a purpose, a property.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The field.
    pub from: String,
    /// The type's name, where it has one.
    pub kind: String,
    /// Of a list, the type's name of its items.
    pub items: String,
    /// What is done to the field's value.
    pub steps: Vec<Step>,
    /// The values that can come of it, or of a list's items, where that is known.
    pub values: Option<Vec<String>>,
    /// How closely it is kept, where it is said.
    pub classification: Option<Classification>,
    /// What CDPs call it.
    pub names: Names,
    /// What the contract says of it beside.
    pub further: Vec<Term>,
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// When it happens, in words.
    pub when: String,
    /// Its properties.
    pub properties: Vec<Source>,
    /// What CDPs call it.
    pub names: Names,
    /// What the contract says of it beside.
    pub further: Vec<Term>,
}

/// A trait of an entity in one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Trait {
    /// Its name.
    pub name: String,
    /// Where it comes from: once for each CRM object that has it.
    pub definitions: Vec<Definition>,
    /// What rests on it outside of Ferrygate.
    pub dependents: Vec<Dependent>,
    /// What CDPs call it, and where in its nested objects they get it.
    pub names: Names,
}

/// Where a trait comes from, in one CRM object.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The CRM object.
    pub object: String,
    /// The field, or the expression.
    pub origin: Origin,
    /// What is done to the value, in order.
    pub steps: Vec<Step>,
    /// The translation tables that the steps use, by name.
    pub tables: BTreeMap<String, BTreeMap<String, String>>,
    /// The type's name in the contract.
    pub kind: String,
    /// Of a list, the type's name of its items.
    pub items: String,
    /// The standard value in the place of an absent one, where the contract names it.
    pub default: Option<String>,
    /// The values that can come of it, or of a list's items, where that is known.
    pub values: Option<Vec<String>>,
    /// What becomes of an absent value: the rule's name in the contract.
    pub on_null: String,
    /// What becomes of a value that can't be used: the rule's name in the contract.
    pub on_error: String,
    /// How closely it is kept.
    pub classification: Classification,
    /// What it means.
    pub description: Option<String>,
    /// Whether people's work stops when it is wrong.
    pub critical: bool,
    /// Whether it is on its way out.
    pub deprecated: Option<Deprecation>,
    /// What else comes from the same field, in words.
    pub same_field: Vec<String>,
    /// What the contract says of it beside.
    pub further: Vec<Term>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A field of the CRM object.
    Field(String),
    /// A CEL expression over the record.
    Expression(String),
}

impl Definition {
    /// Whether a standard value takes the place of one that is absent, so that the rule for those speaks of errors alone.
    pub fn ends_in_default(&self) -> bool {
        self.steps.last().is_some_and(|step| step.name == "default")
    }

    /// Whether every record delivers the trait.
    pub fn always_there(&self) -> bool {
        match self.on_error.as_str() {
            "Keep" => false,
            "Reject" if self.ends_in_default() => true,
            _ => matches!(self.on_null.as_str(), "Reject" | "Default"),
        }
    }

    /// What becomes of an absent value, in words.
    pub fn without_value(&self) -> String {
        match &self.default {
            Some(value) => format!("“{value}” is sent."),
            None if self.ends_in_default() => "A standard value takes its place.".into(),
            None => words::on_null(&self.on_null),
        }
    }
}

impl Trait {
    /// What it means: what the first of its definitions says that says anything.
    pub fn description(&self) -> Option<&str> {
        self.definitions
            .iter()
            .find_map(|definition| definition.description.as_deref())
    }

    /// Whether people's work stops when it is wrong.
    pub fn critical(&self) -> bool {
        self.definitions.iter().any(|definition| definition.critical)
    }

    /// The closest that one of its definitions asks for.
    pub fn classification(&self) -> Classification {
        self.definitions
            .iter()
            .map(|definition| definition.classification)
            .max()
            .unwrap_or_default()
    }

    /// Whether it is on its way out.
    pub fn deprecated(&self) -> Option<&Deprecation> {
        self.definitions
            .iter()
            .find_map(|definition| definition.deprecated.as_ref())
    }

    /// Its type's name in the contract.
    pub fn kind(&self) -> &str {
        self.definitions
            .first()
            .map(|definition| definition.kind.as_str())
            .unwrap_or_default()
    }

    /// Its type in words.
    pub fn kind_in_words(&self) -> String {
        self.definitions
            .first()
            .map(|definition| words::kind(&definition.kind, &definition.items))
            .unwrap_or_default()
    }
}

/// What became of a trait over the versions.
#[derive(Clone, Debug, PartialEq)]
pub struct TraitHistory {
    /// The entity's name.
    pub entity: String,
    /// The trait's name.
    pub name: String,
    /// Its page, beside the mapping's: `person/email`, without an ending.
    pub page: String,
    /// The version that it is shown as: the current one or, where that lacks it, the last that had it.
    pub shown: usize,
    /// The first version that has it.
    pub since: String,
    /// The version that left it out, where the current one lacks it.
    pub until: Option<String>,
    /// What changed when, oldest first, without what did not change.
    pub changes: Vec<(String, What)>,
    /// Who gets it, and who does not.
    pub recipients: Vec<Recipient>,
    /// How many records had a value for it, where a status tells.
    pub fill: Vec<Fill>,
    /// Traits of the same entity that say that this one is to be used in their place.
    pub replaces: Vec<String>,
}

/// How many of the records of a run had a value for a trait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The CRM object.
    pub object: String,
    /// The pipeline.
    pub pipeline: String,
    /// The version that the run took.
    pub version: String,
    /// How many records it read.
    pub records: i64,
    /// Of a thousand of them, how many had a value: 1,000 only where all had, 0 only where none had.
    pub per_mille: i32,
    /// The day of the run, in UTC.
    pub day: Date,
}

/// A sink that a pipeline brings a trait's entity to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The pipeline.
    pub pipeline: String,
    /// The sink.
    pub sink: String,
    /// The CDP's name, where the folder has the sink.
    pub cdp: Option<String>,
    /// The version that the pipeline takes.
    pub version: String,
    /// Whether it gets it.
    pub verdict: Verdict,
    /// What it calls it, where that is another name than the contract's.
    pub sent_as: Option<String>,
    /// The purposes that a person must have agreed to before it does.
    pub purposes: Vec<String>,
}

/// Whether a sink gets a trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Delivered,
    /// It may hold no more than this.
    Withheld(Classification),
    /// The contract leaves it out for this CDP.
    LeftOut,
    /// The version that its pipeline takes lacks the trait.
    NotInVersion,
    /// The folder lacks the sink, so that its limit is not known.
    Unknown,
}

/// A pipeline that names a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// The CRM source's name.
    pub source: String,
    /// The sink's name.
    pub sink: String,
    /// The version or range that it asks for.
    pub asks: String,
    /// The version that this comes to, or why it comes to none.
    pub takes: Result<String, String>,
    /// The CRM objects of its streams.
    pub objects: Vec<String>,
    /// How old the sink's picture may grow, by CRM object, as the pipeline says it.
    pub freshness: BTreeMap<String, std::time::Duration>,
    /// Whether it is held.
    pub suspended: bool,
}

impl Mapping {
    /// The version that is shown.
    pub fn current(&self) -> Option<&Version> {
        self.versions.get(self.current)
    }

    /// A trait as it is shown, with the version that it is shown as.
    pub fn shown(&self, history: &TraitHistory) -> Option<(&Version, &Trait)> {
        let version = self.versions.get(history.shown)?;
        let found = version.entity(&history.entity)?.find(&history.name)?;
        Some((version, found))
    }

    /// The page of a trait of an entity, if it has that trait.
    pub fn history(&self, entity: &str, name: &str) -> Option<&TraitHistory> {
        self.traits
            .iter()
            .find(|history| history.entity == entity && history.name == name)
    }

    /// The pipelines that take a version.
    pub fn taken_by<'a>(&'a self, version: &'a str) -> impl Iterator<Item = &'a Pipeline> {
        self.pipelines
            .iter()
            .filter(move |pipeline| pipeline.takes.as_deref() == Ok(version))
    }
}

impl Version {
    /// An entity, if the version has it.
    pub fn entity(&self, name: &str) -> Option<&Entity> {
        self.entities.iter().find(|entity| entity.name == name)
    }
}

impl Entity {
    /// A trait, if the entity has it.
    pub fn find(&self, name: &str) -> Option<&Trait> {
        self.traits.iter().find(|found| found.name == name)
    }

    /// The names of the CRM objects that become it.
    pub fn object_names(&self) -> String {
        let names: Vec<_> = self.objects.iter().map(|object| object.name.as_str()).collect();
        names.join(", ")
    }
}
