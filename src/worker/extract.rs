//! The first stage: pages, as fast as the next stage takes them.

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::by_id::{self, ByIds};
use super::stop::Stop;
use crate::source::{Extract, Page, ResumePoint};

/// A page, and when it came.
pub(super) struct Arrival {
    pub(super) page: Page,
    /// When it was read.
    pub(super) extracted_at: Timestamp,
    /// Up to which instant of the CRM's clock the pages are complete.
    pub(super) complete_as_of: Option<Timestamp>,
    /// The instant of the CRM's clock that no watermark may pass; `None` where the page tells nothing of the records before its
    /// own, as where they were read by their ids.
    pub(super) settled_until: Option<Timestamp>,
}

/// How the extraction ended, where nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Extracted {
    /// Everything was read.
    All(Whole),
    /// It was told to stop, or the next stage has ended.
    Cut,
}

/// What a reading that came to its end tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whole {
    /// It is complete up to this instant.
    pub(super) complete_as_of: Option<Timestamp>,
    /// Its end, where the records came in no order.
    pub(super) end: Option<ResumePoint>,
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
        return Ok(Extracted::All(Whole::default()));
    };
    loop {
        let Some(page) = stop.run_until_cancelled(extract.next_page()).await else {
            break;
        };
        let Some(page) = page? else {
            return Ok(Extracted::All(Whole {
                complete_as_of: extract.complete_as_of(),
                end: extract.resume_point().cloned(),
            }));
        };
        let arrival = Arrival {
            settled_until: extract.settled_until().filter(|_| page.resume_point().is_none()),
            page,
            extracted_at: Timestamp::now(),
            complete_as_of: extract.complete_as_of(),
        };
        match stop.run_until_cancelled(pages.send(arrival)).await {
            Some(Ok(())) => {}
            Some(Err(_)) | None => break,
        }
    }
    extract.close().await;
    Ok(Extracted::Cut)
}
