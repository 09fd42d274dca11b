//! A comparison as text for a terminal, as Markdown for a pull request, as JSON for a program.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::api::mapping_version::Owner;
use crate::mapping::diff::{Change, Comparison, Effect, named};

/// For a terminal.
pub fn text(comparison: &Comparison) -> String {
    let mut out = format!("{}\n", headline(comparison));
    for effect in Effect::WORST_FIRST {
        let mut changes = comparison.of(effect).peekable();
        if changes.peek().is_some() {
            let _ = write!(out, "\n{}\n", effect.as_adjective());
        }
        for change in changes {
            let _ = writeln!(out, "  {change}");
            let _ = writeln!(out, "      {}", because(change));
            if let Some(touches) = touches(change) {
                let _ = writeln!(out, "      touches {touches}");
            }
        }
    }
    let told = comparison.told();
    if !told.is_empty() {
        out.push_str("\nto be told\n");
    }
    for (owner, theirs) in &told {
        for (dependent, paths) in theirs {
            let _ = writeln!(out, "  {owner}: {dependent} ({})", paths.join(", "));
        }
    }
    if !comparison.owners.is_empty() && !comparison.changes.is_empty() {
        let owners: Vec<_> = comparison.owners.iter().map(owner).collect();
        let _ = write!(out, "\nto be asked\n  {}\n", owners.join("\n  "));
    }
    if let Some(verdict) = verdict(comparison) {
        let _ = write!(out, "\n{verdict}\n");
    }
    out
}

/// For a pull request.
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = format!("### {}\n", escaped(&headline(comparison)));
    if let Some(verdict) = verdict(comparison) {
        let _ = write!(out, "\n**{}**\n", escaped(&verdict));
    }
    for effect in Effect::WORST_FIRST {
        let mut changes = comparison.of(effect).peekable();
        if changes.peek().is_some() {
            let title = format!("{effect:?}");
            let _ = write!(
                out,
                "\n#### {title}\n\n| change | why | touches |\n| --- | --- | --- |\n"
            );
        }
        for change in changes {
            let _ = writeln!(
                out,
                "| {} | {} | {} |",
                escaped(&change.to_string()),
                escaped(&because(change)),
                escaped(&touches(change).unwrap_or_default())
            );
        }
    }
    let told = comparison.told();
    if !told.is_empty() {
        out.push_str("\n#### To be told\n\n");
    }
    for (owner, theirs) in &told {
        for (dependent, paths) in theirs {
            let line = format!("{owner}: {dependent} ({})", paths.join(", "));
            let _ = writeln!(out, "- {}", escaped(&line));
        }
    }
    if !comparison.owners.is_empty() && !comparison.changes.is_empty() {
        out.push_str("\n#### To be asked\n\n");
        for one in &comparison.owners {
            let _ = writeln!(out, "- {}", escaped(&owner(one)));
        }
    }
    out
}

/// For a program.
pub fn json(comparison: &Comparison) -> Value {
    let mut whole = json!(comparison);
    let numbering = comparison.numbering();
    whole["effect"] = json!(comparison.effect());
    whole["leastVersion"] = json!(numbering.as_ref().map(|numbering| numbering.least.to_string()));
    whole["misnumbered"] = json!(comparison.misnumbered().map(|error| error.to_string()));
    whole["told"] = json!(comparison.told());
    whole
}

/// `customer 2.0.3 → 2.1.0: 1 breaking, 2 compatible`.
pub fn headline(comparison: &Comparison) -> String {
    let counts: Vec<_> = Effect::WORST_FIRST
        .into_iter()
        .map(|effect| (comparison.of(effect).count(), effect.as_adjective()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, effect)| format!("{count} {effect}"))
        .collect();
    let counts = if counts.is_empty() {
        "nothing changed".to_owned()
    } else {
        counts.join(", ")
    };
    format!(
        "{} {} → {}: {counts}",
        comparison.mapping, comparison.from, comparison.to
    )
}

/// Whether the number fits what changed; nothing where there is nothing to say.
fn verdict(comparison: &Comparison) -> Option<String> {
    if let Some(error) = comparison.misnumbered() {
        return Some(error.to_string());
    }
    let numbering = comparison.numbering()?;
    comparison.effect()?;
    Some(if numbering.to < numbering.from {
        format!(
            "{} is before {}: nothing is said of its number",
            numbering.to, numbering.from
        )
    } else {
        format!("the number fits: such changes need {} at the least", numbering.least)
    })
}

fn because(change: &Change) -> String {
    let hint = change.hint.as_ref().map(|hint| format!("; {hint}"));
    format!(
        "{}: {}{}",
        change.rule.as_str(),
        change.rule.words(),
        hint.unwrap_or_default()
    )
}

/// The critical traits and the dependents that a change touches.
pub fn touches(change: &Change) -> Option<String> {
    let critical = change.critical.iter().map(|name| format!("critical trait {name}"));
    let dependents = change
        .dependents
        .iter()
        .map(|one| format!("{} ({})", named(one), one.owner));
    let all: Vec<_> = critical.chain(dependents).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn owner(owner: &Owner) -> String {
    format!("{} ({}, {:?})", owner.team, owner.contact, owner.role)
}

/// Text that Markdown takes for itself: what a mapping holds must not become a heading, a cell or a mention.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '(' | ')' | '#' | '|' | '~' | '!' => {
                out.push('\\');
                out.push(sign);
            }
            // A mention would write to people who have nothing to do with it.
            '@' => out.push_str("&#64;"),
            '\n' | '\r' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
