//! What can be searched, as a script: a page from a folder can't fetch a file.

use serde::Serialize;

use crate::catalog::model::{Catalog, Mapping, Origin, Trait, TraitHistory};

/// One result.
#[derive(Serialize)]
struct Entry {
    /// What it is called.
    name: String,
    /// What it is.
    what: String,
    /// Its page, from the root.
    page: String,
    /// What is searched beside the name.
    text: String,
}

/// `catalogEntries = […]`.
pub(super) fn entries(catalog: &Catalog) -> String {
    let mut entries = Vec::new();
    for mapping in &catalog.mappings {
        let page = format!("{}/index.html", mapping.folder);
        entries.push(Entry {
            name: mapping.name.clone(),
            what: "Mapping".into(),
            page: page.clone(),
            text: mapping.namespace.clone(),
        });
        entries.extend(mapping.traits.iter().filter_map(|history| of_trait(mapping, history)));
        let entities = mapping.current().into_iter().flat_map(|version| &version.entities);
        let objects = entities.flat_map(|entity| &entity.objects);
        for (object, event) in objects.flat_map(|object| object.events.iter().map(move |event| (object, event))) {
            let properties: Vec<_> = event.properties.iter().map(|property| property.name.as_str()).collect();
            entries.push(Entry {
                name: event.name.clone(),
                what: format!("Event of {}", mapping.name),
                page: format!("{page}#events"),
                text: format!("{} {}", object.name, properties.join(" ")),
            });
        }
    }
    let written = serde_json::to_string(&entries).unwrap_or_default();
    format!("window.catalogEntries = {written};\n")
}

fn of_trait(mapping: &Mapping, history: &TraitHistory) -> Option<Entry> {
    let (_, found) = mapping.shown(history)?;
    let gone = if history.until.is_some() { ", gone" } else { "" };
    Some(Entry {
        name: found.name.clone(),
        what: format!("Trait of {} in {}{gone}", history.entity, mapping.name),
        page: format!("{}/{}.html", mapping.folder, history.page),
        text: searched(found),
    })
}

fn searched(found: &Trait) -> String {
    let mut text = vec![
        found.description().unwrap_or_default().to_owned(),
        found.kind_in_words(),
        format!("{:?}", found.classification()),
    ];
    for definition in &found.definitions {
        text.push(match &definition.origin {
            Origin::Field(field) => format!("{}.{field}", definition.object),
            Origin::Expression(expression) => expression.clone(),
        });
    }
    for dependent in &found.dependents {
        text.push(format!("{} {}", dependent.name, dependent.owner));
    }
    text.join(" ")
}
