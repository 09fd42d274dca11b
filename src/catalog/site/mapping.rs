//! The page of a mapping: its people, its traits, how records are recognised, and its versions.

use maud::{Markup, html};

use super::index::traits;
use super::{Frame, parts};
use crate::catalog::model::{Entity, Event, Mapping, Object, Source, Standing, Version};
use crate::catalog::{change_words, contract_path, file_name, schemas, standing_words, words};

pub(super) fn page(mapping: &Mapping) -> Markup {
    let content = match mapping.current() {
        Some(current) => content(mapping, current),
        None => html! {},
    };
    Frame {
        title: &mapping.name,
        root: "../../",
        above: &[("All mappings", "../../index.html".into())],
    }
    .around(content)
}

fn content(mapping: &Mapping, current: &Version) -> Markup {
    let has_events = objects(current).any(|(_, object)| !object.events.is_empty());
    html! {
        h1 { (mapping.name) }
        p.lead {
            "The contract between those who own the CRM and those who use the customer data platforms. "
            "This page shows version " strong { (current.number) } "."
        }
        p.meta {
            (standing(current.standing)) " Namespace " (mapping.namespace) "."
            @if let Some(day) = current.review_by { " Due for a review by " time datetime=(day) { (day) } "." }
        }
        section aria-labelledby="ask" { h2 #ask { "Who to ask" } (parts::owners(&current.owners)) }
        section aria-labelledby="goes" { h2 #goes { "Where it goes" } (pipelines(mapping)) }
        section aria-labelledby="traits" {
            h2 #traits { "Traits" }
            @for entity in &current.entities { (traits(mapping, entity, "", false)) }
            (gone(mapping))
        }
        section aria-labelledby="recognised" {
            h2 #recognised { "How records are recognised" }
            p { "Who a record is about. The first that has a value counts most." }
            @for (entity, object) in objects(current) { (recognised(entity, object)) }
        }
        section aria-labelledby="consent" { h2 #consent { "What people can agree to" } (consent(current)) }
        @if has_events {
            section aria-labelledby="events" {
                h2 #events { "Events" }
                @for (_, object) in objects(current) {
                    @for event in &object.events { (of_event(object, event)) }
                }
            }
        }
        section aria-labelledby="versions" {
            h2 #versions { "Versions" }
            @for version in &mapping.versions { (of_version(mapping, version)) }
        }
    }
}

fn objects(version: &Version) -> impl Iterator<Item = (&Entity, &Object)> {
    version
        .entities
        .iter()
        .flat_map(|entity| entity.objects.iter().map(move |object| (entity, object)))
}

fn standing(standing: Standing) -> Markup {
    let class = match standing {
        Standing::Active => "active",
        Standing::Proposed | Standing::Draft => "waiting",
        Standing::Retired => "retired",
    };
    html! { span.badge.(class) { (standing_words(standing).trim_end_matches('.')) } }
}

fn pipelines(mapping: &Mapping) -> Markup {
    let rows = html! {
        @for pipeline in &mapping.pipelines {
            tr {
                th scope="row" { (pipeline.name) @if pipeline.suspended { span.badge.waiting { "Suspended" } } }
                td { (pipeline.source) }
                td { (pipeline.objects.join(", ")) }
                td { (pipeline.sink) }
                td {
                    @match &pipeline.takes {
                        Ok(version) => { (version) @if *version != pipeline.asks { span.aside { " (asks for " (pipeline.asks) ")" } } },
                        Err(why) => span.problem { "None: " (why) },
                    }
                }
            }
        }
    };
    html! {
        @if mapping.pipelines.is_empty() { p.none { "Nowhere: no pipeline takes this mapping." } }
        @else {
            (parts::table("Pipelines", &["Pipeline", "From the CRM", "Records", "To the destination", "Takes version"], rows))
        }
    }
}

fn gone(mapping: &Mapping) -> Markup {
    let gone: Vec<_> = mapping
        .traits
        .iter()
        .filter(|history| history.shown != mapping.current)
        .collect();
    html! {
        @if !gone.is_empty() {
            h3 { "Not in this version" }
            ul.plain {
                @for history in gone {
                    li {
                        a href={ (history.page) ".html" } { (history.name) } span.aside { " of " (history.entity) }
                        @match &history.until {
                            Some(version) => { " – left out by version " (version) },
                            None => { " – in version " (history.since) },
                        }
                    }
                }
            }
        }
    }
}

fn recognised(entity: &Entity, object: &Object) -> Markup {
    html! {
        h3 { (entity.name) span.aside { " from the CRM's " (object.name) } }
        (sources(&object.identity, &object.name))
        (parts::terms(&object.references))
        (parts::terms(&object.further))
    }
}

fn sources(sources: &[Source], object: &str) -> Markup {
    html! {
        ol.sources {
            @for source in sources {
                li {
                    strong { (source.name) } " from " code { (object) "." (source.from) }
                    @if !source.kind.is_empty() { span.aside { " – " (words::kind(&source.kind, &source.items)) } }
                    @if let Some(named) = source.classification { " " (parts::classification(named)) }
                    @if !source.steps.is_empty() { div.aside { (parts::steps(&source.steps)) } }
                    (parts::terms(&words::names(&source.names)))
                    (parts::terms(&source.further))
                }
            }
        }
    }
}

fn consent(version: &Version) -> Markup {
    let purposes = objects(version).any(|(_, object)| !object.consent.is_empty());
    html! {
        @if !purposes { p.none { "The contract reads no consent." } }
        @else {
            p { "A destination that needs one of these gets nothing of a person who did not agree to it. Where the CRM's answer is missing or unclear, the person did not agree." }
            @for (_, object) in objects(version) {
                @if !object.consent.is_empty() {
                    h3 { (object.name) }
                    (sources(&object.consent, &object.name))
                }
            }
        }
    }
}

fn of_event(object: &Object, event: &Event) -> Markup {
    html! {
        div.card {
            h3 { (event.name) }
            p { (event.when) ", in the CRM's " (object.name) "." }
            @if !event.properties.is_empty() { h4 { "It tells" } (sources(&event.properties, &object.name)) }
            (parts::terms(&words::names(&event.names)))
            (parts::terms(&event.further))
        }
    }
}

fn of_version(mapping: &Mapping, version: &Version) -> Markup {
    // The pages of a version's folder, from the mapping's own.
    let beside = |path: &str| {
        path.strip_prefix(&format!("{}/", mapping.folder))
            .unwrap_or(path)
            .to_owned()
    };
    let takers: Vec<_> = mapping
        .taken_by(&version.number)
        .map(|pipeline| pipeline.name.as_str())
        .collect();
    html! {
        div.card #{ "version-" (file_name(&version.number)) } {
            h3 { "Version " (version.number) " " (standing(version.standing)) }
            @if !takers.is_empty() { p.meta { "Taken by " (takers.join(", ")) "." } }
            @match &version.release_notes {
                Some(notes) => p.notes { (notes) },
                None => p.none { "No release notes." },
            }
            @if !version.changes.is_empty() {
                h4 { "What changed" }
                ul.plain {
                    @for change in &version.changes {
                        li {
                            @match mapping.history(&change.entity, &change.name) {
                                Some(history) => a href={ (history.page) ".html" } { (change.name) },
                                None => (change.name),
                            }
                            span.aside { " of " (change.entity) } " – " (change_words(&change.what))
                        }
                    }
                }
            }
            (parts::terms(&version.further))
            h4 { "For programs" }
            ul.plain {
                @for (path, name, _) in schemas(mapping, version) {
                    li { a href=(beside(&path)) { "JSON Schema of " (name) } }
                }
                li { a href=(beside(&contract_path(mapping, version))) { "Open Data Contract (YAML)" } }
            }
        }
    }
}
