//! The second stage, on a thread of its own: decode, map, gate, look up, encode.

use std::convert::Infallible;
use std::mem;

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::deliver::Parcel;
use super::extract::Arrival;
use super::in_flight::InFlight;
use super::stop::Stop;
use crate::api::mapping_version::Entity;
use crate::consent::{Decision, Gate, Ruling};
use crate::identity::{self, Evidence, Resolved, Secret, Successor};
use crate::mapping::{Mapped, MappedEvent, Plan, Rejection, Trigger};
use crate::record::Record;
use crate::sink::{Batch, EncodeError, Encoded, Encoder, Provenance, Sink};
use crate::state::{
    ConsentEnd, Entries, Entry, ErasureNote, Fate, Known, Letter, Reader, Snapshot, Stage, watched_key, write_grounds,
};

/// A parcel goes on at the latest when it holds so many records, for those that become no call.
const RECORDS: usize = 2_000;

/// In a first run the store is empty, and a record need not be looked up unless it is read a second time. That takes a change
/// during the run, whose stamp is no older than the run but for transactions that committed late: this much is allowed them.
const LATE: SignedDuration = SignedDuration::from_hours(1);

/// What is known of a value that nobody tracks.
const UNKNOWN: Evidence = Evidence {
    holders: 1,
    settled: true,
    given_up: false,
    own: false,
};

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
    /// Whether the CDP may hold what the store does not know of. A suppression is then sent also where the CDP was told of it
    /// before: the record may have been activated since, by a run that was cut off.
    pub(super) in_doubt: bool,
    /// Whether the stream has deleted people erased.
    pub(super) erases: bool,
    /// Which reading of the stream this is.
    pub(super) reading: Reading,
    /// Records with a later stamp were modified after the run had read the keys: the next run must read them again.
    pub(super) settled_as_of: Option<Timestamp>,
    /// What makes the hashes of the identity map.
    pub(super) secret: Secret,
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
        encoder: rules.sink.encoder(),
        channels,
        runtime,
        in_flight: InFlight::default(),
        parcel: Parcel {
            number: 1,
            entries: Entries::default(),
            batch: rules.sink.batch(),
        },
        known: Known::default(),
        item: Vec::new(),
        watched: Vec::new(),
        identity: Vec::new(),
        grounds: Vec::new(),
        suppressed: false,
    };
    let mut result = Ok(());
    while let Some(arrival) = pages.blocking_recv() {
        result = work.page(&arrival, reader);
        if result.is_err() {
            break;
        }
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
    encoder: Encoder,
    channels: Channels,
    runtime: Handle,
    in_flight: InFlight,
    /// The parcel that is being filled.
    parcel: Parcel,
    known: Known,
    item: Vec<u8>,
    watched: Vec<u8>,
    /// The verdicts on the record's keys, as the store keeps them.
    identity: Vec<u8>,
    /// What the audit trail keeps of the record's consent.
    grounds: Vec<u8>,
    /// Whether the record is delivered as a suppression alone.
    suppressed: bool,
}

