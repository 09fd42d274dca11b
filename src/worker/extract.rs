//! The first stage: pages, as fast as the next stage takes them.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::by_id::{self, ByIds};
use super::stop::Stop;
use crate::source::{Extract, Page};

/// A page, and when it came.
pub(super) struct Arrival {
    pub(super) page: Page,
    /// When it was read.
    pub(super) extracted_at: Timestamp,
    /// Up to which instant of the CRM's clock the pages are complete.
    pub(super) complete_as_of: Option<Timestamp>,
    /// Whether its records were read by their ids, and so tell nothing of those before them.
    pub(super) by_id: bool,
}

/// How the extraction ended, where nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extracted {
    /// Everything was read, complete up to this instant.
    All(Option<Timestamp>),
    /// It was told to stop, or the next stage has ended.
    Cut,
}

/// What a reading reads, in this order.
pub(super) struct Reads {
    /// Records by their ids.
    pub(super) by_ids: Vec<ByIds>,
    /// What a selection has, in its order.
    pub(super) extract: Option<Extract>,
}

/// Hands pages on until the end, or until `stop`.
pub(super) async fn run(
    reads: Reads,
    pages: mpsc::Sender<Arrival>,
    stop: CancellationToken,
) -> Result<Extracted, Stop> {
    for by_ids in reads.by_ids {
        if !by_id::run(by_ids, &pages, &stop).await? {
            return Ok(Extracted::Cut);
        }
    }
    let Some(mut extract) = reads.extract else {
        return Ok(Extracted::All(None));
    };
    loop {
        let Some(page) = stop.run_until_cancelled(extract.next_page()).await else {
            return Ok(Extracted::Cut);
        };
        let Some(page) = page? else {
            return Ok(Extracted::All(extract.complete_as_of()));
        };
        let arrival = Arrival {
            page,
            extracted_at: Timestamp::now(),
            complete_as_of: extract.complete_as_of(),
            by_id: false,
        };
        match stop.run_until_cancelled(pages.send(arrival)).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => return Ok(Extracted::Cut),
        }
    }
}
