//! The catalog: the contracts of a folder, written for people and for the tools of those who take the data.
//!
//! 1. `assemble` makes the [`Catalog`] of the resources: `contract` reads one version, `history` holds the versions against
//!    each other, `words` says in plain words what is written there.
//! 2. [`Catalog::render`] writes it: `site` as HTML that needs no server, `markdown` for a Git forge, `json_schema` and `odcs`
//!    for programs.
//!
//! All of it is pure: the same resources give the same bytes.

mod assemble;
mod contract;
mod history;
mod json_schema;
mod markdown;
mod model;
mod names;
mod odcs;
mod site;
mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use assemble::{CatalogError, Contracts};
pub use model::{
    Catalog, Change, Definition, Entity, Event, Fill, Mapping, Names, Object, Origin, Pipeline, Recipient, Source,
    Standing, Trait, TraitHistory, Verdict, Version, What,
};
use names::{Folder, file_name};
pub use words::{Step, Term};

/// Files by relative path, with `/` between its names, none of which leads out of the folder.
pub type Files = BTreeMap<String, String>;

impl Catalog {
    /// The files of the catalog: `index.html` and what it links to, and `markdown/README.md` and what that links to.
    pub fn render(&self) -> Files {
        let mut files = Files::new();
        files.insert("markdown/README.md".into(), markdown::index(self));
        for mapping in &self.mappings {
            files.insert(format!("markdown/{}.md", mapping.folder), markdown::mapping(mapping));
            for version in &mapping.versions {
                for (path, _, schema) in schemas(mapping, version) {
                    files.insert(path, schema);
                }
                files.insert(contract_path(mapping, version), odcs::of_version(mapping, version));
            }
        }
        site::add(self, &mut files);
        files
    }
}

/// The JSON Schemas of a version: path, what each is of, and the text.
fn schemas(mapping: &Mapping, version: &Version) -> Vec<(String, String, String)> {
    let mut folder = Folder::default();
    let mut path = |name: &str| format!("{}/{}.schema.json", version_folder(mapping, version), folder.name(name));
    let mut schemas = Vec::new();
    for entity in version.entities.iter().filter(|entity| !entity.traits.is_empty()) {
        let text = json_schema::of_entity(mapping, version, entity);
        schemas.push((path(&entity.name), entity.name.clone(), text));
        let cdps: BTreeSet<&str> = entity
            .traits
            .iter()
            .flat_map(|found| found.names.keys().copied())
            .collect();
        for cdp in cdps {
            let text = json_schema::of_entity_for(mapping, version, entity, cdp);
            let name = format!("{} {cdp}", entity.name);
            schemas.push((path(&name), format!("{} as {cdp} gets it", entity.name), text));
        }
    }
    let objects = version.entities.iter().flat_map(|entity| &entity.objects);
    for event in objects.flat_map(|object| &object.events) {
        let text = json_schema::of_event(mapping, version, event);
        schemas.push((path(&event.name), event.name.clone(), text));
    }
    schemas
}

fn contract_path(mapping: &Mapping, version: &Version) -> String {
    format!("{}/contract.odcs.yaml", version_folder(mapping, version))
}

fn version_folder(mapping: &Mapping, version: &Version) -> String {
    format!("{}/{}", mapping.folder, file_name(&version.number))
}

/// The address behind a contact, where it is one: an e-mail address or a web address.
fn contact_address(contact: &str) -> Option<String> {
    let plain = |part: &str| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | '+');
        !part.is_empty() && part.chars().all(allowed)
    };
    match contact.split_once('@') {
        Some((name, domain)) if plain(name) && plain(domain) => Some(format!("mailto:{contact}")),
        _ => contact
            .strip_prefix("https://")
            .filter(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
            .map(|_| contact.to_owned()),
    }
}

fn standing_words(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "In use.",
        Standing::Proposed => "Not in use yet.",
        Standing::Draft => "A draft, not in use.",
        Standing::Retired => "No longer in use.",
    }
}

fn change_words(what: &What) -> String {
    match what {
        What::Added => "new".into(),
        What::Removed => "left out".into(),
        What::Changed(parts) => format!("changed: {}", parts.join(", ")),
    }
}
