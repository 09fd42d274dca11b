//! Consent: the last step before delivery, and it fails closed.
//!
//! The mapping says per purpose whether a record grants it; everything but a plain `true` denies. The [`Gate`] holds that
//! against the purposes that the sink requires, and decides whether the record is activated there or only suppressed.

use crate::api::CdpSinkSpec;
use crate::api::mapping_version::Entity;

/// What may become of a record at a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is delivered with its traits.
    Activate,
    /// Only the suppression itself is delivered, never a trait: a required purpose is missing or denied, or the record was
    /// deleted.
    Suppress,
}

/// The purposes without which a sink activates nobody.
#[derive(Clone, Debug)]
pub struct Gate {
    required: Vec<String>,
}

impl Gate {
    /// The gate of one sink, from `spec.consent.require`.
    pub fn new(sink: &CdpSinkSpec) -> Gate {
        Gate {
            required: sink.consent.require.clone(),
        }
    }

    /// Decides for one record, from its purposes and whether each is granted.
    ///
    /// A purpose that is not there counts as denied, and so does one of which any entry denies. An account is a company
    /// and not a person who could consent: it is activated until it is deleted. A deal's events concern a person, so it
    /// needs the same purposes as a person.
    pub fn decide(&self, entity: Entity, consent: &[(&str, bool)], deleted: bool) -> Decision {
        if deleted {
            return Decision::Suppress;
        }
        let granted = |required: &String| {
            let mut entries = consent.iter().filter(|(purpose, _)| purpose == required).peekable();
            entries.peek().is_some() && entries.all(|(_, granted)| *granted)
        };
        if entity == Entity::Account || self.required.iter().all(granted) {
            Decision::Activate
        } else {
            Decision::Suppress
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(required: &[&str]) -> Gate {
        Gate {
            required: required.iter().map(|purpose| (*purpose).to_owned()).collect(),
        }
    }

    #[test]
    fn everything_but_every_required_purpose_granted_suppresses() {
        use Decision::{Activate, Suppress};
        use Entity::{Account, Deal, Person};
        type Case<'a> = (&'a [&'a str], Entity, &'a [(&'a str, bool)], bool, Decision);
        let cases: &[Case] = &[
            (&[], Person, &[], false, Activate),
            (&[], Person, &[("email", false)], false, Activate),
            (&[], Person, &[], true, Suppress),
            (&["email"], Person, &[], false, Suppress),
            (&["email"], Person, &[("email", false)], false, Suppress),
            (&["email"], Person, &[("email", true)], false, Activate),
            (&["email"], Person, &[("email", true)], true, Suppress),
            (&["email"], Person, &[("Email", true)], false, Suppress),
            (
                &["email"],
                Person,
                &[("email", true), ("email", false)],
                false,
                Suppress,
            ),
            (&["email", "sms"], Person, &[("email", true)], false, Suppress),
            (
                &["email", "sms"],
                Person,
                &[("email", true), ("sms", false)],
                false,
                Suppress,
            ),
            (
                &["email", "sms"],
                Person,
                &[("sms", true), ("email", true)],
                false,
                Activate,
            ),
            (&["email"], Deal, &[], false, Suppress),
            (&["email"], Deal, &[("email", true)], false, Activate),
            (&["email"], Account, &[], false, Activate),
            (&["email"], Account, &[], true, Suppress),
        ];
        for (required, entity, consent, deleted, expected) in cases {
            let decision = gate(required).decide(*entity, consent, *deleted);
            assert_eq!(
                decision, *expected,
                "{required:?} {entity:?} {consent:?} deleted: {deleted}"
            );
        }
    }
}
