//! The page of a trait: what it means, where it comes from, who may have it, and what rests on it.

use maud::{Markup, html};

use super::{Frame, parts};
use crate::api::mapping_version::Deprecation;
use crate::catalog::model::{Definition, Mapping, Origin, Recipient, Standing, Trait, TraitHistory, Verdict, Version};
use crate::catalog::{change_words, file_name, words};

/// The page, or nothing where the history points nowhere.
pub(super) fn page(mapping: &Mapping, history: &TraitHistory) -> Option<Markup> {
    let (version, found) = mapping.shown(history)?;
    let frame = Frame {
        title: &found.name,
        root: "../../../",
        above: &[
            ("All mappings", "../../../index.html".into()),
            (&mapping.name, "../index.html".into()),
        ],
    };
    Some(frame.around(content(mapping, history, version, found)))
}

fn content(mapping: &Mapping, history: &TraitHistory, version: &Version, found: &Trait) -> Markup {
    html! {
        h1 { (found.name) }
        p.lead {
            @match found.description() {
                Some(text) => (text),
                None => span.none { "Nobody has described this trait yet. Ask the owners below." },
            }
        }
        ul.badges aria-label="In short" {
            li { span.badge { (history.entity) } }
            li { span.badge { (found.kind_in_words()) } }
            li { (parts::classification(found.classification())) }
            @if found.critical() { li { span.badge.critical { "Critical" } } }
            @if found.deprecated().is_some() { li { span.badge.deprecated { "On its way out" } } }
        }
        (notices(mapping, history, version, found))
        section aria-labelledby="source" {
            h2 #source { "Where does it come from?" }
            @for definition in &found.definitions { (of_definition(definition, found.definitions.len() > 1)) }
            (fill(history))
        }
        section aria-labelledby="who" { h2 #who { "Who may have it?" } (who(mapping, history, version, found)) }
        section aria-labelledby="rests" { h2 #rests { "What rests on it?" } (rests(history, found)) }
        section aria-labelledby="ask" { h2 #ask { "Who to ask" } (parts::owners(&version.owners)) }
        section aria-labelledby="since" { h2 #since { "Since when?" } (since(mapping, history)) }
    }
}

fn notices(mapping: &Mapping, history: &TraitHistory, version: &Version, found: &Trait) -> Markup {
    let shown_is_current = history.shown == mapping.current;
    html! {
        @if found.critical() {
            p.notice.strong { strong { "Critical. " } "People's work stops when this is wrong: tell the owners before you change anything about it." }
        }
        @if let Some(deprecation) = found.deprecated() { (going(mapping, history, deprecation)) }
        @if !shown_is_current {
            p.notice {
                @match &history.until {
                    Some(until) => {
                        strong { "Gone. " } "Version " (until) " left it out. This page shows it as of version " (version.number) "."
                    },
                    None => { strong { "Not there yet. " } "It is in version " (version.number) ", which is not the current one." },
                }
            }
        }
    }
}

fn going(mapping: &Mapping, history: &TraitHistory, deprecation: &Deprecation) -> Markup {
    html! {
        p.notice {
            strong { "On its way out " } "since version " (deprecation.since) "."
            @if let Some(day) = deprecation.remove_after {
                " It may be gone after " time datetime=(day) { (day) } "."
            }
            @if let Some(other) = &deprecation.use_instead {
                " Use "
                @match mapping.history(&history.entity, other) {
                    Some(page) => a href=(beside(page)) { (other) },
                    None => (other),
                }
                " instead."
            }
        }
    }
}

/// The page of another trait of the same entity, from one of its pages.
fn beside(history: &TraitHistory) -> String {
    let file = history.page.rsplit('/').next().unwrap_or_default();
    format!("{file}.html")
}

fn of_definition(definition: &Definition, one_of_several: bool) -> Markup {
    html! {
        div.card {
            @if one_of_several { h3 { "From " (definition.object) } }
            @match &definition.origin {
                Origin::Field(field) => p {
                    "The CRM's field " code { (field) } " of " code { (definition.object) } "."
                },
                Origin::Expression(expression) => {
                    p { "Calculated from fields of the CRM's " code { (definition.object) } ", by this expression:" }
                    pre tabindex="0" role="region" aria-label={ "Expression for " (definition.object) } { code { (expression) } }
                },
            }
            @if !definition.steps.is_empty() {
                p { "On its way it is prepared:" }
                ol.steps { @for step in &definition.steps { li { (step.words) } } }
            }
            dl.facts {
                dt { "If the CRM has no value" } dd { (definition.without_value()) }
                dt { "If the value can't be used" } dd { (words::on_error(&definition.on_error)) }
                @if let Some(values) = &definition.values {
                    dt { "Possible values" }
                    dd { @for (position, value) in values.iter().enumerate() { @if position > 0 { ", " } code { (value) } } }
                }
                @if !definition.same_field.is_empty() {
                    dt { "The same field also feeds" } dd { (definition.same_field.join(", ")) }
                }
                @for term in &definition.further { dt { (term.label) } dd { (term.text) } }
            }
            @for (name, table) in &definition.tables { (translation(&definition.object, name, table)) }
        }
    }
}

fn fill(history: &TraitHistory) -> Markup {
    html! {
        @if !history.fill.is_empty() {
            h3 { "How many records have a value?" }
            ul.plain {
                @for told in &history.fill {
                    @let (share, of) = words::fill(told);
                    li { strong { (share) } " " (of) "." }
                }
            }
        }
    }
}

fn translation(object: &str, name: &str, table: &std::collections::BTreeMap<String, String>) -> Markup {
    let rows = html! { @for (from, to) in table { tr { th scope="row" { (from) } td { code { (to) } } } } };
    html! {
        details {
            summary { "How the CRM's values are translated (table " (name) ")" }
            (parts::table(&format!("Table {name} for {object}"), &["In the CRM", "Becomes"], rows))
        }
    }
}

fn who(mapping: &Mapping, history: &TraitHistory, version: &Version, found: &Trait) -> Markup {
    let purposes: Vec<_> = version
        .entity(&history.entity)
        .into_iter()
        .flat_map(|entity| &entity.objects)
        .filter(|object| {
            found
                .definitions
                .iter()
                .any(|definition| definition.object == object.name)
        })
        .flat_map(|object| &object.consent)
        .map(|consent| consent.name.as_str())
        .collect();
    let named = found.classification();
    html! {
        p { (parts::classification(named)) " " (words::classification(&format!("{named:?}"))) }
        @if !purposes.is_empty() {
            p {
                "The CRM knows whether the person agreed to: " strong { (purposes.join(", ")) } ". "
                a href="../index.html#consent" { "How that is read" }
            }
        }
        @if !found.names.is_empty() {
            h3 { "Where it has another name" }
            (parts::terms(&words::names(&found.names)))
        }
        @if history.recipients.is_empty() {
            p.none { "Nobody gets it: no pipeline brings " (history.entity) " to a destination." }
        } @else {
            (parts::table(
                "Destinations",
                &["Destination", "Gets it?", "Only of people who agreed to", "By the pipeline", "Version"],
                recipients(history),
            ))
            p.meta { a href="../index.html#goes" { "All pipelines of " (mapping.name) } }
        }
    }
}

fn recipients(history: &TraitHistory) -> Markup {
    html! {
        @for recipient in &history.recipients {
            tr {
                th scope="row" {
                    (recipient.sink) @if let Some(cdp) = &recipient.cdp { span.aside { " (" (cdp) ")" } }
                }
                td {
                    @match recipient.verdict {
                        Verdict::Delivered => {
                            span.badge.active { "Yes" }
                            @if let Some(name) = &recipient.sent_as { " As " code { (name) } "." }
                        },
                        Verdict::LeftOut => { span.badge.retired { "No" } " The contract leaves it out for this kind of destination." },
                        Verdict::Withheld(limit) => {
                            span.badge.retired { "No" } " It may hold no more than " (format!("{limit:?}")) "."
                        },
                        Verdict::NotInVersion => { span.badge.retired { "No" } " Its version has no such trait." },
                        Verdict::Unknown => { span.badge.waiting { "Not known" } " The destination is not among these files." },
                    }
                }
                td { (agreement(recipient)) }
                td { (recipient.pipeline) }
                td { a href={ "../index.html#version-" (file_name(&recipient.version)) } { (recipient.version) } }
            }
        }
    }
}

fn agreement(recipient: &Recipient) -> String {
    match recipient.verdict {
        Verdict::Unknown => "Not known".into(),
        _ if recipient.purposes.is_empty() => "No agreement needed".into(),
        _ => recipient.purposes.join(", "),
    }
}

fn rests(history: &TraitHistory, found: &Trait) -> Markup {
    let rows = html! {
        @for dependent in &found.dependents {
            tr {
                th scope="row" { (dependent.name) }
                td { (words::dependent(dependent.kind)) }
                td { (dependent.owner) }
            }
        }
    };
    html! {
        @if found.dependents.is_empty() {
            p.none { "Nothing that the contract knows of." }
        } @else {
            (parts::table("What rests on it", &["Name", "What it is", "Tell before a change"], rows))
        }
        @if !history.replaces.is_empty() {
            p { "It takes the place of " (history.replaces.join(", ")) "." }
        }
    }
}

fn since(mapping: &Mapping, history: &TraitHistory) -> Markup {
    let draft = |number: &str| {
        let mut versions = mapping.versions.iter();
        versions.any(|version| version.number == number && version.standing == Standing::Draft)
    };
    html! {
        ol.timeline {
            @for (version, what) in &history.changes {
                li {
                    a href={ "../index.html#version-" (file_name(version)) } { "Version " (version) }
                    @if draft(version) { " (a draft)" }
                    " – " (change_words(what))
                }
            }
        }
    }
}
