//! Sending a batch, and finding what is wrong with one that the API refuses.

use std::collections::VecDeque;

use super::api::refused;
use super::batch::{self, Batch};
use super::client::{Client, Verdict};
use crate::sink::{Delivered, Refused, SinkError};

/// So many items refused one by one, and none taken, say that it is not the items: the API refuses everything.
const FUTILE: usize = 8;

/// Sends a batch of no call. Some compatible APIs refuse it as empty, which tells as much.
pub(super) async fn probe(client: &Client) -> Result<(), SinkError> {
    client.post(|now| Some(batch::body(&[], now))).await.map(|_| ())
}

/// Sends a batch. One that is refused for its content is halved until the culprits stand alone. What must not be sent any more
/// when its turn comes, or comes again, is withheld.
pub(super) async fn deliver(client: &Client, batch: &Batch) -> Result<Delivered, SinkError> {
    let (mut refusals, mut withheld, mut taken) = (Vec::new(), Vec::new(), false);
    // Wide ranges first, so that what is good is taken before anything is refused one by one.
    let mut ranges = VecDeque::new();
    ranges.push_back(0..batch.items());
    while let Some(items) = ranges.pop_front() {
        if !batch.has_calls(&items) {
            continue;
        }
        let (verdict, at) = client.post(|now| batch.body(&items, now)).await?;
        match verdict {
            Verdict::Taken => {
                taken = true;
                withheld.extend(batch.withheld(&items, at));
            }
            Verdict::Withheld => withheld.extend(batch.withheld(&items, at)),
            Verdict::Refused(reason) if items.len() == 1 => {
                refusals.push(Refused {
                    item: items.start,
                    reason,
                });
                if !taken && refusals.len() >= FUTILE {
                    return Err(refused(format!(
                        "{} refuses every call, the first {FUTILE} one by one; check that endpoint speaks the Segment protocol",
                        client.shown()
                    )));
                }
            }
            Verdict::Refused(_) => {
                let middle = items.start + items.len() / 2;
                ranges.push_back(items.start..middle);
                ranges.push_back(middle..items.end);
            }
        }
    }
    refusals.sort_unstable_by_key(|refused| refused.item);
    withheld.sort_unstable();
    Ok(Delivered {
        refused: refusals,
        withheld,
    })
}
