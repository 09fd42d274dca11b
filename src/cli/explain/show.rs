//! The answer as a person reads it.

use std::fmt::Write as _;

use super::gather::{Explanation, KeyExplained, chosen};

/// One paragraph a record.
pub(super) fn as_text(found: &[Explanation]) -> String {
    let mut text = String::new();
    for (place, explanation) in found.iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        // Writing into memory can't fail.
        let _ = paragraph(&mut text, explanation);
    }
    text
}

fn paragraph(text: &mut String, explanation: &Explanation) -> std::fmt::Result {
    let Explanation {
        pipeline,
        stream,
        sink,
        object,
        record,
        stamp,
        ..
    } = explanation;
    writeln!(text, "{object}/{record} in {pipeline}, stream {stream}, at sink {sink}")?;
    let deleted = if explanation.deleted {
        ", deleted in the CRM"
    } else {
        ""
    };
    writeln!(text, "  version       {stamp}{deleted}")?;
    match (&explanation.delivered_at, &explanation.run) {
        (Some(at), Some(run)) => writeln!(text, "  delivered     {at} by run {run}")?,
        (Some(at), None) => writeln!(text, "  delivered     {at}")?,
        _ => writeln!(text, "  delivered     never, or before the store kept that")?,
    }
    if let Some(mapping) = &explanation.mapping {
        let note = if explanation.mapping_is_there {
            ""
        } else {
            " (not in the folder: keys and traits below are the present version's)"
        };
        writeln!(text, "  mapping       {mapping}{note}")?;
    }
    if explanation.suppressed {
        writeln!(
            text,
            "  suppressed    only its user id and the denied purposes were delivered: no trait, no other key"
        )?;
    }
    if let Some(letter) = &explanation.dead_letter {
        writeln!(text, "  dead letter   {letter}")?;
    }
    if let Some(erasure) = &explanation.erasure {
        writeln!(text, "  erasure       {erasure}")?;
    }
    if let Some(link) = &explanation.goes_on_as {
        let by = link
            .run
            .as_ref()
            .map(|run| format!(" by run {run}"))
            .unwrap_or_default();
        writeln!(
            text,
            "  goes on as    {} ({}, told {}{by})",
            link.record, link.relation, link.delivered_at
        )?;
    }
    for link in &explanation.stands_for {
        writeln!(
            text,
            "  stands for    {} ({}, told {})",
            link.record, link.relation, link.delivered_at
        )?;
    }
    match chosen(&explanation.keys) {
        Some(key) => writeln!(text, "  user id       {} {}", key.kind, value_of(key))?,
        None => writeln!(text, "  user id       none")?,
    }
    writeln!(text, "  keys considered, in order of precedence:")?;
    for key in &explanation.keys {
        writeln!(
            text,
            "    {} from {object}.{}: {} {}",
            key.kind,
            key.from,
            value_of(key),
            key.why
        )?;
        for other in &key.others {
            let has = if other.has_it_now {
                "has it now"
            } else {
                "has given it up"
            };
            let told = match (&other.since_run, other.delivered) {
                (Some(run), true) => format!("known by it at the CDP since run {run}"),
                (Some(run), false) => format!("told to the CDP first by run {run}, and no more"),
                (None, _) => "never told to the CDP".to_owned(),
            };
            writeln!(text, "      also {object}/{}: {has}, {told}", other.record)?;
        }
    }
    if let Some(explained) = &explanation.trait_explained {
        writeln!(text, "  trait {} from {}", explained.name, explained.source)?;
        for transform in &explained.transforms {
            writeln!(text, "    {transform}")?;
        }
        writeln!(text, "    {}", explained.why)?;
        if let Some(value) = &explained.value {
            writeln!(text, "    in the CRM now: {value}")?;
        }
    }
    Ok(())
}

/// A key's value, or its hash where it isn't revealed.
fn value_of(key: &KeyExplained) -> String {
    match (&key.value, &key.hash, key.value_is_as_delivered) {
        (Some(value), _, Some(true)) => format!("{value:?},"),
        (Some(value), _, _) => format!("{value:?} (another one than was delivered),"),
        (None, Some(hash), _) => format!("#{hash},"),
        (None, None, _) => String::new(),
    }
}
