//! What a record says of one purpose, and why that may be no consent.

use std::fmt;

use jiff::Timestamp;

use crate::api::mapping_version::LegalBasis;

/// What a record says of one purpose.
///
/// A mapping makes it without a clock; [`Statement::settle`] then holds the clock against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'m> {
    /// The purpose.
    pub purpose: &'m str,
    /// What the CDP calls it.
    pub sent_as: &'m str,
    /// On which ground.
    pub basis: LegalBasis,
    /// Whether it is granted, and why not where it isn't.
    pub granted: Result<(), Denial>,
    /// When the person said so, where the mapping names a field with that instant.
    pub evidence: Option<Timestamp>,
    /// Before this instant the evidence lies in the future.
    pub begins: Option<Timestamp>,
    /// From this instant on the evidence is too old.
    pub ends: Option<Timestamp>,
}

/// Why there is no consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The record says no.
    Refused,
    /// The record says nothing: the field, or what `granted` gives, is null; or the mapping has no such purpose.
    Unknown,
    /// What `granted` gives is neither true nor false.
    Unparsable,
    /// `granted` fails on this record.
    Failed,
    /// The field with the instant of the evidence is null.
    NoEvidence,
    /// The field with the instant of the evidence holds none.
    EvidenceUnparsable,
    /// The evidence lies in the future.
    EvidenceInFuture,
    /// The evidence is older than `expiresAfter`.
    Expired,
    /// The record is in the region of this rule, which does not grant; by its place in `regions`.
    Region(u8),
    /// Whether the record is in the region of this rule can't be told.
    RegionUnclear(u8),
    /// The record was deleted.
    Deleted,
}

impl fmt::Display for Denial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Denial::Refused => "Refused",
            Denial::Unknown => "Unknown",
            Denial::Unparsable => "Unparsable",
            Denial::Failed => "Failed",
            Denial::NoEvidence => "NoEvidence",
            Denial::EvidenceUnparsable => "EvidenceUnparsable",
            Denial::EvidenceInFuture => "EvidenceInFuture",
            Denial::Expired => "Expired",
            Denial::Region(rule) => return write!(formatter, "Region[{rule}]"),
            Denial::RegionUnclear(rule) => return write!(formatter, "RegionUnclear[{rule}]"),
            Denial::Deleted => "Deleted",
        };
        formatter.write_str(name)
    }
}

impl<'m> Statement<'m> {
    /// A statement without evidence.
    pub fn new(purpose: &'m str, basis: LegalBasis, granted: Result<(), Denial>) -> Statement<'m> {
        Statement {
            purpose,
            sent_as: purpose,
            basis,
            granted,
            evidence: None,
            begins: None,
            ends: None,
        }
    }

    /// Whether the purpose is granted.
    pub fn is_granted(&self) -> bool {
        self.granted.is_ok()
    }

    /// Holds the clock against the evidence: what is granted is so no longer where that is too old, or still to come.
    pub fn settle(&mut self, now: Timestamp) {
        if self.granted.is_err() {
            return;
        }
        if self.begins.is_some_and(|begins| now < begins) {
            self.granted = Err(Denial::EvidenceInFuture);
        } else if self.ends.is_some_and(|ends| ends <= now) {
            self.granted = Err(Denial::Expired);
        }
    }
}

/// A purpose that is granted, or refused, without evidence.
impl<'m> From<(&'m str, bool)> for Statement<'m> {
    fn from((purpose, granted): (&'m str, bool)) -> Statement<'m> {
        let granted = if granted { Ok(()) } else { Err(Denial::Refused) };
        Statement::new(purpose, LegalBasis::Consent, granted)
    }
}
