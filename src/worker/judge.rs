//! What is to become of a record: map, gate, compare with what the CDP was told, encode.

use std::convert::Infallible;

use jiff::Timestamp;

use super::transform::{Reading, Rules};
use crate::api::mapping_version::Entity;
use crate::consent::{Decision, Ruling};
use crate::identity::{self, Evidence, Resolved, Successor};
use crate::mapping::{Filled, Mapped, MappedEvent, Rejection, Trigger};
use crate::record::Record;
use crate::sink::{EncodeError, Encoded, Encoder, Provenance};
use crate::state::{ConsentEnd, Fate, Known, Letter, Stage, watched_key, write_grounds};

/// What is known of a value that nobody tracks.
const UNKNOWN: Evidence = Evidence {
    holders: 1,
    settled: true,
    given_up: false,
    own: false,
};

/// Judges one record after another, in buffers that hold what the last one became.
pub(super) struct Judge<'r> {
    rules: &'r Rules,
    encoder: Encoder,
    /// The calls to be sent.
    pub(super) item: Vec<u8>,
    /// What events watch, as the store keeps it.
    pub(super) watched: Vec<u8>,
    /// The verdicts on the record's keys, as the store keeps them.
    pub(super) identity: Vec<u8>,
    /// What the audit trail keeps of the record's consent.
    pub(super) grounds: Vec<u8>,
    /// Whether the record is delivered as a suppression alone.
    suppressed: bool,
    /// How many records have a value for each trait.
    pub(super) filled: Filled,
}

/// What is to become of a record.
pub(super) struct Verdict {
    pub(super) fate: Fate,
    /// What the CDP will have been told of it.
    pub(super) fingerprint: Option<[u8; 16]>,
    pub(super) letter: Option<Letter>,
    /// How many calls [`Judge::item`] holds.
    pub(super) calls: u32,
    /// From when on they must not be sent any more.
    pub(super) until: Option<Timestamp>,
    pub(super) consent_end: ConsentEnd,
}

impl Verdict {
    /// The CDP holds what it is to hold.
    fn unchanged(fingerprint: Option<[u8; 16]>, consent_end: ConsentEnd) -> Verdict {
        Verdict {
            fate: Fate::Unchanged,
            fingerprint,
            letter: None,
            calls: 0,
            until: None,
            consent_end,
        }
    }

    /// The CDP is told nothing.
    fn rejected(stage: Stage, path: String, rule: String, consent_end: ConsentEnd) -> Verdict {
        Verdict {
            fate: Fate::Rejected,
            fingerprint: None,
            letter: Some(Letter { stage, path, rule }),
            calls: 0,
            until: None,
            consent_end,
        }
    }

    fn unencodable(error: &EncodeError, consent_end: ConsentEnd) -> Verdict {
        Verdict::rejected(Stage::Encode, "encoding".into(), error.to_string(), consent_end)
    }
}

