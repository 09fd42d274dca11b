//! What several pages show the same way.

use maud::{Markup, html};

use crate::api::common::Classification;
use crate::api::mapping_version::Owner;
use crate::catalog::contact_address;
use crate::catalog::model::{Definition, Origin, Trait};
use crate::catalog::words::{self, Step, Term};

/// A table that scrolls by itself where the screen is narrow, by keyboard as well.
pub(super) fn table(label: &str, head: &[&str], rows: Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody { (rows) }
            }
        }
    }
}

pub(super) fn classification(named: Classification) -> Markup {
    let name = format!("{named:?}");
    html! { span.badge.(name.to_lowercase()) title=(words::classification(&name)) { (name) } }
}

pub(super) fn flags(found: &Trait) -> Markup {
    html! {
        @if found.critical() { span.badge.critical { "Critical" } }
        @if found.deprecated().is_some() { span.badge.deprecated { "On its way out" } }
    }
}

pub(super) fn owners(owners: &[Owner]) -> Markup {
    html! {
        @if owners.is_empty() { p.none { "The contract names nobody." } }
        @else {
            ul.plain {
                @for owner in owners {
                    li {
                        strong { (owner.team) } " – " (role(owner)) " – "
                        @match contact_address(&owner.contact) {
                            Some(address) => a href=(address) { (owner.contact) },
                            None => (owner.contact),
                        }
                    }
                }
            }
        }
    }
}

fn role(owner: &Owner) -> &'static str {
    use crate::api::mapping_version::OwnerRole;
    match owner.role {
        OwnerRole::Responsible => "does the work",
        OwnerRole::Accountable => "answers for it",
        OwnerRole::Consulted => "is asked before a change",
        OwnerRole::Informed => "is told after a change",
    }
}

pub(super) fn origin(definition: &Definition) -> Markup {
    html! {
        @match &definition.origin {
            Origin::Field(field) => code { (definition.object) "." (field) },
            Origin::Expression(_) => { "Calculated from " code { (definition.object) } },
        }
    }
}

pub(super) fn steps(steps: &[Step]) -> Markup {
    html! { @for (position, step) in steps.iter().enumerate() { @if position > 0 { "; " } (step.words) } }
}

pub(super) fn terms(terms: &[Term]) -> Markup {
    html! {
        @if !terms.is_empty() {
            dl.facts { @for term in terms { dt { (term.label) } dd { (term.text) } } }
        }
    }
}
