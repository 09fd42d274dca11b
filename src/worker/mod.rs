//! A run: what it is told, the stages joined, checkpoint, report.
//!
//! ```text
//! extract ──pages──▶ transform ──batches──▶ deliver ──acknowledged──▶ checkpoint ──progress──▶ publish
//!  (async)            (a thread:             (async, in order,          (a thread:               (async, now
//!                      decode, map, gate,     a small window)            one transaction)         and then)
//!                      look up, encode)
//! ```
//!
//! Every arrow is a bounded channel: a slow stage holds up the ones before it, and memory does not grow with the number of
//! records. What becomes of a record is decided in `judge`. What waits to be sent, or to be sent again, meets the gate's clock
//! once more on the wire. A stage that ends, for whatever reason, closes its channels, and so the others end as well; what was
//! acknowledged by then is checkpointed. After the stages, `erase` asks the CDP to forget whom the CRM has deleted.

mod by_id;
mod checkpoint;
mod deliver;
mod erasable;
mod erase;
mod extract;
mod in_flight;
mod judge;
mod prepare;
pub mod probe;
pub mod publish;
mod readings;
mod resolve;
mod schema;
mod stop;
mod sync;
mod transform;

use std::future::Future;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::api::common::Outcome;
use crate::api::sync_pipeline::{
    Counts, Erasures, FillRates, OnSchemaChange, Reconciliation, Stream, StreamSchema, Watermark,
};
use crate::api::{CdpSinkSpec, CrmSourceSpec, MappingVersionSpec};
use crate::state::{Between, Opening};

pub use erasable::unerasable;
pub use resolve::{Fitting, UnresolvedMapping, fitting_mappings, resolve_mapping, takeable_mappings};
pub use sync::sync;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// The pipeline's namespace.
    pub namespace: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// What is synced.
    pub stream: Stream,
    /// The name of the CrmSource.
    pub source_name: String,
    /// The CRM.
    pub source: CrmSourceSpec,
    /// The name of the CdpSink.
    pub sink_name: String,
    /// The CDP.
    pub sink: CdpSinkSpec,
    /// The contract between them.
    pub mapping: MappingVersionSpec,
    /// The run's name.
    pub run: String,
    /// The run's number among the stream's: it fences the state store.
    pub epoch: i64,
    /// Whether a run of the stream has ended before, as far as the status tells.
    pub ran_before: bool,
    /// The folder that holds the pipeline's state, a file a stream.
    pub state_directory: PathBuf,
    /// What a change of the CRM's schema does.
    pub on_schema_change: OnSchemaChange,
    /// The hashes of descriptions that a person has accepted, joined by commas.
    pub accepted_schema: String,
    /// The watermark in the pipeline's status: the run goes on from it if the store is lost.
    pub published: Option<Watermark>,
}

impl RunSpec {
    /// What the stream's state holds for.
    pub fn between(&self) -> Between {
        between(
            &self.stream.object,
            (&self.source_name, &self.source),
            (&self.sink_name, &self.sink),
        )
    }

    /// How the stream's store is opened, with the mapping's name for dead letters.
    pub fn opening<'a>(&'a self, mapping: &'a str) -> Opening<'a> {
        Opening {
            directory: &self.state_directory,
            stream: &self.stream.name,
            between: self.between(),
            run: &self.run,
            epoch: self.epoch,
            mapping,
        }
    }
}

/// What the state of a stream of an object holds for, between a source and a sink, each with its name.
pub fn between(object: &str, source: (&str, &CrmSourceSpec), sink: (&str, &CdpSinkSpec)) -> Between {
    let at = |name: &str, address: Option<&String>| match address {
        Some(address) => format!("{name} ({address})"),
        None => name.to_owned(),
    };
    let salesforce = source.1.salesforce.as_ref();
    let segment = sink.1.segment.as_ref();
    Between {
        object: object.to_owned(),
        source: at(source.0, salesforce.map(|salesforce| &salesforce.instance_url)),
        sink: at(sink.0, segment.map(|segment| &segment.endpoint)),
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RunResult {
    /// How it ended.
    pub outcome: Outcome,
    /// What happened and what to do, for a person.
    pub message: String,
    /// The run's records, by what became of them.
    pub counts: Counts,
    /// Up to which record everything was delivered.
    pub watermark: Option<Watermark>,
    /// The CDP's picture is complete up to this instant of the CRM's clock.
    pub complete_as_of: Option<Timestamp>,
    /// How many dead letters the stream holds.
    pub dead_letters: i64,
    /// The erasures that are not done yet, where the stream erases and they were counted.
    pub erasures: Option<Erasures>,
    /// The counts of both sides, where they could be taken.
    pub reconciliation: Option<Reconciliation>,
    /// The object as the CRM describes it.
    pub schema: Option<StreamSchema>,
    /// How many of its records had a value for each trait, where it read any.
    pub fill: Option<FillRates>,
    /// Where the CRM's quota is used up: when the next try is worth it.
    pub parked_until: Option<Timestamp>,
}

impl RunResult {
    /// How far the run came.
    pub fn progress(&self) -> Progress {
        Progress {
            watermark: self.watermark.clone(),
            counts: self.counts,
            dead_letters: self.dead_letters,
            erasures: self.erasures,
            complete_as_of: self.complete_as_of,
            reconciliation: self.reconciliation.clone(),
        }
    }
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Up to which record everything was delivered.
    pub watermark: Option<Watermark>,
    /// The run's records, by what became of them.
    pub counts: Counts,
    /// How many dead letters the stream holds.
    pub dead_letters: i64,
    /// The erasures that are not done yet, at the end of the run.
    pub erasures: Option<Erasures>,
    /// The CDP's picture is complete up to this instant of the CRM's clock.
    pub complete_as_of: Option<Timestamp>,
    /// The counts of both sides, at the end of the run.
    pub reconciliation: Option<Reconciliation>,
}

/// Where a run's progress is told. What is told is in the state store already.
pub trait Publish: Sync {
    /// Tells it. [`Outcome::Superseded`] ends the run at once; any other error is passing, and the run goes on until its end.
    fn publish(&self, progress: &Progress) -> impl Future<Output = Result<(), Outcome>> + Send;
}

/// Tells nobody: for `ferrygate run --files`.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Publish for Silent {
    async fn publish(&self, _: &Progress) -> Result<(), Outcome> {
        Ok(())
    }
}
