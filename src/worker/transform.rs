//! The second stage, on a thread of its own: decode, map, gate, look up, encode.

use std::mem;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::deliver::Parcel;
use super::extract::Arrival;
use super::in_flight::InFlight;
use super::stop::Stop;
use crate::consent::{Decision, Gate};
use crate::mapping::{Mapped, MappedEvent, Plan, Rejection, Trigger};
use crate::record::Record;
use crate::sink::{Batch, Encoder, Provenance, Sink};
use crate::state::{Entries, Entry, Fate, Known, Letter, Reader, Snapshot, Stage, watched_key};

/// A parcel goes on at the latest when it holds so many records, for those that become no call.
const RECORDS: usize = 2_000;

/// In a first run the store is empty, and a record need not be looked up unless it is read a second time. That takes a change
/// during the run, whose stamp is no older than the run but for transactions that committed late: this much is allowed them.
const LATE: SignedDuration = SignedDuration::from_hours(1);

/// What the run's calls carry.
pub(super) struct Names {
    /// `namespace/name` of the pipeline.
    pub(super) pipeline: String,
    pub(super) stream: String,
    pub(super) run: String,
    pub(super) epoch: i64,
    pub(super) mapping: String,
    pub(super) mapping_version: String,
    pub(super) object: String,
}

/// The channels to the stages around this one.
pub(super) struct Channels {
    pub(super) pages: mpsc::Receiver<Arrival>,
    pub(super) parcels: mpsc::Sender<Parcel>,
    pub(super) spare_batches: mpsc::UnboundedReceiver<Batch>,
    pub(super) spare_entries: mpsc::UnboundedReceiver<Entries>,
    pub(super) committed: watch::Receiver<u64>,
}

/// Why the stage ends before its last page.
enum Halt {
    /// A later stage has ended, and tells why.
    Downstream,
    /// A reason of its own.
    Stop(Stop),
}

impl<E: Into<Stop>> From<E> for Halt {
    fn from(error: E) -> Halt {
        Halt::Stop(error.into())
    }
}

/// The stage, with its buffers.
pub(super) struct Transform {
    names: Names,
    plan: Plan,
    gate: Gate,
    encoder: Encoder,
    /// Whether the store knew no record when the run began.
    empty: bool,
    channels: Channels,
    runtime: Handle,
    in_flight: InFlight,
    parcel: Parcel,
    known: Known,
    item: Vec<u8>,
    watched: Vec<u8>,
}

/// The page at hand.
struct Context<'p> {
    extracted_at: Timestamp,
    /// A record with an older stamp is in an empty store for sure not.
    unseen_before: Timestamp,
    snapshot: Snapshot<'p>,
}

impl Transform {
    pub(super) fn new(names: Names, plan: Plan, gate: Gate, sink: &Sink, empty: bool, channels: Channels) -> Transform {
        Transform {
            names,
            plan,
            gate,
            encoder: sink.encoder(),
            empty,
            channels,
            runtime: Handle::current(),
            in_flight: InFlight::default(),
            parcel: Parcel {
                number: 1,
                entries: Entries::default(),
                batch: sink.batch(),
            },
            known: Known::default(),
            item: Vec::new(),
            watched: Vec::new(),
        }
    }

    /// Works until there are no more pages. Ends early, and without an error of its own, when the next stage has ended.
    pub(super) fn run(mut self, sink: &Sink, reader: &Reader) -> Result<(), Stop> {
        match self.pages(sink, reader) {
            Ok(()) | Err(Halt::Downstream) => Ok(()),
            Err(Halt::Stop(stop)) => {
                // What was transformed before goes on: the run keeps what it has.
                let _ = self.hand_on(sink);
                Err(stop)
            }
        }
    }

    fn pages(&mut self, sink: &Sink, reader: &Reader) -> Result<(), Halt> {
        while let Some(arrival) = self.channels.pages.blocking_recv() {
            let committed = *self.channels.committed.borrow();
            self.in_flight.committed(committed);
            let mut context = Context {
                extracted_at: arrival.extracted_at,
                unseen_before: match arrival.complete_as_of {
                    Some(instant) if self.empty => instant.checked_sub(LATE).unwrap_or(Timestamp::MIN),
                    _ => Timestamp::MIN,
                },
                snapshot: reader.snapshot()?,
            };
            let mut result = Ok(());
            arrival.page.decode(|record| {
                if result.is_ok() {
                    result = self.record(record, &mut context, sink);
                }
            })?;
            result?;
        }
        self.hand_on(sink)
    }

    fn record(&mut self, record: &Record<'_>, context: &mut Context<'_>, sink: &Sink) -> Result<(), Halt> {
        let known = self.look_up(record, context, sink)?;
        let plan = mem::take(&mut self.plan);
        let result = self.dispatch(&plan, record, known, context, sink);
        self.plan = plan;
        result
    }
}
