//! CRMs: a folder each, all behind [`Source`].
//!
//! A run describes the object, then extracts: pages of raw bytes come in keyset order `(stamp, id)`, or in none, each with a
//! [`ResumePoint`]; and each is decoded in place into [`Record`](crate::record::Record)s that borrow from it.

mod description;
pub mod salesforce;

pub use description::{Change, FieldChange, FieldDescription, ObjectDescription, quoted};
use jiff::Timestamp;
pub use salesforce::{Extract, Page};

use crate::api::CrmSourceSpec;
use crate::api::common::Outcome;
use crate::api::sync_pipeline::Watermark;
use crate::secrets::Secrets;

/// A CRM, logged in.
#[derive(Clone, Debug)]
pub enum Source {
    /// A Salesforce org.
    Salesforce(salesforce::Salesforce),
}

impl Source {
    /// Validates the configuration, reads the credentials, and logs in.
    ///
    /// # Errors
    /// `ConfigurationInvalid` where the resource or a Secret is wrong, `AuthenticationFailed` where the CRM refuses the login,
    /// `SourceUnavailable` where it can't be reached.
    pub async fn connect(spec: &CrmSourceSpec, secrets: &Secrets) -> Result<Source, SourceError> {
        salesforce::Salesforce::connect(spec, secrets)
            .await
            .map(Source::Salesforce)
    }

    /// The object and its fields, as far as the integration user may see them.
    ///
    /// # Errors
    /// `SchemaDrifted` where the CRM has no such object.
    pub async fn describe(&self, object: &str) -> Result<ObjectDescription, SourceError> {
        match self {
            Source::Salesforce(salesforce) => salesforce.describe(object).await,
        }
    }

    /// How much of the request quota is used: as the last answer told, else asked for. `None` where the CRM doesn't tell.
    ///
    /// # Errors
    /// As any request's.
    pub async fn quota(&self) -> Result<Option<Quota>, SourceError> {
        match self {
            Source::Salesforce(salesforce) => salesforce.quota().await,
        }
    }

    /// How many records the object has; with `modified_after`, only those with a later stamp; with `deleted`, the deleted
    /// ones as well.
    ///
    /// # Errors
    /// As any request's.
    pub async fn count(
        &self,
        object: &str,
        modified_after: Option<Timestamp>,
        deleted: bool,
    ) -> Result<i64, SourceError> {
        match self {
            Source::Salesforce(salesforce) => salesforce.count(object, modified_after, deleted).await,
        }
    }

    /// Reads the records with these ids, whenever they were modified, in no order that could be relied on. Where the selection
    /// has deleted ones as well, one that the CRM has no more comes as deleted, with its id, the instant beside that as its
    /// stamp, and nothing else.
    ///
    /// # Errors
    /// As any request's.
    pub async fn read(&self, selection: &Selection, ids: &[Recalled]) -> Result<Vec<Page>, SourceError> {
        match self {
            Source::Salesforce(salesforce) => salesforce.read(selection, ids).await,
        }
    }

    /// Begins to read the selected records. Nothing is asked for before the first page is.
    pub fn extract(&self, selection: Selection) -> Extract {
        match self {
            Source::Salesforce(salesforce) => salesforce.extract(selection),
        }
    }

    /// Removes what the CRM keeps for a reading that is gone on with no more. What can't be removed the CRM removes in time.
    pub async fn remove(&self, point: &ResumePoint) {
        match self {
            Source::Salesforce(salesforce) => salesforce.remove(point).await,
        }
    }
}

/// Where a reading whose records come in no order can be gone on with, by any later run: the CRM keeps its result for some days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The CRM's name of the job that holds the result.
    pub job: String,
    /// A hash of what the job was asked for. Another question can't be gone on with by its result.
    pub question: String,
    /// The part of the result that comes next.
    pub next: NextPart,
    /// The result is complete up to this instant of the CRM's clock.
    pub complete_as_of: Timestamp,
    /// The watermark may not pass this instant: see [`Extract::settled_until`].
    pub settled_until: Timestamp,
    /// The last record in keyset order, of those up to here that were not modified after `settled_until`.
    pub reached: Option<Watermark>,
}

/// Which part of a result comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextPart {
    /// Its first.
    First,
    /// The one with this name.
    Named(String),
    /// None: everything was read.
    End,
}

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

/// A record that has to be read by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The CRM's id of the record.
    pub record_id: String,
    /// Its stamp, should the CRM have it no more.
    pub at: Timestamp,
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// How a run that meets this ends.
    pub outcome: Outcome,
    /// What happened and what to do. It holds no value of a record and no credential.
    pub message: String,
    /// Where the quota is used up: when the next try is worth it.
    pub parked_until: Option<Timestamp>,
}

impl SourceError {
    fn new(outcome: Outcome, message: String) -> SourceError {
        SourceError {
            outcome,
            message,
            parked_until: None,
        }
    }
}
