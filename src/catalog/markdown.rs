//! The catalog as Markdown, for a Git forge: a file a mapping, and one that lists them.

use std::fmt::Write as _;

use super::model::{Catalog, Definition, Entity, Mapping, Origin, Source, Trait, TraitHistory, Verdict, Version};
use super::words::{self, Term};
use super::{change_words, standing_words};

/// The list of the mappings.
pub(super) fn index(catalog: &Catalog) -> String {
    let mut page = String::from(
        "# Customer data catalog\n\n| Mapping | Namespace | Current version | Traits |\n| --- | --- | --- | --- |\n",
    );
    for mapping in &catalog.mappings {
        let Some(current) = mapping.current() else { continue };
        let traits: usize = current.entities.iter().map(|entity| entity.traits.len()).sum();
        let _ = writeln!(
            page,
            "| [{}]({}.md) | {} | {} | {traits} |",
            text(&mapping.name),
            mapping.folder,
            text(&mapping.namespace),
            text(&current.number)
        );
    }
    page
}

/// The page of a mapping.
pub(super) fn mapping(mapping: &Mapping) -> String {
    let Some(current) = mapping.current() else {
        return String::new();
    };
    let mut page = format!("# {}\n\n", text(&mapping.name));
    let _ = writeln!(
        page,
        "Version {} of the contract between the CRM and the customer data platforms. {}\n",
        text(&current.number),
        standing_words(current.standing)
    );
    if let Some(day) = current.review_by {
        let _ = writeln!(page, "Due for a review by {day}.\n");
    }
    owners(&mut page, current);
    for entity in &current.entities {
        of_entity(&mut page, mapping, entity);
    }
    gone(&mut page, mapping);
    pipelines(&mut page, mapping);
    versions(&mut page, mapping);
    page
}

fn owners(page: &mut String, version: &Version) {
    if version.owners.is_empty() {
        return;
    }
    page.push_str("## Who to ask\n\n| Team | Contact | Part |\n| --- | --- | --- |\n");
    for owner in &version.owners {
        let _ = writeln!(
            page,
            "| {} | {} | {:?} |",
            text(&owner.team),
            text(&owner.contact),
            owner.role
        );
    }
    page.push('\n');
}

fn of_entity(page: &mut String, mapping: &Mapping, entity: &Entity) {
    let _ = writeln!(
        page,
        "## {}\n\nFrom the CRM's {}.\n",
        text(&entity.name),
        text(&entity.object_names())
    );
    if !entity.traits.is_empty() {
        page.push_str("| Trait | Meaning | Type | From | Classification |\n| --- | --- | --- | --- | --- |\n");
        for found in &entity.traits {
            let from: Vec<_> = found.definitions.iter().map(origin).collect();
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {:?} |",
                text(&found.name),
                text(found.description().unwrap_or_default()),
                text(&found.kind_in_words()),
                from.join(", "),
                found.classification()
            );
        }
        page.push('\n');
    }
    for object in &entity.objects {
        sources(
            page,
            &format!("How a {} is recognised, in this order", object.name),
            &object.identity,
        );
        terms(page, &object.references);
        sources(
            page,
            &format!("What a person of {} can agree to", object.name),
            &object.consent,
        );
        for event in &object.events {
            let _ = writeln!(page, "### Event {}\n\n{}.\n", text(&event.name), text(&event.when));
            sources(page, "Properties", &event.properties);
            terms(page, &words::names(&event.names));
            terms(page, &event.further);
        }
        terms(page, &object.further);
    }
    for found in &entity.traits {
        if let Some(history) = mapping.history(&entity.name, &found.name) {
            of_trait(page, found, history);
        }
    }
}

fn sources(page: &mut String, title: &str, sources: &[Source]) {
    if sources.is_empty() {
        return;
    }
    let _ = writeln!(page, "**{}**\n", text(title));
    for (position, source) in sources.iter().enumerate() {
        let _ = write!(
            page,
            "{}. {} from {}",
            position + 1,
            text(&source.name),
            code(&source.from)
        );
        let steps = source.steps.iter().map(|step| text(&step.words));
        let names = words::names(&source.names);
        let further = names
            .iter()
            .chain(&source.further)
            .map(|term| format!("{}: {}", text(&term.label), text(&term.text)));
        for said in steps.chain(further) {
            let _ = write!(page, "; {said}");
        }
        page.push('\n');
    }
    page.push('\n');
}

fn terms(page: &mut String, terms: &[Term]) {
    for term in terms {
        let _ = writeln!(page, "- {}: {}", text(&term.label), text(&term.text));
    }
    if !terms.is_empty() {
        page.push('\n');
    }
}

