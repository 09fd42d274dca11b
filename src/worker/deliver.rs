//! The third stage: parcels to the CDP, a few at once, acknowledged in the order in which they were read.

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;

use super::stop::Stop;
use crate::sink::{Batch, Delivered, Sink};
use crate::state::Entries;

/// How many batches may be under way at once: enough to hide the CDP's latency, few enough to keep memory small.
const WINDOW: usize = 4;

/// Records in the order in which they were read, and the calls that some of them became.
pub(super) struct Parcel {
    /// Counts up from 1.
    pub(super) number: u64,
    pub(super) entries: Entries,
    pub(super) batch: Batch,
}

/// Records that are dealt with, and may be checkpointed.
pub(super) struct Acknowledged {
    pub(super) number: u64,
    pub(super) entries: Entries,
}

/// Delivers until there are no more parcels. Ends early, and without an error of its own, when the next stage has ended.
pub(super) async fn run(
    sink: &Sink,
    mut parcels: mpsc::Receiver<Parcel>,
    acknowledged: mpsc::Sender<Acknowledged>,
    spare: mpsc::UnboundedSender<Batch>,
) -> Result<(), Stop> {
    let mut window = FuturesOrdered::new();
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            Some(parcel) = window.next(), if !window.is_empty() => {
                let Parcel { number, entries, mut batch } = parcel?;
                batch.clear();
                // Where the transforming stage has ended, nobody needs the buffer.
                let _ = spare.send(batch);
                if acknowledged.send(Acknowledged { number, entries }).await.is_err() {
                    return Ok(());
                }
            }
            parcel = parcels.recv(), if open && window.len() < WINDOW => match parcel {
                Some(parcel) => window.push_back(deliver(sink, parcel)),
                None => open = false,
            },
            else => return Ok(()),
        }
    }
}

async fn deliver(sink: &Sink, mut parcel: Parcel) -> Result<Parcel, Stop> {
    if !parcel.batch.is_empty() {
        let Delivered { refused, withheld } = sink.deliver(&parcel.batch).await?;
        if !withheld.is_empty() {
            tracing::warn!(
                withheld = withheld.len(),
                "the consent of records ended while they waited to be sent; the next run suppresses them"
            );
            parcel.entries.withhold(withheld);
        }
        if !refused.is_empty() {
            tracing::warn!(
                refused = refused.len(),
                "the CDP refused records; they are dead letters now"
            );
            parcel
                .entries
                .refuse(refused.into_iter().map(|refused| (refused.item, refused.reason)));
        }
    }
    Ok(parcel)
}
