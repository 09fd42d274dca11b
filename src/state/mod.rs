//! What a stream remembers between runs: SQLite on a volume, a file a stream.
//!
//! ```text
//! Store::open ─ fences off older runs, tells what is remembered
//!   ├─ Reader     looks records up for the transforming thread, in snapshots
//!   └─ Store      writes acknowledged records, dead letters, counts and the watermark: what belongs together in one transaction
//! ```
//!
//! Of a record nothing is kept but its id, its stamp, fingerprints, and when its consent ends: the store holds no customer
//! value. Beside the records stand the identity map (`identity`), with keyed hashes of values, which `ledger` reads for
//! `ferrygate explain`, the outbox of erasures (`erasure`), where readings in no order can be gone on with (`resume`), and the
//! audit trail of what was sent, which only grows.

mod audit;
mod audit_reader;
mod consent;
mod entries;
mod erasure;
mod erasure_requests;
mod error;
mod identity;
mod ledger;
mod letters;
mod reader;
mod resume;
mod schema;
mod store;

#[cfg(test)]
mod consent_tests;
#[cfg(test)]
mod erasure_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::api::sync_pipeline::{Counts, Watermark};

pub use audit::{Erasure, write_grounds};
pub use audit_reader::{AuditError, AuditTrail, Delivery, Ground, Verified};
pub use consent::ConsentEnd;
pub use entries::{Entries, Entry, Fate, Letter, Stage};
pub use erasure::ErasureNote;
pub use erasure_requests::{Look, Running};
pub use error::StateError;
pub use ledger::{Erased, Ledger, Link, Used, Whereabouts};
pub use letters::{Letters, Which};
pub use reader::{Known, Reader, Snapshot, watched_key};
pub use store::Store;

/// The file of a stream in a folder of state.
pub fn file_of(directory: &Path, stream: &str) -> PathBuf {
    directory.join(format!("{stream}.sqlite"))
}

/// Which run opens which store.
#[derive(Clone, Debug)]
pub struct Opening<'a> {
    /// The folder that holds a file a stream.
    pub directory: &'a Path,
    /// The stream's name.
    pub stream: &'a str,
    /// What the stream reads, and where it is delivered.
    pub between: Between,
    /// The run's name.
    pub run: &'a str,
    /// The run's number among the stream's. A store that has seen a higher one refuses this run.
    pub epoch: i64,
    /// The mapping's name and version, which dead letters are marked with.
    pub mapping: &'a str,
}

/// What a store's records hold for. Of another org's records, and of what another CDP has, they say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Between {
    /// The CRM object.
    pub object: String,
    /// The CRM org: the source's name and address.
    pub source: String,
    /// The CDP: the sink's name and address. Empty, as is `source`, where a store is older than this.
    pub sink: String,
}

impl Between {
    /// Whether a store that was written for this holds for the other as well.
    fn holds_for(&self, other: &Between) -> bool {
        let same = |before: &str, now: &str| before.is_empty() || before == now;
        self.object == other.object && same(&self.source, &other.source) && same(&self.sink, &other.sink)
    }
}

impl fmt::Display for Between {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Between { object, source, sink } = self;
        write!(formatter, "{object} from {source} to {sink}")
    }
}

/// What a store held when it was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// Where the store comes from.
    pub origin: Origin,
    /// Whether it knows no record: nothing needs to be looked up.
    pub empty: bool,
}

/// Where a store comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was there.
    Kept,
    /// It was not there, and was made; until the first commit, also by a run that did not come to one.
    New,
    /// It was there for something else, and was emptied: nothing in it holds for this stream.
    Other(Between),
}

/// How far a stream has come. Written in one transaction with the records that it rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The last record, in keyset order, before which nothing is missing.
    pub watermark: Option<Watermark>,
    /// The CDP's picture is complete up to this instant of the CRM's clock.
    pub complete_as_of: Option<Timestamp>,
    /// The records of this run; they go on where a pod of the same run left off.
    pub counts: Counts,
    /// How many dead letters the store holds.
    pub dead_letters: i64,
    /// How many records the store knows that were not deleted in the CRM.
    pub standing: i64,
    /// The records from before this watermark are unknown, because a store was lost: counts of both sides can't agree.
    pub partial: bool,
}

/// A record that could not be delivered, and why. Its values are not kept: a replay reads the record again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The CRM's id of the record.
    pub record_id: String,
    /// The record's modification stamp.
    pub stamp: Timestamp,
    /// Where it was rejected.
    pub stage: String,
    /// Where in the mapping, or in the API's answer.
    pub path: String,
    /// The rule that it broke, or the API's reason.
    pub rule: String,
    /// The mapping and the version that met it.
    pub mapping: String,
    /// When it was first rejected.
    pub first: Timestamp,
    /// When it was last rejected.
    pub last: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
}

/// Why records are dead letters, and how many for this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Where in the mapping, or in the API's answer.
    pub path: String,
    /// The rule that was broken, or the API's reason.
    pub rule: String,
    /// How many dead letters have this cause.
    pub records: i64,
}