impl<'r> Judge<'r> {
    pub(super) fn new(rules: &'r Rules) -> Judge<'r> {
        Judge {
            rules,
            encoder: rules.sink.encoder(),
            item: Vec::new(),
            watched: Vec::new(),
            identity: Vec::new(),
            grounds: Vec::new(),
            suppressed: false,
            filled: Filled::default(),
        }
    }

    /// Maps the record, lets the gate decide, and encodes into [`Judge::item`] what is to be sent. `resolved` are the verdicts on
    /// its keys, where the identity map has a say in them.
    pub(super) fn judge(
        &mut self,
        record: &Record<'_>,
        resolved: Option<Vec<Resolved<'_>>>,
        known: Option<&Known>,
        extracted_at: Timestamp,
    ) -> Verdict {
        self.clear();
        let verdict = self.decide(record, resolved.as_deref(), known, extracted_at);
        self.remember(record, resolved, &verdict);
        verdict
    }

    /// Of whom the CDP is to forget nothing more is sent, not even a suppression: it would make their user id known anew.
    pub(super) fn leave_erased(&mut self, known: &Known) -> Verdict {
        self.clear();
        Verdict::unchanged(known.fingerprint, ConsentEnd::Never)
    }

    fn clear(&mut self) {
        self.item.clear();
        self.watched.clear();
        self.identity.clear();
        self.grounds.clear();
        self.suppressed = false;
    }

    fn decide(
        &mut self,
        record: &Record<'_>,
        resolved: Option<&[Resolved<'_>]>,
        known: Option<&Known>,
        extracted_at: Timestamp,
    ) -> Verdict {
        let plan = &self.rules.plan;
        if let Some(successor) = plan.successor(record) {
            return self.succeeded(record, &successor, known, extracted_at);
        }
        let mapped = if record.deleted {
            plan.map_deleted(record)
        } else {
            plan.map_counting(record, &mut self.filled)
        };
        let mapped = mapped.and_then(|mut mapped| match resolved {
            Some(resolved) => mapped.withhold(resolved).map(|()| mapped),
            None => Ok(mapped),
        });
        match mapped {
            Ok(mapped) => self.mapped(record, mapped, known, extracted_at),
            Err(rejection) if record.deleted => unnamed(rejection, known),
            Err(rejection) => self.rejected(record, rejection, known, extracted_at),
        }
    }

    fn mapped(
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
        // A run that was cut off may have sent what the CRM has undone since: then the record is what the store knows, with another
        // stamp.
        let was_changed = known.is_some_and(|known| !known.is_of(record.stamp));
        let anew = self.rules.reading == Reading::Again { forced: true }
            || self.rules.in_doubt && (was_changed || decision == Decision::Suppress);
        let profile = anew || delivered.is_none_or(|known| known.fingerprint != Some(fingerprint));
        if !profile && events.is_empty() {
            return Verdict::unchanged(Some(fingerprint), consent_end(mapped.entity, &ruling));
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
            // What the CDP holds of the record, it holds on.
            Err(error) if decision == Decision::Suppress => Verdict::unencodable(&error, ConsentEnd::Kept),
            Err(error) => Verdict::unencodable(&error, consent_end(mapped.entity, &ruling)),
        }
    }

    /// A record that goes on as another one is suppressed, and the CDP is told which one that is: in this order, so that where a
    /// CDP follows the second, what the successor's own record says comes last.
    fn succeeded(
        &mut self,
        record: &Record<'_>,
        successor: &Successor<'_>,
        known: Option<&Known>,
        extracted_at: Timestamp,
    ) -> Verdict {
        let mut mapped = match self.rules.plan.map_deleted(record) {
            Ok(mapped) => mapped,
            Err(rejection) => return self.rejected(record, rejection, known, extracted_at),
        };
        let ruling = self.rule(true, &mut mapped, extracted_at);
        let fingerprint = successor.fingerprint(mapped.fingerprint(&Decision::Suppress));
        if !self.rules.in_doubt && known.is_some_and(|known| known.fingerprint == Some(fingerprint)) {
            return Verdict::unchanged(Some(fingerprint), ConsentEnd::Never);
        }
        self.suppressed = true;
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
            Err(error) => Verdict::unencodable(&error, ConsentEnd::Kept),
        }
    }

    /// A dead letter, and beside it a suppression where the person's consent is not there: a bad trait must not keep an
    /// opt-out from the CDP.
    fn rejected(
        &mut self,
        record: &Record<'_>,
        rejection: Rejection,
        known: Option<&Known>,
        extracted_at: Timestamp,
    ) -> Verdict {
        let mut verdict = Verdict::rejected(Stage::Map, rejection.path, rejection.rule, ConsentEnd::Kept);
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

    /// Keeps the verdicts on the keys of a record that is delivered; where the map tracks them, of any.
    fn remember(&mut self, record: &Record<'_>, resolved: Option<Vec<Resolved<'_>>>, verdict: &Verdict) {
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
}

/// A deleted record without a user id: the CRM has purged it, and with it the field that the CDP knows it by, of which the store has no
/// more than a hash. No run can do more for it, so that none looks at it again by itself.
fn unnamed(rejection: Rejection, known: Option<&Known>) -> Verdict {
    if known.is_none_or(|known| known.fingerprint.is_none()) {
        return Verdict::unchanged(None, ConsentEnd::Never);
    }
    let rule = format!(
        "{}; the CRM has the record no more, and what the CDP holds of it can't be named: suppress it there by hand",
        rejection.rule
    );
    Verdict::rejected(Stage::Map, rejection.path, rule, ConsentEnd::Never)
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
