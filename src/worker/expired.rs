//! Records whose consent has ended since they were delivered. The CRM changed nothing at that instant, so that they are read
//! by their ids, and before all else: the gate suppresses them. And records that returned while the CDP was erasing them: what was
//! delivered of them since may have been erased as well, and they are delivered once more.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::extract::Arrival;
use super::stop::Stop;
use crate::source::{Selection, Source};
use crate::state::{Ended, Reader, StateError};

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

/// Hands the records on; returns how many there are whose consent has ended, or none where it was told to stop or the next
/// stage has ended.
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
        let ended;
        (reader, ended) = look_up(reader, move |reader| {
            let ended = reader.ended(by, after.as_ref(), RECORDS)?;
            Ok(ended)
        })
        .await?;
        let ids: Vec<_> = ended.iter().map(|ended| (ended.record_id.as_str(), ended.at)).collect();
        if ids.is_empty() {
            break;
        }
        count += ids.len();
        if !hand_on(&source, &selection, &ids, pages, stop).await? {
            return Ok(None);
        }
        after = ended.into_iter().next_back();
    }
    let mut after = String::new();
    loop {
        let returned;
        (reader, returned) = look_up(reader, move |reader| reader.returned(&after, RECORDS)).await?;
        let ids: Vec<_> = returned.iter().map(|id| (id.as_str(), by)).collect();
        if ids.is_empty() {
            return Ok(Some(count));
        }
        if !hand_on(&source, &selection, &ids, pages, stop).await? {
            return Ok(None);
        }
        after = returned.into_iter().next_back().unwrap_or_default();
    }
}

async fn look_up<T: Send + 'static>(
    reader: Reader,
    query: impl FnOnce(&Reader) -> Result<T, StateError> + Send + 'static,
) -> Result<(Reader, T), Stop> {
    let looked = spawn_blocking(move || {
        let found = query(&reader);
        (reader, found)
    });
    let (reader, found) = looked.await.map_err(|_| Stop::defect("extract"))?;
    Ok((reader, found?))
}

/// Reads the records and hands them on; false where it was told to stop or the next stage has ended.
async fn hand_on(
    source: &Source,
    selection: &Selection,
    ids: &[(&str, Timestamp)],
    pages: &mpsc::Sender<Arrival>,
    stop: &CancellationToken,
) -> Result<bool, Stop> {
    let Some(read) = stop.run_until_cancelled(source.read(selection, ids)).await else {
        return Ok(false);
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
            Some(Err(_)) | None => return Ok(false),
        }
    }
    Ok(true)
}
