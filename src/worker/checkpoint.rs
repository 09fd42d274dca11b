//! The last stage: what was acknowledged is written, with the watermark that rests on it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Progress;
use super::deliver::Acknowledged;
use crate::state::{Checkpoint, Entries, StateError, Store};

/// A transaction is committed when it holds so many records…
const RECORDS: usize = 10_000;
/// … or has been open for so long. A worker that is killed repeats no more than that.
const OPEN: Duration = Duration::from_millis(200);

/// Where a store's thread tells how far it has come.
pub(super) struct Told {
    /// The last parcel that is committed.
    pub(super) committed: watch::Sender<u64>,
    /// What is committed.
    pub(super) progress: watch::Sender<Progress>,
}

/// Writes until nothing more is acknowledged. Runs on a thread of its own.
pub(super) fn run(
    store: &mut Store,
    mut acknowledged: mpsc::Receiver<Acknowledged>,
    spare: &mpsc::UnboundedSender<Entries>,
    told: &Told,
    runtime: &Handle,
) -> Result<(), StateError> {
    let mut pending: Option<Pending> = None;
    loop {
        let next = match &pending {
            None => Ok(runtime.block_on(acknowledged.recv())),
            Some(pending) => {
                runtime.block_on(async { tokio::time::timeout_at(pending.until, acknowledged.recv()).await })
            }
        };
        let ended = matches!(next, Ok(None));
        if let Ok(Some(Acknowledged { number, mut entries })) = next {
            store.apply(&entries, Timestamp::now())?;
            let pending = pending.get_or_insert_with(|| Pending {
                until: Instant::now() + OPEN,
                records: 0,
                parcel: 0,
            });
            pending.records += entries.len();
            pending.parcel = number;
            entries.clear();
            let _ = spare.send(entries);
        }
        let due = |pending: &mut Pending| ended || pending.records >= RECORDS || Instant::now() >= pending.until;
        if let Some(Pending { parcel, records, .. }) = pending.take_if(due) {
            store.commit()?;
            told.progress.send_replace(progress(store.checkpoint()));
            told.committed.send_replace(parcel);
            tracing::debug!(records, "checkpoint");
        }
        if ended {
            return Ok(());
        }
    }
}

/// What a checkpoint says to whoever reads the status.
pub(super) fn progress(checkpoint: &Checkpoint) -> Progress {
    Progress {
        watermark: checkpoint.watermark.clone(),
        counts: checkpoint.counts,
        dead_letters: checkpoint.dead_letters,
        complete_as_of: checkpoint.complete_as_of,
        erasures: None,
        reconciliation: None,
    }
}

/// An open transaction.
struct Pending {
    until: Instant,
    records: usize,
    parcel: u64,
}
