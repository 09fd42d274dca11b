//! Records whose consent has ended since they were delivered. The CRM changed nothing at that instant, so that they are read
//! by their ids, and before all else: the gate suppresses them.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::extract::Arrival;
use super::stop::Stop;
use crate::source::{Selection, Source};
use crate::state::{Ended, Reader};

/// How many records are asked for at once.
const RECORDS: usize = 200;

/// Where the records are looked for, and read from.
pub(super) struct Expired {
    pub(super) source: Source,
    pub(super) selection: Selection,
    pub(super) reader: Reader,
    /// Whose consent has ended by this instant is read.
    pub(super) by: Timestamp,
}

/// Hands the records on; returns how many there are, or none where it was told to stop or the next stage has ended.
pub(super) async fn run(
    expired: Expired,
    pages: &mpsc::Sender<Arrival>,
    stop: &CancellationToken,
) -> Result<Option<usize>, Stop> {
    let Expired {
        source,
        selection,
        mut reader,
        by,
    } = expired;
    let (mut after, mut count): (Option<Ended>, usize) = (None, 0);
    loop {
        let look_up = spawn_blocking(move || {
            let ended = reader.ended(by, after.as_ref(), RECORDS);
            (reader, ended)
        });
        let (back, ended) = look_up.await.map_err(|_| Stop::defect("extract"))?;
        reader = back;
        let ended = ended?;
        let ids: Vec<_> = ended.iter().map(|ended| (ended.record_id.as_str(), ended.at)).collect();
        if ids.is_empty() {
            return Ok(Some(count));
        }
        count += ids.len();
        let Some(read) = stop.run_until_cancelled(source.read(&selection, &ids)).await else {
            return Ok(None);
        };
        for page in read? {
            let arrival = Arrival {
                page,
                extracted_at: Timestamp::now(),
                complete_as_of: None,
                by_id: true,
            };
            match stop.run_until_cancelled(pages.send(arrival)).await {
                Some(Ok(())) => {}
                Some(Err(_)) | None => return Ok(None),
            }
        }
        after = ended.into_iter().next_back();
    }
}
