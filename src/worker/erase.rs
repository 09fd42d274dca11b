//! Erasing at the CDP whom the CRM has deleted: the end of a run that has read everything.
//!
//! 1. Requests of earlier runs whose answer was lost are looked for at the CDP.
//! 2. What is due in the outbox is read from the CRM once more, by its ids: only who is deleted at this moment, and goes on as
//!    nobody else, is asked for. The receipt goes into the audit trail.
//! 3. The CDP is asked how the requests stand that it has taken on before.
//! 4. Where the sink can be read back, the profiles of whom it says to have erased are looked for.
//!
//! A request is noted before it is sent, and its receipt after. A run that is cut off in between leaves what 1 finds.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::stop::Stop;
use super::sync::{Report, blocking, interrupted};
use super::{RunSpec, checkpoint, prepare};
use crate::api::common::Outcome;
use crate::api::sync_pipeline::Deletes;
use crate::sink::{Asked, Sink, Standing};
use crate::source::{Recalled, Selection, Source};
use crate::state::{Look, Running, StateError, Store};

/// Records that are read at once, before their erasure is asked for.
const READ: usize = 200;

/// So many requests refused one by one, and none taken, say that it is not the people: the API refuses everything.
const FUTILE: usize = 8;

/// When an erasure that was refused is asked for again.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How long a request is left alone before the CDP is asked how it stands: it may take 30 days.
const ASK_EVERY: SignedDuration = SignedDuration::from_hours(1);

/// How many requests the CDP is asked about in one run.
const ASKED: usize = 50;

/// How long after the CDP has said that somebody is erased the profile is first looked for; how long until it is again, where
/// it is still there; and how long after which it should not be there any more. A run looks for so many.
const LOOK_AFTER: SignedDuration = SignedDuration::from_hours(1);
const LOOK_EVERY: SignedDuration = SignedDuration::from_hours(24);
const LOOK_UNTIL: SignedDuration = SignedDuration::from_hours(7 * 24);
const LOOKS: usize = 100;

/// What a run's erasing goes by.
pub(super) struct Erasing<'a> {
    pub(super) spec: &'a RunSpec,
    pub(super) source: &'a Source,
    pub(super) sink: &'a Sink,
    pub(super) shutdown: &'a CancellationToken,
}

/// Does it, and tells how many erasures are left.
pub(super) async fn run(erasing: &Erasing<'_>, store: Store, report: &mut Report) -> Result<(), Stop> {
    let mut outbox = Outbox(Some(store));
    let ended = erasing.all(&mut outbox, report).await;
    // A store that is gone went with a defect, which says why.
    let Some(store) = outbox.0 else { return ended };
    let reconciliation = report.progress.reconciliation.take();
    report.progress = checkpoint::progress(store.checkpoint());
    report.progress.reconciliation = reconciliation;
    report.progress.erasures = store.erasures()?;
    ended
}

/// The store, which each step hands to a thread that may wait for the disk.
struct Outbox(Option<Store>);

impl Outbox {
    async fn with<T: Send + 'static>(
        &mut self,
        step: impl FnOnce(&mut Store) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, Stop> {
        let mut store = self.0.take().ok_or_else(|| Stop::defect("erase"))?;
        let (store, done) = blocking("erase", move || {
            let done = step(&mut store);
            (store, done)
        })
        .await?;
        self.0 = Some(store);
        Ok(done?)
    }
}

