//! Where a delivered item came from.

use jiff::Timestamp;

/// Where one record's items came from. Every item carries it.
#[derive(Clone, Copy, Debug)]
pub struct Provenance<'a> {
    /// The pipeline: `namespace/name`.
    pub pipeline: &'a str,
    /// The stream's name.
    pub stream: &'a str,
    /// The run's name.
    pub run: &'a str,
    /// The mapping's name.
    pub mapping: &'a str,
    /// The mapping's version.
    pub mapping_version: &'a str,
    /// The CRM object's API name.
    pub object: &'a str,
    /// The CRM's id of the record.
    pub record_id: &'a str,
    /// When the record was last modified, by the CRM's clock: its version.
    pub stamp: Timestamp,
    /// When the record was read.
    pub extracted_at: Timestamp,
}
