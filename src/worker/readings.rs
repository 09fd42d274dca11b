//! The readings of a stream. Most streams are read once. Where the mapping says that a key may be shared, change hands or be merged,
//! the keys are read before the records, and some records once more after them: see
//! `docs/decisions/0010-keys-are-read-before-records.md`.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio_util::sync::CancellationToken;

use super::by_id::{ByIds, Which};
use super::extract::{Extracted, Reads, Whole};
use super::prepare::{self, TrackedKey};
use super::stop::Stop;
use super::sync::{Report, blocking, stages};
use super::transform::{Reading, Rules};
use super::{Publish, RunSpec};
use crate::api::sync_pipeline::{Deletes, FillRates};
use crate::consent::Gate;
use crate::identity::Secret;
use crate::mapping::Plan;
use crate::secrets::Secrets;
use crate::sink::Sink;
use crate::source::{Selection, Source};
use crate::state::Store;

/// The store, and how the last reading ended: of the records, or the first one that did not come to its end.
pub(super) type Ended = (Store, Result<Extracted, Stop>);

/// What all readings of a run go by.
pub(super) struct Readings<'a, P> {
    pub(super) spec: &'a RunSpec,
    pub(super) secrets: &'a Secrets,
    pub(super) source: &'a Source,
    pub(super) sink: &'a Sink,
    pub(super) publisher: &'a P,
    pub(super) shutdown: &'a CancellationToken,
    /// When the run began.
    pub(super) begun: Timestamp,
    /// Whether the store knew no record when the run began.
    pub(super) empty: bool,
    /// Whether the CDP may hold what the store does not know of.
    pub(super) in_doubt: bool,
    /// Whether the identity map knows every value of the tracked keys.
    pub(super) knows_keys: bool,
    pub(super) tracked: &'a [TrackedKey],
    pub(super) secret: &'a Secret,
}