/// The page at hand.
struct Context<'p> {
    extracted_at: Timestamp,
    /// Records with a later stamp were modified while the query was paged through, after the keys were read, or are read by their
    /// ids.
    complete_as_of: Timestamp,
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
            complete_as_of: if arrival.by_id {
                Timestamp::MIN
            } else {
                let known = [arrival.complete_as_of, self.rules.settled_as_of];
                known.into_iter().flatten().min().unwrap_or(Timestamp::MAX)
            },
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
        result
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
            self.leave_erased(&known)
        } else {
            self.judge(record, &resolved, found.then_some(&known), context.extracted_at)
        };
        self.remember(record, resolved, &verdict);
        // Only the reading of all records, in their order, moves the watermark.
        let in_order = self.rules.reading == Reading::Records && record.stamp <= context.complete_as_of;
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

    /// Keeps the verdicts on the keys of a record that is delivered; where the map tracks them, of any.
    fn remember(&mut self, record: &Record<'_>, resolved: Option<Vec<Resolved<'_>>>, verdict: &Verdict) {
        self.identity.clear();
        let rules = self.rules;
        match resolved {
            Some(resolved) => identity::remember(&resolved, self.suppressed, &rules.secret, &mut self.identity),
            None if matches!(verdict.fate, Fate::Delivered | Fate::Suppressed) && !record.deleted => {
                let resolved = identity::resolve(rules.plan.keys(record), |_, _, _| Ok::<_, Infallible>(UNKNOWN));
                let Ok(resolved) = resolved;
                identity::remember(&resolved, self.suppressed, &rules.secret, &mut self.identity);
            }
            None => {}
        }
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

    /// Of whom the CDP is to forget nothing more is sent, not even a suppression: it would make their user id known anew.
    fn leave_erased(&mut self, known: &Known) -> Verdict {
        self.item.clear();
        self.watched.clear();
        self.grounds.clear();
        self.suppressed = true;
        Verdict {
            fate: Fate::Unchanged,
            fingerprint: known.fingerprint,
            letter: None,
            calls: 0,
            until: None,
            consent_end: ConsentEnd::Never,
        }
    }

    /// Maps the record, lets the gate decide, and encodes into `self.item` what is to be sent.
    fn judge(
        &mut self,
        record: &Record<'_>,
        resolved: &Option<Vec<Resolved<'_>>>,
        known: Option<&Known>,
        extracted_at: Timestamp,
    ) -> Verdict {
        self.item.clear();
        self.watched.clear();
        self.grounds.clear();
        self.suppressed = false;
        let plan = &self.rules.plan;
        if let Some(successor) = plan.successor(record) {
            return self.judge_succeeded(record, &successor, known, extracted_at);
        }
        let mapped = if record.deleted {
            plan.map_deleted(record)
        } else {
            plan.map(record)
        };
        let mapped = mapped.and_then(|mut mapped| match resolved {
            Some(resolved) => mapped.withhold(resolved).map(|()| mapped),
            None => Ok(mapped),
        });
        match mapped {
            Ok(mapped) => self.judge_mapped(record, mapped, known, extracted_at),
            Err(rejection) => self.judge_rejected(record, rejection, known, extracted_at),
        }
    }

    fn judge_mapped(
        &mut self,
        record: &Record<'_>,
        mut mapped: Mapped<'_>,
        known: Option<&Known>,
        extracted_at: Timestamp,
    ) -> Verdict {
        let ruling = self.rule(record.deleted, &mut mapped, extracted_at);
        let (decision, mapped) = (ruling.decision, &mapped);
        self.note_watched(&mapped.events);
        self.suppressed = decision == Decision::Suppress;
        let fingerprint = mapped.fingerprint(&decision);
        let delivered = known.filter(|known| known.fingerprint.is_some());
        let events = match decision {
            Decision::Activate => firing(&mapped.events, delivered),
            Decision::Suppress => Vec::new(),
        };
        let anew = self.rules.reading == Reading::Again { forced: true }
            || self.rules.in_doubt && decision == Decision::Suppress;
        let profile = anew || delivered.is_none_or(|known| known.fingerprint != Some(fingerprint));
        if !profile && events.is_empty() {
            return Verdict {
                fate: Fate::Unchanged,
                fingerprint: Some(fingerprint),
                letter: None,
                calls: 0,
                until: None,
                consent_end: consent_end(mapped.entity, &ruling),
            };
        }
        let encoded = self.encode(record, &ruling, extracted_at, |encoder, provenance, out| {
            if profile {
                encoder.encode(mapped, decision, &events, provenance, out)
            } else {
                encoder.encode_events(mapped, &events, provenance, out)
            }
        });
        match encoded {
            Ok(calls) => Verdict {
                fate: match decision {
                    Decision::Suppress => Fate::Suppressed,
                    // A deal without an event is nothing that a CDP holds.
                    Decision::Activate if calls == 0 => Fate::Unchanged,
                    Decision::Activate => Fate::Delivered,
                },
                fingerprint: Some(fingerprint),
                letter: None,
                calls,
                until: ruling.ends,
                consent_end: consent_end(mapped.entity, &ruling),
            },
            Err(error) => Verdict {
                fate: Fate::Rejected,
                fingerprint: None,
                letter: Some(Letter {
                    stage: Stage::Encode,
                    path: "encoding".into(),
                    rule: error.to_string(),
                }),
                calls: 0,
                until: None,
                // What the CDP holds of the record, it holds on.
                consent_end: match decision {
                    Decision::Activate => consent_end(mapped.entity, &ruling),
                    Decision::Suppress => ConsentEnd::Kept,
                },
            },
        }
    }

    /// A record that goes on as another one is suppressed, and the CDP is told which one that is: in this order, so that where a
    /// CDP follows the second, what the successor's own record says comes last.
    fn judge_succeeded(
        &mut self,
        record: &Record<'_>,
        successor: &Successor<'_>,
        known: Option<&Known>,
        extracted_at: Timestamp,
    ) -> Verdict {
        let mut mapped = match self.rules.plan.map_deleted(record) {
            Ok(mapped) => mapped,
            Err(rejection) => return self.judge_rejected(record, rejection, known, extracted_at),
        };
        let ruling = self.rule(true, &mut mapped, extracted_at);
        let fingerprint = successor.fingerprint(mapped.fingerprint(&Decision::Suppress));
        if !self.rules.in_doubt && known.is_some_and(|known| known.fingerprint == Some(fingerprint)) {
            return Verdict {
                fate: Fate::Unchanged,
                fingerprint: Some(fingerprint),
                letter: None,
                calls: 0,
                until: None,
                consent_end: ConsentEnd::Never,
            };
        }
        self.parcel.entries.succeed(&record.id, successor);
        let encoded = self.encode(record, &ruling, extracted_at, |encoder, provenance, out| {
            encoder.encode_successor(&mapped, successor, provenance, out)
        });
        match encoded {
            Ok(calls) => Verdict {
                fate: Fate::Suppressed,
                fingerprint: Some(fingerprint),
                letter: None,
                calls,
                until: None,
                consent_end: ConsentEnd::Never,
            },
            Err(error) => Verdict {
                fate: Fate::Rejected,
                fingerprint: None,
                letter: Some(Letter {
                    stage: Stage::Encode,
                    path: "encoding".into(),
                    rule: error.to_string(),
                }),
                calls: 0,
                until: None,
                consent_end: ConsentEnd::Kept,
            },
        }
    }

    /// A dead letter, and beside it a suppression where the person's consent is not there: a bad trait must not keep an
    /// opt-out from the CDP.
    fn judge_rejected(
        &mut self,
        record: &Record<'_>,
        rejection: Rejection,
        known: Option<&Known>,
        extracted_at: Timestamp,
    ) -> Verdict {
        let mut verdict = Verdict {
            fate: Fate::Rejected,
            fingerprint: None,
            letter: Some(Letter {
                stage: Stage::Map,
                path: rejection.path,
                rule: rejection.rule,
            }),
            calls: 0,
            until: None,
            consent_end: ConsentEnd::Kept,
        };
        let Ok(mut mapped) = self.rules.plan.map_suppression(record) else {
            return verdict;
        };
        let ruling = self.rule(record.deleted, &mut mapped, extracted_at);
        let decision = ruling.decision;
        let fingerprint = mapped.fingerprint(&decision);
        if decision == Decision::Activate {
            verdict.consent_end = consent_end(mapped.entity, &ruling);
        } else if self.rules.in_doubt || known.is_none_or(|known| known.fingerprint != Some(fingerprint)) {
            let encoded = self.encode(record, &ruling, extracted_at, |encoder, provenance, out| {
                encoder.encode(&mapped, decision, &[], provenance, out)
            });
            if let Ok(calls) = encoded {
                verdict.fingerprint = Some(fingerprint);
                verdict.calls = calls;
                verdict.consent_end = ConsentEnd::Never;
            }
        }
        verdict
    }

    /// Lets the gate decide, and keeps for the audit trail what its decision rests on.
    fn rule(&mut self, gone: bool, mapped: &mut Mapped<'_>, now: Timestamp) -> Ruling {
        let ruling = self.rules.gate.decide(mapped.entity, &mut mapped.consent, gone, now);
        self.grounds.clear();
        write_grounds(&mapped.consent, &mut self.grounds);
        ruling
    }

    fn encode(
        &mut self,
        record: &Record<'_>,
        ruling: &Ruling,
        extracted_at: Timestamp,
        encode: impl FnOnce(&Encoder, &Provenance<'_>, &mut Vec<u8>) -> Result<Encoded, EncodeError>,
    ) -> Result<u32, EncodeError> {
        let rules = self.rules;
        let provenance = Provenance {
            pipeline: &rules.pipeline,
            stream: &rules.stream,
            run: &rules.run,
            mapping: &rules.mapping,
            mapping_version: &rules.mapping_version,
            object: &rules.object,
            record_id: &record.id,
            // A consent that ended by the clock alone ended then, and not when the record was last modified.
            stamp: ruling.ended.map_or(record.stamp, |ended| ended.max(record.stamp)),
            extracted_at,
        };
        encode(&self.encoder, &provenance, &mut self.item).map(|encoded| encoded.calls)
    }

    /// Keeps the values that events watch, for the next delivery of the record to be compared with.
    fn note_watched(&mut self, events: &[MappedEvent<'_>]) {
        for event in events {
            if let Trigger::Changed { watched } = event.trigger {
                self.watched.extend_from_slice(&watched_key(event.name).to_le_bytes());
                self.watched.extend_from_slice(&watched.to_le_bytes());
            }
        }
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
        if sent && !self.parcel.batch.push(&self.item, verdict.calls, verdict.until) {
            self.hand_on()?;
            if !self.parcel.batch.push(&self.item, verdict.calls, verdict.until) {
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
            watched: &self.watched,
            identity: &self.identity,
            in_order,
            // Dealt with by this very run: before its pod was replaced, or in an earlier reading.
            counted: known.is_some_and(|known| known.epoch == self.rules.epoch && known.is_of(record.stamp)),
            had_letter,
            consent_end: verdict.consent_end,
            erasure: self.erasure(record),
            grounds: (self.rules.plan.entity() != Entity::Account).then_some(&self.grounds),
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

/// What is to become of a record.
struct Verdict {
    fate: Fate,
    /// What the CDP will have been told of it.
    fingerprint: Option<[u8; 16]>,
    letter: Option<Letter>,
    /// How many calls [`Work::item`] holds.
    calls: u32,
    /// From when on they must not be sent any more.
    until: Option<Timestamp>,
    consent_end: ConsentEnd,
}

/// When the consent ends that the CDP's picture of a record rests on, once it is as this ruling has it. Of a deal it keeps
/// nothing but events that have happened, and a company needs no consent.
fn consent_end(entity: Entity, ruling: &Ruling) -> ConsentEnd {
    match ruling.ends {
        Some(instant) if entity == Entity::Person => ConsentEnd::At(instant),
        _ => ConsentEnd::Never,
    }
}

/// The events that happen now. `delivered` is what is known of the record, if it was ever delivered.
fn firing<'e, 'm>(events: &'e [MappedEvent<'m>], delivered: Option<&Known>) -> Vec<&'e MappedEvent<'m>> {
    let fires = |event: &&MappedEvent<'_>| match (delivered, &event.trigger) {
        (None, _) => true,
        (Some(_), Trigger::Created) => false,
        // An event that the mapping did not have at the last delivery has nothing to be compared with.
        (Some(known), Trigger::Changed { watched }) => known
            .watched(watched_key(event.name))
            .is_some_and(|before| before != *watched),
    };
    events.iter().filter(fires).collect()
}
