//! The catalog as a site of static HTML pages that work from a folder, with no server, for people who read no YAML.
//!
//! Everything that users wrote is escaped by the templates; addresses are made of file names alone.

mod index;
mod mapping;
mod parts;
mod search;
mod trait_page;

use maud::{DOCTYPE, Markup, html};

use super::Files;
use super::model::Catalog;

const STYLE: &str = include_str!("../assets/catalog.css");
const SCRIPT: &str = include_str!("../assets/catalog.js");

/// Adds the pages and what they need.
pub(super) fn add(catalog: &Catalog, files: &mut Files) {
    files.insert("assets/catalog.css".into(), STYLE.into());
    files.insert("assets/catalog.js".into(), SCRIPT.into());
    files.insert("assets/entries.js".into(), search::entries(catalog));
    files.insert("index.html".into(), index::page(catalog).into_string());
    for mapping in &catalog.mappings {
        files.insert(
            format!("{}/index.html", mapping.folder),
            mapping::page(mapping).into_string(),
        );
        for history in &mapping.traits {
            if let Some(page) = trait_page::page(mapping, history) {
                files.insert(format!("{}/{}.html", mapping.folder, history.page), page.into_string());
            }
        }
    }
}

/// What a page has around its content.
struct Frame<'a> {
    title: &'a str,
    /// The way from the page to the root: `../` for each folder.
    root: &'a str,
    /// The pages above this one: name and address.
    above: &'a [(&'a str, String)],
}

impl Frame<'_> {
    fn around(&self, content: Markup) -> Markup {
        let Frame { title, root, above } = self;
        html! {
            (DOCTYPE)
            html lang="en" data-root=(root) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) @if !above.is_empty() { " · Customer data catalog" } }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href={ (root) "assets/catalog.css" };
                    script defer src={ (root) "assets/entries.js" } {}
                    script defer src={ (root) "assets/catalog.js" } {}
                }
                body {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        div.bar {
                            a.home href={ (root) "index.html" } { "Customer data catalog" }
                            form.search role="search" hidden {
                                label for="search" { "Search the catalog" }
                                input #search type="search" autocomplete="off" spellcheck="false"
                                    aria-describedby="search-status" placeholder="A trait, a CRM field, an audience";
                                p #search-status role="status" {}
                                ul #search-results aria-label="Search results" hidden {}
                            }
                        }
                    }
                    @if !above.is_empty() {
                        nav.crumbs aria-label="You are here" {
                            ol {
                                @for (name, address) in above.iter() { li { a href=(address) { (name) } } }
                                li { span aria-current="page" { (title) } }
                            }
                        }
                    }
                    main #content tabindex="-1" { (content) }
                    footer { p { "Written by Ferrygate from the contracts between the CRM and the customer data platforms." } }
                }
            }
        }
    }
}
