//! The second stage, on a thread of its own: decode, look up, judge, and fill parcels.

use std::mem;
use std::sync::OnceLock;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::deliver::Parcel;
use super::extract::Arrival;
use super::in_flight::InFlight;
use super::judge::{Judge, Verdict};
use super::stop::Stop;
use crate::api::mapping_version::Entity;
use crate::consent::Gate;
use crate::identity::{self, Resolved, Secret};
use crate::mapping::{Filled, Plan};
use crate::record::Record;
use crate::sink::{Batch, Sink};
use crate::state::{Entries, Entry, ErasureNote, Fate, Known, Reader, Snapshot};

/// A parcel goes on at the latest when it holds so many records, for those that become no call.
const RECORDS: usize = 2_000;

/// In a first run the store is empty, and a record need not be looked up unless it is read a second time. That takes a change
/// during the run, whose stamp is no older than the run but for transactions that committed late: this much is allowed them.
const LATE: SignedDuration = SignedDuration::from_hours(1);

/// What every record of the run goes by.
pub(super) struct Rules {
    /// `namespace/name` of the pipeline.
    pub(super) pipeline: String,
    pub(super) stream: String,
    pub(super) run: String,
    pub(super) epoch: i64,
    pub(super) mapping: String,
    pub(super) mapping_version: String,
    pub(super) object: String,
    pub(super) plan: Plan,
    pub(super) gate: Gate,
    pub(super) sink: Sink,
    /// Whether the store knew no record when the run began.
    pub(super) empty: bool,
    /// Whether the CDP may hold what the store does not know of, from a run that was cut off. A suppression is then sent also where
    /// the CDP was told of it before, and so is a record that was changed and is what it was.
    pub(super) in_doubt: bool,
    /// Whether the stream has deleted people erased.
    pub(super) erases: bool,
    /// Which reading of the stream this is.
    pub(super) reading: Reading,
    /// Records with a later stamp were modified after the run had read the keys: the next run must read them again.
    pub(super) settled_as_of: Option<Timestamp>,
    /// What makes the hashes of the identity map.
    pub(super) secret: Secret,
    /// What the first reading by these rules has counted, once it has come to its end.
    pub(super) filled: OnceLock<Filled>,
}

/// A run reads a stream once or, where its mapping says that a key may be shared, change hands or be merged, up to three times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The keys alone: who has which value, and who goes on as whom. The latter are delivered.
    Keys,
    /// The records.
    Records,
    /// Some records once more, for what became of others; with `forced`, also where nothing of them has changed.
    Again {
        /// What the CDP hears of them must be the last.
        forced: bool,
    },
}

impl Reading {
    /// What the store knows a reading by that another run can go on with.
    pub(super) fn name(self) -> &'static str {
        match self {
            Reading::Keys => "keys",
            Reading::Records => "records",
            Reading::Again { .. } => "again",
        }
    }
}

/// The channels to the stages after this one, and back from them.
pub(super) struct Channels {
    pub(super) parcels: mpsc::Sender<Parcel>,
    pub(super) spare_batches: mpsc::UnboundedReceiver<Batch>,
    pub(super) spare_entries: mpsc::UnboundedReceiver<Entries>,
    /// The last parcel that is committed.
    pub(super) committed: watch::Receiver<u64>,
}

/// Works until there are no more pages. Ends early, and without an error of its own, when a later stage has ended.
pub(super) fn run(
    rules: &Rules,
    mut pages: mpsc::Receiver<Arrival>,
    channels: Channels,
    reader: &Reader,
    runtime: Handle,
) -> Result<(), Stop> {
    let mut work = Work {
        rules,
        judge: Judge::new(rules),
        channels,
        runtime,
        in_flight: InFlight::default(),
        parcel: Parcel {
            number: 1,
            entries: Entries::default(),
            batch: rules.sink.batch(),
        },
        known: Known::default(),
    };
    let mut result = Ok(());
    while let Some(arrival) = pages.blocking_recv() {
        result = work.page(&arrival, reader);
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        // Only a reading of the records is asked for it, and there is one.
        let _ = rules.filled.set(mem::take(&mut work.judge.filled));
    }
    // What was transformed before an error goes on as well: the run keeps what it has.
    match result.and(work.hand_on()) {
        Ok(()) | Err(Halt::Downstream) => Ok(()),
        Err(Halt::Stop(stop)) => Err(stop),
    }
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

/// The stage at work, with its buffers.
struct Work<'r> {
    rules: &'r Rules,
    judge: Judge<'r>,
    channels: Channels,
    runtime: Handle,
    in_flight: InFlight,
    /// The parcel that is being filled.
    parcel: Parcel,
    known: Known,
}

