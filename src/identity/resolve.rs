//! The verdict on each key of a record.

use std::borrow::Cow;
use std::fmt;

/// One identity key of a record, as the mapping left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key<'m> {
    /// The identity's kind, for example `email`.
    pub kind: &'m str,
    /// Where the sink takes it.
    pub place: Place,
    /// Whether it never merges two profiles.
    pub informational: bool,
    /// So many records with its value make it nobody's: it is tracked in the identity map.
    pub shared_by: Option<u32>,
    /// The value, where there is one.
    pub value: Option<Cow<'m, str>>,
    /// What the value alone, or the lack of it, holds against the key.
    pub barred: Option<Refusal>,
}

/// Where a sink takes a kind of identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// As the user id.
    UserId,
    /// As the group id.
    GroupId,
    /// Beside the user id.
    ExternalId,
}

/// What the identity map knows of a tracked key's value, before any record of the run was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How many records have the value now, this one with them. Counted no further than the mapping's threshold.
    pub holders: u32,
    /// Whether the record had this value when the run read the keys.
    pub settled: bool,
    /// Whether the CDP knows the value of a record that has given it up, and of none that has kept it.
    pub given_up: bool,
    /// Whether the CDP knows the value of this very record, from an earlier run.
    pub own: bool,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is the user id at the sink.
    UserId,
    /// It is the group id at the sink.
    GroupId,
    /// It is delivered beside the user id, and may merge profiles there.
    ExternalId,
    /// It is delivered beside the user id, by the mapping as one that merges nothing.
    Informational,
    /// It is not delivered.
    Refused(Refusal),
}

/// Why a key is not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// Null or empty.
    Absent,
    /// A transform refused it.
    Unreadable,
    /// One of the mapping's `blockValues`.
    BlockedValue,
    /// So many records, or more, share it.
    Shared {
        /// The mapping's threshold.
        by: u32,
    },
    /// Another record, which has given it up, is known by it at the CDP.
    Recycled,
    /// The record was changed after the run had read the keys; the next run settles it.
    Unsettled,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Absent => formatter.write_str("is null or empty"),
            Refusal::Unreadable => formatter.write_str("is refused by a transform"),
            Refusal::BlockedValue => formatter.write_str("is one of the mapping's blockValues: it identifies nobody"),
            Refusal::Shared { by } => write!(
                formatter,
                "is shared by {by} records or more, and so identifies nobody (blockWhenSharedBy)"
            ),
            Refusal::Recycled => formatter.write_str(
                "was another record's, which has given it up: the CDP would take this record for that person",
            ),
            Refusal::Unsettled => {
                formatter.write_str("was changed in the CRM after this run had read the keys; the next run settles it")
            }
        }
    }
}

impl Verdict {
    /// The verdict in one word, for a program.
    pub fn reason(self) -> &'static str {
        match self {
            Verdict::UserId => "UserId",
            Verdict::GroupId => "GroupId",
            Verdict::ExternalId => "ExternalId",
            Verdict::Informational => "Informational",
            Verdict::Refused(Refusal::Absent) => "Absent",
            Verdict::Refused(Refusal::Unreadable) => "Unreadable",
            Verdict::Refused(Refusal::BlockedValue) => "BlockedValue",
            Verdict::Refused(Refusal::Shared { .. }) => "Shared",
            Verdict::Refused(Refusal::Recycled) => "Recycled",
            Verdict::Refused(Refusal::Unsettled) => "Unsettled",
        }
    }

    /// Whether the CDP is told the key.
    pub fn is_delivered(self) -> bool {
        !matches!(self, Verdict::Refused(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::UserId => formatter.write_str("chosen: the sink's user id"),
            Verdict::GroupId => formatter.write_str("chosen: the sink's group id"),
            Verdict::ExternalId => formatter.write_str("delivered as an external id"),
            Verdict::Informational => {
                formatter.write_str("delivered as an external id; informational, it identifies nobody by itself")
            }
            Verdict::Refused(refusal) => write!(formatter, "refused: it {refusal}"),
        }
    }
}

/// A key and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved<'m> {
    /// The key.
    pub key: Key<'m>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// Judges a record's keys. `evidence` is asked for each tracked key that has a value.
///
/// # Errors
/// As `evidence`.
pub fn resolve<'m, E>(
    keys: impl IntoIterator<Item = Key<'m>>,
    mut evidence: impl FnMut(&Key<'m>, &str, u32) -> Result<Evidence, E>,
) -> Result<Vec<Resolved<'m>>, E> {
    let judge = |key: Key<'m>| {
        let refusal = match (&key.value, key.barred, key.shared_by) {
            (_, Some(barred), _) => Some(barred),
            (Some(value), None, Some(threshold)) => refusal(&evidence(&key, value, threshold)?, threshold),
            (_, None, _) => None,
        };
        let verdict = match refusal {
            Some(refusal) => Verdict::Refused(refusal),
            None => match key.place {
                Place::UserId => Verdict::UserId,
                Place::GroupId => Verdict::GroupId,
                Place::ExternalId if key.informational => Verdict::Informational,
                Place::ExternalId => Verdict::ExternalId,
            },
        };
        Ok(Resolved { key, verdict })
    };
    keys.into_iter().map(judge).collect()
}

/// What the identity map holds against a key's value.
fn refusal(evidence: &Evidence, threshold: u32) -> Option<Refusal> {
    if !evidence.settled {
        Some(Refusal::Unsettled)
    } else if evidence.holders >= threshold {
        Some(Refusal::Shared { by: threshold })
    } else if evidence.given_up && !evidence.own {
        Some(Refusal::Recycled)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn key(barred: Option<Refusal>) -> Key<'static> {
        Key {
            kind: "email",
            place: Place::ExternalId,
            informational: false,
            shared_by: Some(3),
            value: (barred != Some(Refusal::Absent)).then_some(Cow::Borrowed("a")),
            barred,
        }
    }

    fn verdict(key: Key<'static>, evidence: Evidence) -> Verdict {
        let resolved = resolve([key], |_, _, _| Ok::<_, Infallible>(evidence));
        let Ok(resolved) = resolved;
        resolved[0].verdict
    }

    #[test]
    fn a_key_is_judged_by_its_value_and_by_who_else_has_or_had_it() {
        use Refusal::{Absent, BlockedValue, Recycled, Shared, Unsettled};
        use Verdict::{ExternalId, Refused};
        let known = |holders, settled, given_up, own| Evidence {
            holders,
            settled,
            given_up,
            own,
        };
        let cases = [
            (None, known(1, true, false, false), ExternalId),
            (None, known(2, true, false, false), ExternalId),
            (None, known(3, true, false, true), Refused(Shared { by: 3 })),
            (None, known(1, true, true, false), Refused(Recycled)),
            (None, known(1, true, true, true), ExternalId),
            (None, known(1, false, false, false), Refused(Unsettled)),
            (Some(Absent), known(1, true, false, false), Refused(Absent)),
            (Some(BlockedValue), known(1, true, false, true), Refused(BlockedValue)),
        ];
        for (barred, evidence, expected) in cases {
            assert_eq!(verdict(key(barred), evidence), expected, "{barred:?} {evidence:?}");
        }
    }

    #[test]
    fn an_untracked_key_is_taken_at_its_word_and_the_map_is_not_asked() {
        let key = Key {
            shared_by: None,
            informational: true,
            ..key(None)
        };
        let resolved = resolve([key], |_, _, _| Err("asked"));
        assert_eq!(resolved.map(|resolved| resolved[0].verdict), Ok(Verdict::Informational));
    }
}