impl<P: Publish> Readings<'_, P> {
    /// Reads the keys where that is needed, the records, and those once more whose verdict others have changed.
    pub(super) async fn all(&self, mut store: Store, plan: Plan, report: &mut Report) -> Result<Ended, Stop> {
        // A key that was not tracked before is known of no record that the watermark has passed.
        let from = report.progress.watermark.clone().filter(|_| self.knows_keys);
        let keys = prepare::compile_keys(self.spec, &plan, self.secrets)?;
        let selection = prepare::selection(self.spec, &plan, from.as_ref());
        let mut rules = self.rules(plan);
        let known = [
            (store.keeps_ends(), Which::Ended),
            (store.keeps_returned(), Which::Returned),
            (store.keeps_replays(self.begun)?, Which::Replayed),
        ];
        let known = known.into_iter().filter(|(any, _)| *any);
        let records = Reads {
            by_ids: known
                .map(|(_, which)| self.by_ids(which, &selection, &store))
                .collect::<Result<_, _>>()?,
            extract: None,
        };
        let Some(keys) = keys else {
            if let Some(leftover) = store.resume_point(Reading::Keys.name())? {
                self.source.remove(&leftover).await;
            }
            let records = self.whole(records, &selection, &store, &rules)?;
            let read = self.one(records, rules, store, report).await;
            return read.map(|(ended, _)| ended);
        };
        let keys_selection = prepare::selection(self.spec, &keys, from.as_ref());
        let keys_rules = Rules {
            reading: Reading::Keys,
            ..self.rules(keys)
        };
        let keys_reads = Reads {
            by_ids: Vec::new(),
            extract: None,
        };
        let keys_reads = self.whole(keys_reads, &keys_selection, &store, &keys_rules)?;
        let ended;
        ((store, ended), _) = self.one(keys_reads, keys_rules, store, report).await?;
        let Ok(Extracted::All(read)) = ended else {
            return Ok((store, ended));
        };
        // Losers of merges may have been delivered, and records that were changed since come back in the next run.
        rules.empty = false;
        rules.settled_as_of = read.complete_as_of;
        let records = self.whole(records, &selection, &store, &rules)?;
        let ended;
        ((store, ended), rules) = self.one(records, rules, store, report).await?;
        if !matches!(ended, Ok(Extracted::All(_))) {
            return Ok((store, ended));
        }
        store = self.settle(store).await?;
        for forced in [true, false] {
            rules.reading = Reading::Again { forced };
            let reads = Reads {
                by_ids: vec![self.by_ids(Which::Again { forced }, &selection, &store)?],
                extract: None,
            };
            let again;
            ((store, again), rules) = self.one(reads, rules, store, report).await?;
            if !matches!(again, Ok(Extracted::All(_))) {
                return Ok((store, again));
            }
        }
        let noted = blocking("state", move || {
            store.delivered_again()?;
            store.commit()?;
            Ok::<_, Stop>(store)
        });
        Ok((noted.await??, ended))
    }

    /// One reading; gives the rules back.
    async fn one(&self, reads: Reads, rules: Rules, store: Store, report: &mut Report) -> Result<(Ended, Rules), Stop> {
        let rules = Arc::new(rules);
        let (mut store, ended) = stages(reads, rules.clone(), store, self.publisher, self.shutdown, report).await?;
        // All stages have ended, and with them their shares.
        let rules = Arc::try_unwrap(rules).map_err(|_| Stop::defect("transform"))?;
        if rules.reading == Reading::Records {
            report.fill = self.fill(&rules);
        }
        if let Ok(Extracted::All(Whole { end: Some(end), .. })) = &ended {
            let (name, point) = (rules.reading.name(), end.clone());
            let noted = blocking("state", move || {
                store.resume_at(name, &point)?;
                store.commit()?;
                Ok::<_, Stop>(store)
            });
            store = noted.await??;
            self.source.remove(end).await;
        }
        Ok(((store, ended), rules))
    }

    /// Has a reading read a selection as well, from where a run before this one stopped.
    fn whole(&self, reads: Reads, selection: &Selection, store: &Store, rules: &Rules) -> Result<Reads, Stop> {
        let point = store.resume_point(rules.reading.name())?;
        // Records were judged by the keys' definitions: under others they are judged anew.
        let keys: Vec<&str> = self.tracked.iter().map(|key| key.definition.as_str()).collect();
        let extract = self.source.extract(selection.clone()).for_purpose(keys.join("\n"));
        Ok(Reads {
            extract: Some(extract.going_on_from(point).settling_until(rules.settled_as_of)),
            ..reads
        })
    }

    /// How full the fields are that were read.
    fn fill(&self, rules: &Rules) -> Option<FillRates> {
        let filled = rules.filled.get().filter(|filled| filled.records() > 0)?;
        Some(FillRates {
            mapping_version: self.spec.mapping.version.clone(),
            records: i64::try_from(filled.records()).unwrap_or(i64::MAX),
            time: Time(Timestamp::now()),
            per_mille: rules.plan.fill_rates(filled),
        })
    }

    fn by_ids(&self, which: Which, selection: &Selection, store: &Store) -> Result<ByIds, Stop> {
        Ok(ByIds {
            source: self.source.clone(),
            // Whose consent has ended is suppressed, whether the stream follows deletes or not.
            selection: Selection {
                deleted: selection.deleted || which == Which::Ended,
                ..selection.clone()
            },
            reader: store.reader()?,
            which,
            now: match which {
                Which::Replayed => self.begun,
                _ => Timestamp::now(),
            },
        })
    }

    /// The map knows all values of the tracked keys now, and whose verdict has changed because others have taken or left one.
    async fn settle(&self, mut store: Store) -> Result<Store, Stop> {
        let keys = self.tracked.to_vec();
        let settled = blocking("state", move || {
            store.tracked(keys.iter().map(|key| (&*key.kind, &*key.definition)))?;
            store.settle(keys.iter().map(|key| (&*key.kind, key.shared_by)))?;
            store.commit()?;
            Ok::<_, Stop>(store)
        });
        settled.await?
    }

    fn rules(&self, plan: Plan) -> Rules {
        let spec = self.spec;
        Rules {
            pipeline: format!("{}/{}", spec.namespace, spec.pipeline),
            stream: spec.stream.name.clone(),
            run: spec.run.clone(),
            epoch: spec.epoch,
            mapping: spec.mapping.mapping.clone(),
            mapping_version: spec.mapping.version.clone(),
            object: spec.stream.object.clone(),
            plan,
            gate: Gate::new(&spec.sink),
            sink: self.sink.clone(),
            empty: self.empty,
            in_doubt: self.in_doubt,
            erases: spec.stream.deletes == Deletes::Erase,
            reading: Reading::Records,
            settled_as_of: None,
            secret: self.secret.clone(),
            filled: OnceLock::new(),
        }
    }
}