impl Erasing<'_> {
    async fn all(&self, outbox: &mut Outbox, report: &mut Report) -> Result<(), Stop> {
        if self.spec.stream.deletes != Deletes::Erase {
            return Ok(());
        }
        // A stream that erases was refused without it.
        let (kind, most) = self.sink.erasure().ok_or_else(|| Stop::defect("erase"))?;
        self.settle(outbox).await?;
        let postponed = outbox.with(|store| store.erasures_postponed()).await?;
        match postponed.filter(|until| *until > Timestamp::now()) {
            Some(until) => report.note(format!(
                "deleted records wait to be erased: the CDP's quota is used up until {until}"
            )),
            None => self.ask(outbox, kind, most).await?,
        }
        self.follow(outbox, report).await?;
        self.look(outbox, report).await
    }

    /// Finds out what became of requests whose answer was lost.
    async fn settle(&self, outbox: &mut Outbox) -> Result<(), Stop> {
        for (number, sought) in outbox.with(|store| store.doubtful_erasures()).await? {
            match self.unless_stopped(self.sink.find_erasure(&sought)).await?? {
                Some(regulation) => self.taken(outbox, number, regulation).await?,
                None => outbox.with(move |store| store.undo_erasure(number)).await?,
            }
        }
        Ok(())
    }

    /// Asks for what is due.
    async fn ask(&self, outbox: &mut Outbox, kind: &'static str, most: usize) -> Result<(), Stop> {
        let (begun, mut after, mut count) = (Timestamp::now(), String::new(), 0);
        loop {
            let last = after.clone();
            let due = outbox.with(move |store| store.due_erasures(begun, &last, most)).await?;
            let Some(last) = due.last() else { break };
            after.clone_from(last);
            let void = self.living(&due).await?;
            let due: Vec<String> = due.into_iter().filter(|id| !void.contains(id)).collect();
            if !void.is_empty() {
                outbox.with(move |store| store.void_erasures(&void)).await?;
            }
            count += self.request(outbox, kind, due).await?;
        }
        if count > 0 {
            tracing::info!(records = count, "the erasure of deleted records is asked for");
        }
        Ok(())
    }

    /// Which of the records the CRM shows, or shows to go on as others.
    async fn living(&self, ids: &[String]) -> Result<Vec<String>, Stop> {
        let keys = prepare::compile_identities(self.spec)?;
        let selection = Selection {
            deleted: true,
            ..prepare::selection(self.spec, &keys, None)
        };
        let (now, mut living) = (Timestamp::now(), Vec::new());
        for ids in ids.chunks(READ) {
            let recalled = |id: &String| Recalled {
                record_id: id.clone(),
                at: now,
            };
            let ids: Vec<_> = ids.iter().map(recalled).collect();
            for page in self.unless_stopped(self.source.read(&selection, &ids)).await?? {
                page.decode(|record| {
                    if !record.deleted || keys.successor(record).is_some() {
                        living.push(record.id.clone().into_owned());
                    }
                })?;
            }
        }
        Ok(living)
    }

    /// Asks for the erasure of these records. A request that is refused for its content is halved until the culprits stand
    /// alone.
    async fn request(&self, outbox: &mut Outbox, kind: &'static str, records: Vec<String>) -> Result<usize, Stop> {
        let (mut refused, mut count) = (Vec::new(), 0);
        let mut requests = VecDeque::from([records]);
        while let Some(records) = requests.pop_front() {
            if records.is_empty() {
                continue;
            }
            let now = Timestamp::now();
            let (records, number, known) = outbox
                .with(move |store| {
                    let known = store.regulations_around(now)?;
                    let number = store.begin_erasure(&records, kind, now)?;
                    Ok((records, number, known))
                })
                .await?;
            match self.unless_stopped(self.sink.erase(&records, known)).await?? {
                Asked::Taken(regulation) => {
                    count += records.len();
                    self.taken(outbox, number, regulation).await?;
                }
                Asked::Later(until) => {
                    outbox
                        .with(move |store| {
                            store.undo_erasure(number)?;
                            store.postpone_erasures(until)
                        })
                        .await?;
                    return Err(Stop::new(
                        Outcome::SinkUnavailable,
                        format!(
                            "deleted records wait to be erased: the CDP's quota is used up until {until}, and they are not asked \
                             for before"
                        ),
                    ));
                }
                Asked::Refused(reason) => {
                    outbox.with(move |store| store.undo_erasure(number)).await?;
                    if records.len() == 1 {
                        refused.extend(records.into_iter().map(|record| (record, reason.clone())));
                        if count == 0 && refused.len() >= FUTILE {
                            return Err(Stop::new(
                                Outcome::SinkRefused,
                                format!("no erasure is taken, the first {FUTILE} asked for one by one; {reason}"),
                            ));
                        }
                    } else {
                        let mut first = records;
                        let second = first.split_off(first.len() / 2);
                        requests.extend([first, second]);
                    }
                }
            }
        }
        if !refused.is_empty() {
            tracing::warn!(
                refused = refused.len(),
                "the CDP refuses erasures; they are dead letters now"
            );
            outbox
                .with(move |store| {
                    let now = Timestamp::now();
                    let again = now.checked_add(REFUSED_FOR).unwrap_or(Timestamp::MAX);
                    refused
                        .iter()
                        .try_for_each(|(record, reason)| store.erasure_refused(record, reason, now, again))
                })
                .await?;
        }
        Ok(count)
    }

    async fn taken(&self, outbox: &mut Outbox, number: i64, regulation: String) -> Result<(), Stop> {
        outbox
            .with(move |store| store.erasure_requested(number, &regulation, Timestamp::now()))
            .await
    }

    /// Asks how the requests stand that the CDP has taken on. A run does not fail because that could not be learnt.
    async fn follow(&self, outbox: &mut Outbox, report: &mut Report) -> Result<(), Stop> {
        let since = before(ASK_EVERY);
        for running in outbox.with(move |store| store.running_erasures(since, ASKED)).await? {
            let standing = match self.unless_stopped(self.sink.standing(&running.regulation)).await? {
                Ok(standing) => standing,
                Err(error) => {
                    report.note(format!("how erasures stand could not be learnt: {error}"));
                    break;
                }
            };
            if let Standing::Failed { advice, .. } = &standing {
                report.note(advice.clone());
            }
            self.stands(outbox, running, standing).await?;
        }
        Ok(())
    }

    async fn stands(&self, outbox: &mut Outbox, running: Running, standing: Standing) -> Result<(), Stop> {
        outbox
            .with(move |store| {
                let now = Timestamp::now();
                let look = now.checked_add(LOOK_AFTER).unwrap_or(Timestamp::MAX);
                store.erasure_stands(&running, &standing, now, look)
            })
            .await
    }

    /// Looks for the profiles of those who are erased. A run does not fail because that could not be done.
    async fn look(&self, outbox: &mut Outbox, report: &mut Report) -> Result<(), Stop> {
        if !self.sink.reads_back() {
            return Ok(());
        }
        let looks = outbox.with(|store| store.looks(Timestamp::now(), LOOKS)).await?;
        for Look { record, ended } in looks {
            let there = match self.unless_stopped(self.sink.has_profile(&record)).await? {
                Ok(there) => there,
                Err(error) => {
                    report.note(format!("erased profiles could not be looked for: {error}"));
                    break;
                }
            };
            let late = ended <= before(LOOK_UNTIL);
            outbox
                .with(move |store| {
                    let now = Timestamp::now();
                    match there {
                        false => store.looked(&record, None, now),
                        true if late => store.looked(&record, Some(STILL_THERE), now),
                        true => {
                            let again = now.checked_add(LOOK_EVERY).unwrap_or(Timestamp::MAX);
                            store.look_again(&record, again)
                        }
                    }
                })
                .await?;
        }
        Ok(())
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        self.shutdown.run_until_cancelled(work).await.ok_or_else(interrupted)
    }
}

const STILL_THERE: &str = "the CDP says that the person is erased, and a week later still has a profile of the user id; look for \
                           who sends it data under this id, and ask for the erasure by hand";

fn before(span: SignedDuration) -> Timestamp {
    Timestamp::now().checked_sub(span).unwrap_or(Timestamp::MIN)
}
