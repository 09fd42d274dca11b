//! The site: safe, whole, and of nothing but itself.

use std::collections::BTreeSet;

use ferrygate::catalog::Files;

use super::{FILES, catalog};

/// The values of an attribute in a page, as written.
fn attribute<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let opening = format!(" {name}=\"");
    page.split(&opening)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

/// A relative address, from a page's, as a path from the root; none where it leads out.
fn target(page: &str, address: &str) -> Option<String> {
    let mut folders: Vec<&str> = page.split('/').collect();
    folders.pop();
    for part in address.split('/') {
        if part == ".." {
            folders.pop()?;
        } else {
            folders.push(part);
        }
    }
    Some(folders.join("/"))
}

fn pages(files: &Files) -> impl Iterator<Item = (&String, &String)> {
    files.iter().filter(|(path, _)| path.ends_with(".html"))
}

#[test]
fn every_link_leads_to_a_page_and_a_place_that_are_there() {
    let mut followed = 0;
    for (path, page) in pages(&FILES) {
        for address in attribute(page, "href").into_iter().chain(attribute(page, "src")) {
            if address.starts_with("mailto:") || address == "data:," {
                continue;
            }
            let (file, place) = address.split_once('#').unwrap_or((address, ""));
            let to = if file.is_empty() {
                Some(path.clone())
            } else {
                target(path, file)
            };
            let there = to.as_ref().and_then(|to| FILES.get(to));
            assert!(there.is_some(), "{path}: {address} leads nowhere");
            let has_place = place.is_empty() || attribute(there.unwrap(), "id").contains(&place);
            assert!(has_place, "{path}: {address} leads to no place in {to:?}");
            followed += 1;
        }
    }
    assert!(followed > 100, "only {followed} links");
}

#[test]
fn every_trait_of_every_version_has_a_page_that_the_search_finds() {
    let entries = FILES["assets/entries.js"]
        .trim_start_matches("window.catalogEntries = ")
        .trim_end_matches(";\n");
    let entries: Vec<serde_json::Value> = serde_json::from_str(entries).unwrap();
    let found: BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| entry["page"].as_str()?.split('#').next())
        .collect();
    let there: BTreeSet<_> = pages(&FILES)
        .map(|(path, _)| path.as_str())
        .filter(|path| *path != "index.html")
        .collect();
    assert_eq!(found, there);
}

#[test]
fn a_page_asks_nobody_else_for_anything() {
    for (path, text) in FILES.iter().filter(|(path, _)| !path.starts_with("markdown/")) {
        let ours = [".html", ".css", ".js"].iter().any(|ending| path.ends_with(ending));
        for word in ["http://", "https://", "@import", "url(", "fetch(", "XMLHttpRequest"] {
            assert!(!ours || !text.contains(word), "{path} has {word}");
        }
    }
}

#[test]
fn an_id_stands_once_in_a_page_and_headings_leave_no_level_out() {
    for (path, page) in pages(&FILES) {
        let ids = attribute(page, "id");
        let once: BTreeSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), once.len(), "{path}: {ids:?}");
        let levels = page
            .split("<h")
            .skip(1)
            .filter_map(|rest| rest.chars().next()?.to_digit(10));
        let mut above = 0;
        for level in levels {
            assert!(level <= above + 1, "{path}: h{level} comes after h{above}");
            above = level;
        }
    }
}

#[test]
fn what_users_write_is_shown_and_never_run() {
    const ATTACK: &str = "<script>alert(1)</script><img src=x>\\\" onload=alert(1) `|";
    let contract = "
apiVersion: ferrygate.io/v1alpha1
kind: MappingVersion
metadata: {name: customer-1.0.0}
spec:
  mapping: customer
  version: 1.0.0
  owners: [{team: \"ATTACK\", contact: \"https://ATTACK\", role: Consulted}, {team: a, contact: \"javascript:alert(1)\", role: Informed}]
  releaseNotes: \"ATTACK\"
  enums: {\"ATTACK\": {\"ATTACK\": \"ATTACK\"}}
  objects:
  - object: Contact
    entity: Person
    identity: [{kind: \"ATTACK\", from: \"ATTACK\"}]
    traits:
    - {trait: \"ATTACK\", from: \"ATTACK\", type: String, description: \"ATTACK\", transforms: [{enum: {table: \"ATTACK\"}}],
       deprecated: {since: \"ATTACK\", use: \"ATTACK\"}}
    - {trait: calculated, cel: \"'ATTACK'\", type: String}
    dependents: [{trait: \"ATTACK\", kind: Audience, name: \"ATTACK\", owner: \"ATTACK\"}]
    events: [{name: \"ATTACK\", when: {changed: \"ATTACK\"}, properties: [{property: \"ATTACK\", from: \"ATTACK\", type: String}]}]
    consent: [{purpose: \"ATTACK\", from: \"ATTACK\", granted: \"'ATTACK' == value\"}]
"
    .replace("ATTACK", ATTACK);
    let files = catalog(&contract).render();
    let mut shown = 0;
    for (path, text) in &files {
        let html = path.ends_with(".html");
        let markdown = path.ends_with(".md");
        if html || markdown {
            for live in ["<script>alert", "<img", "href=\"javascript", "](javascript"] {
                assert!(!text.contains(live), "{path} has {live}:\n{text}");
            }
            shown += text.matches("&lt;script&gt;").count();
        }
        if html {
            assert!(
                !text.contains("\" onload=alert"),
                "{path} lets a value out of its attribute"
            );
        }
        assert!(!path.contains("..") && !path.contains('<'), "{path}");
    }
    assert!(shown > 50, "only {shown} are shown");
}
