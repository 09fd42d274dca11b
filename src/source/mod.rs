//! CRMs: a folder each, all behind [`Source`].
//!
//! A run describes the object, then extracts: pages of raw bytes come in keyset order `(stamp, id)`, and each is decoded in
//! place into [`Record`]s that borrow from it.

use jiff::Timestamp;

use crate::api::common::Outcome;

/// What a run reads from one object.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The object's API name.
    pub object: String,
    /// The fields' API names, in the order in which [`crate::record::Record::fields`] holds them. The connector itself adds
    /// what it needs (id, stamp, deleted flag).
    pub fields: Vec<String>,
    /// Only records whose stamp is at or after this instant; everything where it is `None`.
    pub from: Option<Timestamp>,
    /// Whether deleted records are read as well.
    pub deleted: bool,
}

/// An object as the CRM describes it to the integration user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectDescription {
    /// The object's API name.
    pub object: String,
    /// Its fields.
    pub fields: Vec<FieldDescription>,
}

/// A field as the CRM describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDescription {
    /// The field's API name.
    pub name: String,
    /// The field's type, in the CRM's own word: `string`, `email`, `currency`, `datetime`, …
    pub kind: String,
    /// The greatest length of a text.
    pub length: u32,
    /// Whether a query may filter by it.
    pub filterable: bool,
}

/// How much of the CRM's request quota is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests made in the current window.
    pub used: i64,
    /// Requests that the window allows.
    pub max: i64,
}

/// Why a source could not go on.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// How a run that meets this ends.
    pub outcome: Outcome,
    /// What happened and what to do. It holds no value of a record and no credential.
    pub message: String,
    /// Where the quota is used up: when the next try is worth it.
    pub parked_until: Option<Timestamp>,
}