/// The page at hand.
struct Context<'p> {
    extracted_at: Timestamp,
    /// Records with a later stamp were modified while the query was paged through, after the keys were read, or in a transaction
    /// that was open then; or the page tells nothing of the records before its own.
    settled_until: Timestamp,
    /// An empty store does not hold a record with an older stamp.
    unseen_before: Timestamp,
    snapshot: Snapshot<'p>,
}

impl Work<'_> {
    fn page(&mut self, arrival: &Arrival, reader: &Reader) -> Result<(), Halt> {
        // In this order: the snapshot then holds every record that is not in flight any more.
        let committed = *self.channels.committed.borrow();
        self.in_flight.committed(committed);
        let mut context = Context {
            extracted_at: arrival.extracted_at,
            settled_until: arrival.settled_until.map_or(Timestamp::MIN, |instant| {
                self.rules.settled_as_of.map_or(instant, |settled| settled.min(instant))
            }),
            unseen_before: match arrival.complete_as_of {
                Some(instant) if self.rules.empty => instant.checked_sub(LATE).unwrap_or(Timestamp::MIN),
                _ => Timestamp::MIN,
            },
            snapshot: reader.snapshot()?,
        };
        let mut result = Ok(());
        arrival.page.decode(|record| {
            if result.is_ok() {
                result = self.record(record, &mut context);
            }
        })?;
        result?;
        if let Some(point) = arrival.page.resume_point() {
            self.parcel.entries.resume_at(self.rules.reading.name(), point.clone());
            if arrival.page.is_empty() {
                // The job is known before any of its records is.
                self.hand_on()?;
            }
        }
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>, context: &mut Context<'_>) -> Result<(), Halt> {
        if self.rules.reading == Reading::Keys && !self.observe(record)? {
            return Ok(());
        }
        let found = self.look_up(record, context)?;
        let resolved = self.resolve(record, context)?;
        // Taken out for as long as the record is worked on, so that its buffer is used again.
        let known = mem::take(&mut self.known);
        let erased = record.deleted && found && self.rules.erases && context.snapshot.is_erased(&record.id)?;
        let verdict = if erased {
            self.judge.leave_erased(&known)
        } else {
            self.judge
                .judge(record, resolved, found.then_some(&known), context.extracted_at)
        };
        if let Some(successor) = self.rules.plan.successor(record)
            && verdict.fate != Fate::Unchanged
        {
            self.parcel.entries.succeed(&record.id, &successor);
        }
        // Only the reading of all records, in their order, moves the watermark.
        let in_order = self.rules.reading == Reading::Records && record.stamp <= context.settled_until;
        let added = self.add(record, in_order, found.then_some(&known), verdict);
        self.known = known;
        added?;
        if self.parcel.entries.len() >= RECORDS {
            self.hand_on()?;
        }
        Ok(())
    }

    /// Notes who has which value of the tracked keys; tells whether the record goes on as another one, which must be delivered
    /// before any record that stays.
    fn observe(&mut self, record: &Record<'_>) -> Result<bool, Halt> {
        let (plan, secret) = (&self.rules.plan, &self.rules.secret);
        let successor = plan.successor(record);
        let gone = record.deleted || successor.is_some();
        for key in plan.keys(record).filter(|key| key.shared_by.is_some()) {
            let value = key.value.as_deref().filter(|_| !gone);
            let hash = value.map(|value| secret.hash(key.kind, value));
            self.parcel.entries.observe(&record.id, key.kind, hash);
        }
        let merged = successor.is_some();
        if self.parcel.entries.len() >= RECORDS {
            self.hand_on()?;
        }
        Ok(merged)
    }

    /// Judges the keys of a record that stands for itself, where the identity map has a say in it.
    fn resolve<'m>(&self, record: &'m Record<'m>, context: &Context<'_>) -> Result<Option<Vec<Resolved<'m>>>, Halt>
    where
        Self: 'm,
    {
        let Rules {
            plan, secret, epoch, ..
        } = self.rules;
        if !plan.tracks() || record.deleted || plan.successor(record).is_some() {
            return Ok(None);
        }
        let resolved = identity::resolve(plan.keys(record), |key, value, threshold| {
            let hash = secret.hash(key.kind, value);
            context.snapshot.evidence(&record.id, key.kind, hash, threshold, *epoch)
        })?;
        Ok(Some(resolved))
    }

    /// Reads what the store knows of the record into `self.known`; tells whether it knows anything.
    fn look_up(&mut self, record: &Record<'_>, context: &mut Context<'_>) -> Result<bool, Halt> {
        if let Some(parcel) = self.in_flight.find(&record.id) {
            if parcel == self.parcel.number {
                self.hand_on()?;
            }
            let wait = self.channels.committed.wait_for(|committed| *committed >= parcel);
            let committed = *self.runtime.block_on(wait).map_err(|_| Halt::Downstream)?;
            self.in_flight.committed(committed);
            context.snapshot.renew()?;
        } else if record.stamp < context.unseen_before {
            return Ok(false);
        }
        Ok(context.snapshot.find(&record.id, &mut self.known)?)
    }

    /// Puts the record, and the calls that it became, into the parcel.
    fn add(
        &mut self,
        record: &Record<'_>,
        in_order: bool,
        known: Option<&Known>,
        verdict: Verdict,
    ) -> Result<(), Halt> {
        let sent = verdict.calls > 0;
        if sent && !self.parcel.batch.push(&self.judge.item, verdict.calls, verdict.until) {
            self.hand_on()?;
            if !self.parcel.batch.push(&self.judge.item, verdict.calls, verdict.until) {
                return Err(Halt::Stop(Stop::defect("transform")));
            }
        }
        let had_letter = known.is_some_and(|known| known.has_letter);
        let entry = Entry {
            id: &record.id,
            stamp: record.stamp,
            deleted: record.deleted,
            fate: verdict.fate,
            fingerprint: verdict.fingerprint,
            watched: &self.judge.watched,
            identity: &self.judge.identity,
            in_order,
            // Dealt with by this very run: before its pod was replaced, or in an earlier reading.
            counted: known.is_some_and(|known| known.epoch == self.rules.epoch && known.is_of(record.stamp)),
            had_letter,
            consent_end: verdict.consent_end,
            erasure: self.erasure(record),
            grounds: (self.rules.plan.entity() != Entity::Account).then_some(&self.judge.grounds),
        };
        match verdict.letter {
            Some(letter) => self.parcel.entries.push_rejected(&entry, letter, sent),
            None => self.parcel.entries.push(&entry, sent),
        }
        self.in_flight.insert(&record.id, self.parcel.number);
        Ok(())
    }

    /// What the reading of the record says of its erasure.
    fn erasure(&self, record: &Record<'_>) -> ErasureNote {
        if !record.deleted || self.rules.plan.successor(record).is_some() {
            ErasureNote::Void
        } else if self.rules.erases {
            ErasureNote::Due
        } else {
            ErasureNote::Kept
        }
    }

    /// Hands the parcel to the next stage, and begins another one in buffers that came back.
    fn hand_on(&mut self) -> Result<(), Halt> {
        if self.parcel.entries.is_empty() {
            return Ok(());
        }
        let next = Parcel {
            number: self.parcel.number + 1,
            entries: self.channels.spare_entries.try_recv().unwrap_or_default(),
            batch: self
                .channels
                .spare_batches
                .try_recv()
                .unwrap_or_else(|_| self.rules.sink.batch()),
        };
        let parcel = mem::replace(&mut self.parcel, next);
        self.channels
            .parcels
            .blocking_send(parcel)
            .map_err(|_| Halt::Downstream)
    }
}
