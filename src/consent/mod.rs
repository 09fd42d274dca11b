//! Consent: the last step before delivery, and it fails closed.
//!
//! 1. The mapping says per purpose what a record states: a [`Statement`], with its evidence and how long that holds.
//! 2. The [`Gate`] holds the clock against the statements, and them against the purposes that the sink requires: the record
//!    is activated there, or only suppressed.
//! 3. What is activated carries the instant at which its consent ends. The sink asks the clock again whenever it sends, so
//!    that nothing goes out that waited in a retry for longer; the state store remembers the instant, and the first run after
//!    it suppresses the record.

mod statement;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use statement::{Denial, Statement};

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

/// What the gate decided, and for how long that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What may become of the record.
    pub decision: Decision,
    /// Of a record that is activated: from this instant on what is sent of it states a consent that is there no longer.
    pub ends: Option<Timestamp>,
    /// Of a record that is suppressed: when the first of the required purposes ended by the clock alone.
    pub ended: Option<Timestamp>,
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

    /// Settles what a record states of its purposes at this instant, and decides.
    ///
    /// A purpose that is not there counts as denied, and so does one of which any statement denies. An account is a company
    /// and not a person who could consent: it is activated until it is deleted. A deal's events concern a person, so it
    /// needs the same purposes as a person.
    pub fn decide(&self, entity: Entity, consent: &mut [Statement<'_>], deleted: bool, now: Timestamp) -> Ruling {
        for statement in consent.iter_mut() {
            if deleted {
                statement.granted = Err(Denial::Deleted);
            }
            statement.settle(now);
        }
        let granted = |required: &String| {
            let mut statements = consent
                .iter()
                .filter(|statement| statement.purpose == required)
                .peekable();
            statements.peek().is_some() && statements.all(Statement::is_granted)
        };
        let is_required = |statement: &&Statement<'_>| self.required.iter().any(|it| it == statement.purpose);
        if !deleted && (entity == Entity::Account || self.required.iter().all(granted)) {
            // A profile states its other purposes too; an event that has happened rests on the required ones alone.
            let counts = |statement: &&Statement<'_>| match entity {
                Entity::Person => true,
                Entity::Deal | Entity::Membership => is_required(statement),
                Entity::Account => false,
            };
            let standing = consent.iter().filter(|statement| statement.is_granted()).filter(counts);
            return Ruling {
                decision: Decision::Activate,
                ends: standing.filter_map(|statement| statement.ends).min(),
                ended: None,
            };
        }
        let expired = consent.iter().filter(is_required);
        let expired = expired.filter(|statement| statement.granted == Err(Denial::Expired));
        Ruling {
            decision: Decision::Suppress,
            ends: None,
            ended: expired.filter_map(|statement| statement.ends).min(),
        }
    }
}
