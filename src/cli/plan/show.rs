//! A plan as text for a terminal, as Markdown for a pull request, as JSON for a program.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::decide::{Action, Plan, Planned};
use crate::cli::diff::show as comparison;

/// For a terminal.
pub fn text(plans: &[Plan]) -> String {
    let mut out = String::new();
    for plan in plans {
        let _ = writeln!(out, "namespace {}", plan.namespace);
        if plan.is_empty() {
            out.push_str("  nothing would change\n");
        }
        for one in &plan.resources {
            let _ = writeln!(out, "  {} {}{}", sign(one.action), one.resource, remark(one));
            for field in &one.fields {
                let _ = writeln!(out, "      {field}");
            }
            if let Some(since) = &one.since_before {
                out.push_str(&indented(&comparison::text(since)));
            }
        }
        for one in &plan.moves {
            let _ = writeln!(out, "\n  pipeline {} would take another mapping version", one.pipeline);
            out.push_str(&indented(&comparison::text(&one.comparison)));
        }
        if !plan.restarts.is_empty() {
            out.push_str("\n  would start over\n");
        }
        for one in &plan.restarts {
            let _ = writeln!(out, "      {}/{}: {}", one.pipeline, one.stream, one.why);
        }
        if !plan.problems.is_empty() {
            out.push_str("\n  would not work\n");
        }
        for problem in &plan.problems {
            let _ = writeln!(out, "      {problem}");
        }
    }
    out
}

/// For a pull request.
pub fn markdown(plans: &[Plan]) -> String {
    let escaped = comparison::escaped;
    let mut out = String::new();
    for plan in plans {
        let _ = write!(out, "## Namespace {}\n\n", escaped(&plan.namespace));
        if plan.is_empty() {
            out.push_str("Nothing would change.\n\n");
        }
        for one in &plan.resources {
            let line = format!("{} {}{}", word(one.action), one.resource, remark(one));
            let _ = writeln!(out, "- {}", escaped(&line));
            for field in &one.fields {
                let _ = writeln!(out, "  - {}", escaped(field));
            }
        }
        for one in &plan.restarts {
            let line = format!("stream {}/{} would start over: {}", one.pipeline, one.stream, one.why);
            let _ = writeln!(out, "- {}", escaped(&line));
        }
        for problem in &plan.problems {
            let _ = writeln!(out, "- **{}**", escaped(&format!("would not work: {problem}")));
        }
        for since in plan.resources.iter().filter_map(|one| one.since_before.as_ref()) {
            let _ = write!(out, "\n{}", comparison::markdown(since));
        }
        for one in &plan.moves {
            let line = format!("pipeline {} would take another mapping version", one.pipeline);
            let _ = write!(out, "\n{}\n\n{}", escaped(&line), comparison::markdown(&one.comparison));
        }
    }
    out
}

/// For a program.
pub fn json(plans: &[Plan]) -> Value {
    let plans: Vec<Value> = plans
        .iter()
        .map(|plan| {
            json!({
                "namespace": plan.namespace,
                "disruptive": plan.is_disruptive(),
                "resources": plan.resources,
                "moves": plan.moves,
                "restarts": plan.restarts,
                "problems": plan.problems,
            })
        })
        .collect();
    json!({ "plans": plans })
}

fn sign(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Change => "~",
        Action::Refused => "!",
        Action::Leave => "=",
    }
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Change => "change",
        Action::Refused => "refused:",
        Action::Leave => "leave",
    }
}

fn remark(one: &Planned) -> &'static str {
    match one.action {
        Action::Create | Action::Change => "",
        Action::Refused => ": its spec is immutable; write the change as a new version in a new MappingVersion",
        Action::Leave => ": it is not in the folder; applying leaves it, a tool that prunes deletes it",
    }
}

fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| {
        if line.is_empty() {
            "\n".to_owned()
        } else {
            format!("      {line}\n")
        }
    });
    lines.collect()
}
