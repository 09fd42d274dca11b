//! Records that are read by their ids, since no stamp of the CRM tells that something became of them.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::extract::Arrival;
use super::stop::Stop;
use crate::source::{Recalled, Selection, Source};
use crate::state::{Reader, StateError};

/// How many records are asked for at once.
const RECORDS: usize = 200;

/// Where the records are looked for, and read from.
pub(super) struct ByIds {
    pub(super) source: Source,
    pub(super) selection: Selection,
    pub(super) reader: Reader,
    pub(super) which: Which,
    /// When they were asked for.
    pub(super) now: Timestamp,
}

/// Which records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those whose consent has ended since they were delivered: the gate suppresses them.
    Ended,
    /// Those that returned while the CDP was erasing them: what was delivered of them since may have been erased as well.
    Returned,
    /// Those that a person asked for: dead letters, mostly.
    Replayed,
    /// Those of which others' records have changed what the CDP is to hear; `forced` ones, where nothing of them has changed.
    Again { forced: bool },
}

impl ByIds {
    fn next(&self, after: Option<&Recalled>) -> Result<Vec<Recalled>, StateError> {
        match self.which {
            Which::Ended => self.reader.ended(self.now, after, RECORDS),
            Which::Returned => self.reader.returned(self.now, after, RECORDS),
            Which::Replayed => self.reader.replayed(self.now, after, RECORDS),
            Which::Again { forced } => self.reader.again(forced, self.now, after, RECORDS),
        }
    }
}

/// Hands the records on; tells whether it came to their end, and was neither told to stop nor left by the next stage.
pub(super) async fn run(
    mut by_ids: ByIds,
    pages: &mpsc::Sender<Arrival>,
    stop: &CancellationToken,
) -> Result<bool, Stop> {
    let (mut after, mut count): (Option<Recalled>, usize) = (None, 0);
    loop {
        let look_up = spawn_blocking(move || {
            let recalled = by_ids.next(after.as_ref());
            (by_ids, recalled)
        });
        let (back, recalled) = look_up.await.map_err(|_| Stop::defect("extract"))?;
        by_ids = back;
        let recalled = recalled?;
        if recalled.is_empty() {
            if count > 0 {
                tracing::info!(records = count, which = ?by_ids.which, "records were read by their ids");
            }
            return Ok(true);
        }
        count += recalled.len();
        let read = by_ids.source.read(&by_ids.selection, &recalled);
        let Some(read) = stop.run_until_cancelled(read).await else {
            return Ok(false);
        };
        for page in read? {
            let arrival = Arrival {
                page,
                extracted_at: Timestamp::now(),
                complete_as_of: None,
                settled_until: None,
            };
            match stop.run_until_cancelled(pages.send(arrival)).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return Ok(false),
            }
        }
        after = recalled.into_iter().next_back();
    }
}