fn of_trait(page: &mut String, found: &Trait, history: &TraitHistory) {
    let _ = writeln!(page, "### {}\n", text(&found.name));
    if let Some(description) = found.description() {
        let _ = writeln!(page, "{}\n", text(description));
    }
    let _ = writeln!(
        page,
        "- Type: {}\n- Classification: {:?}. {}\n- Since version {}",
        text(&found.kind_in_words()),
        found.classification(),
        words::classification(&format!("{:?}", found.classification())),
        text(&history.since)
    );
    if found.critical() {
        page.push_str("- Critical: people's work stops when it is wrong\n");
    }
    if let Some(deprecation) = found.deprecated() {
        let _ = write!(page, "- On its way out since version {}", text(&deprecation.since));
        if let Some(day) = deprecation.remove_after {
            let _ = write!(page, ", may be gone after {day}");
        }
        if let Some(other) = &deprecation.use_instead {
            let _ = write!(page, "; use {}", text(other));
        }
        page.push('\n');
    }
    for definition in &found.definitions {
        of_definition(page, definition);
    }
    for told in &history.fill {
        let (share, of) = words::fill(told);
        let _ = writeln!(page, "- Has a value: {} {}", text(&share), text(&of));
    }
    for term in words::names(&found.names) {
        let _ = writeln!(page, "- {}: {}", text(&term.label), text(&term.text));
    }
    for recipient in &history.recipients {
        let verdict = match recipient.verdict {
            Verdict::Delivered => match &recipient.sent_as {
                Some(name) => format!("gets it as {name}"),
                None => "gets it".into(),
            },
            Verdict::LeftOut => "does not get it: the contract leaves it out for this kind of destination".into(),
            Verdict::Withheld(limit) => format!("does not get it: it may hold no more than {limit:?}"),
            Verdict::NotInVersion => format!("does not get it: its pipeline takes version {}", recipient.version),
            Verdict::Unknown => "is not among these files, so that nobody can say whether it gets it".into(),
        };
        let _ = writeln!(
            page,
            "- The destination {}, by the pipeline {}, {}",
            text(&recipient.sink),
            text(&recipient.pipeline),
            text(&verdict)
        );
    }
    for dependent in &found.dependents {
        let _ = writeln!(
            page,
            "- Rests on it: {} {}, of {}",
            words::dependent(dependent.kind),
            text(&dependent.name),
            text(&dependent.owner)
        );
    }
    page.push('\n');
}

fn of_definition(page: &mut String, definition: &Definition) {
    let _ = writeln!(page, "- Comes from {}", origin(definition));
    for step in &definition.steps {
        let _ = writeln!(page, "  - {}", text(&step.words));
    }
    let _ = writeln!(
        page,
        "  - Without a value: {}\n  - With a value that can't be used: {}",
        text(&definition.without_value()),
        text(&words::on_error(&definition.on_error))
    );
    for term in &definition.further {
        let _ = writeln!(page, "  - {}: {}", text(&term.label), text(&term.text));
    }
}

fn gone(page: &mut String, mapping: &Mapping) {
    let gone: Vec<_> = mapping
        .traits
        .iter()
        .filter(|history| history.until.is_some())
        .collect();
    if gone.is_empty() {
        return;
    }
    page.push_str("## What is gone\n\n");
    for history in gone {
        let _ = writeln!(
            page,
            "- {} {}: from version {} until {} left it out",
            text(&history.entity),
            text(&history.name),
            text(&history.since),
            text(history.until.as_deref().unwrap_or_default())
        );
    }
    page.push('\n');
}

fn pipelines(page: &mut String, mapping: &Mapping) {
    page.push_str("## Where it goes\n\n");
    if mapping.pipelines.is_empty() {
        page.push_str("No pipeline takes this mapping.\n\n");
        return;
    }
    page.push_str("| Pipeline | From | To | Asks for | Takes |\n| --- | --- | --- | --- | --- |\n");
    for pipeline in &mapping.pipelines {
        let takes = match &pipeline.takes {
            Ok(version) => text(version),
            Err(why) => format!("none: {}", text(why)),
        };
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {takes} |",
            text(&pipeline.name),
            text(&pipeline.source),
            text(&pipeline.sink),
            text(&pipeline.asks)
        );
    }
    page.push('\n');
}

fn versions(page: &mut String, mapping: &Mapping) {
    page.push_str("## Versions\n\n");
    for version in &mapping.versions {
        let _ = writeln!(
            page,
            "### {}\n\n{}\n",
            text(&version.number),
            standing_words(version.standing)
        );
        for line in version.release_notes.iter().flat_map(|notes| notes.lines()) {
            let _ = writeln!(page, "> {}", text(line));
        }
        page.push('\n');
        for change in &version.changes {
            let _ = writeln!(
                page,
                "- {} {}: {}",
                text(&change.entity),
                text(&change.name),
                text(&change_words(&change.what))
            );
        }
        page.push('\n');
    }
}

fn origin(definition: &Definition) -> String {
    match &definition.origin {
        Origin::Field(field) => code(&format!("{}.{field}", definition.object)),
        Origin::Expression(expression) => {
            format!("a calculation over {}: {}", text(&definition.object), code(expression))
        }
    }
}

/// Text on one line, with nothing in it that Markdown or HTML would take for its own.
fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '!' | '|' | '~' | '$' | ':' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            control if control.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// Code on one line. HTML's element, since a code span of Markdown can hold neither a backtick nor, in a table, a `|`.
fn code(code: &str) -> String {
    format!("<code>{}</code>", text(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_stays_text() {
        assert_eq!(
            text("<script> | **a**\n[x](javascript:1)"),
            r"&lt;script&gt; \| \*\*a\*\* \[x\]\(javascript\:1\)"
        );
    }
}
