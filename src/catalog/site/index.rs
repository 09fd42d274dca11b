//! The first page: every mapping with its traits.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{Frame, parts};
use crate::catalog::model::{Catalog, Entity, Mapping, TraitHistory, Verdict, Version};
use crate::catalog::{standing_words, words};

pub(super) fn page(catalog: &Catalog) -> Markup {
    let content = html! {
        h1 { "Customer data catalog" }
        p.lead {
            "Every piece of customer data that leaves the CRM for a customer data platform: what it means, where it comes from, "
            "who may have it, and what rests on it."
        }
        details.card {
            summary { "New here? How to read this" }
            dl.facts {
                dt { "Trait" } dd { "One piece of data about a person or an account, such as an e-mail address. Each has a page." }
                dt { "Mapping" } dd { "The contract that says which CRM field becomes which trait. It has versions; each change is a new one." }
                dt { "Destination" } dd { "A customer data platform that receives traits." }
                dt { "Pipeline" } dd { "The regular transport from the CRM to one destination, by one mapping." }
                @for name in ["Public", "Internal", "Personal", "Sensitive"] {
                    dt { span.badge.(name.to_lowercase()) { (name) } } dd { (words::classification(name)) }
                }
            }
        }
        @for mapping in &catalog.mappings { (section(mapping)) }
    };
    Frame {
        title: "Customer data catalog",
        root: "",
        above: &[],
    }
    .around(content)
}

fn section(mapping: &Mapping) -> Markup {
    let Some(current) = mapping.current() else {
        return html! {};
    };
    let number: usize = current.entities.iter().map(|entity| entity.traits.len()).sum();
    html! {
        section.mapping {
            h2 { a href={ (mapping.folder) "/index.html" } { (mapping.name) } }
            p.meta {
                "Version " (current.number) ". " (standing_words(current.standing)) " "
                (number) @if number == 1 { " trait" } @else { " traits" } ", namespace " (mapping.namespace) "."
            }
            @for entity in &current.entities { (traits(mapping, entity, "", true)) }
            (events(mapping, current))
        }
    }
}

/// The traits of an entity, as a table. `to_folder` leads from the page to the mapping's folder.
pub(super) fn traits(mapping: &Mapping, entity: &Entity, to_folder: &str, below_mapping: bool) -> Markup {
    let folder = if below_mapping {
        format!("{to_folder}{}/", mapping.folder)
    } else {
        to_folder.to_owned()
    };
    let rows = html! {
        @for found in &entity.traits {
            @if let Some(history) = mapping.history(&entity.name, &found.name) {
                tr {
                    th scope="row" {
                        a href={ (folder) (history.page) ".html" } { (found.name) }
                        (parts::flags(found))
                    }
                    td.meaning { @match found.description() { Some(text) => (text), None => span.none { "Not described" } } }
                    td { (found.kind_in_words()) }
                    td { @for definition in &found.definitions { div { (parts::origin(definition)) } } }
                    td { (parts::classification(found.classification())) }
                    td { (destinations(history)) }
                }
            }
        }
    };
    html! {
        @if !entity.traits.is_empty() {
            h3 { (entity.name) span.aside { " from the CRM's " (entity.object_names()) } }
            (parts::table(
                &format!("Traits of {} by {}, {}", entity.name, mapping.name, mapping.namespace),
                &["Trait", "What it means", "Type", "Comes from", "Classification", "Destinations"],
                rows,
            ))
        }
    }
}

/// The destinations that get a trait.
fn destinations(history: &TraitHistory) -> Markup {
    let got = history
        .recipients
        .iter()
        .filter(|recipient| recipient.verdict == Verdict::Delivered);
    let names: BTreeSet<_> = got.map(|recipient| recipient.sink.as_str()).collect();
    html! {
        @if names.is_empty() { span.none { "None" } }
        @for name in names { div { (name) } }
    }
}

fn events(mapping: &Mapping, current: &Version) -> Markup {
    let objects = current.entities.iter().flat_map(|entity| &entity.objects);
    let names: Vec<_> = objects
        .flat_map(|object| &object.events)
        .map(|event| event.name.as_str())
        .collect();
    html! {
        @if !names.is_empty() {
            h3 { "Events" span.aside { " that are told as they happen" } }
            ul.plain { @for name in names { li { a href={ (mapping.folder) "/index.html#events" } { (name) } } } }
        }
    }
}
