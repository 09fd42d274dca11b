//! Calls gathered up to the limits of one request.

use std::ops::Range;

use bytes::Bytes;
use jiff::Timestamp;

use super::json;

/// A request may have 500 KB and 2,500 calls. With too many, the API answers 200 and drops the rest:
/// <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#errors>. Whether a KB is 1,000 or 1,024 bytes
/// is not said; the smaller holds for both.
const MOST_BYTES: usize = 500_000;
const MOST_CALLS: u32 = 2_500;
/// `{"sentAt":"2026-05-04T08:41:07.000Z","batch":[` and `]}`
const WRAPPER: usize = 48;

/// Items of one request: the calls of one record are one item. Buffers are kept when it is cleared.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The calls, each followed by a comma.
    calls: Vec<u8>,
    /// Where each item ends in `calls`.
    ends: Vec<usize>,
    count: u32,
}

impl Batch {
    /// Adds one item: `calls` JSON objects with commas between them. An item without a call takes its position and no space.
    /// Returns false, and adds nothing, where the batch must be delivered first. An empty batch takes any item.
    pub fn push(&mut self, item: &[u8], calls: u32) -> bool {
        let full = self.calls.len() + item.len() + WRAPPER > MOST_BYTES || self.count + calls > MOST_CALLS;
        if full && self.count > 0 {
            return false;
        }
        if !item.is_empty() {
            self.calls.extend_from_slice(item);
            self.calls.push(b',');
        }
        self.ends.push(self.calls.len());
        self.count += calls;
        true
    }

    /// Whether no item was added.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many items were added.
    pub fn items(&self) -> usize {
        self.ends.len()
    }

    /// How many calls the items hold.
    pub fn calls(&self) -> u32 {
        self.count
    }

    /// Removes all items.
    pub fn clear(&mut self) {
        self.calls.clear();
        self.ends.clear();
        self.count = 0;
    }

    /// Whether some of the items hold a call.
    pub(super) fn has_calls(&self, items: &Range<usize>) -> bool {
        !self.bytes(items).is_empty()
    }

    /// The request's body for some of the items, sent now.
    pub(super) fn body(&self, items: &Range<usize>, sent_at: Timestamp) -> Bytes {
        let calls = self.bytes(items);
        body(calls.strip_suffix(b",").unwrap_or(calls), sent_at)
    }

    fn bytes(&self, items: &Range<usize>) -> &[u8] {
        let end = |items: usize| items.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.calls[end(items.start)..end(items.end)]
    }
}

/// `sentAt` must be true: the API corrects each `timestamp` by what `sentAt` differs from its own clock.
/// <https://segment.com/docs/connections/spec/common/#timestamp-overview>
pub(super) fn body(calls: &[u8], sent_at: Timestamp) -> Bytes {
    let mut body = Vec::with_capacity(calls.len() + WRAPPER);
    body.extend_from_slice(b"{\"sentAt\":");
    json::timestamp(&mut body, sent_at);
    body.extend_from_slice(b",\"batch\":[");
    body.extend_from_slice(calls);
    body.extend_from_slice(b"]}");
    Bytes::from(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_full_at_the_limits_of_bytes_and_of_calls() {
        let (mut by_calls, mut by_bytes) = (Batch::default(), Batch::default());
        let calls = (0..).take_while(|_| by_calls.push(b"{},{}", 2)).count();
        let item = vec![b' '; 31_000];
        let bytes = (0..).take_while(|_| by_bytes.push(&item, 1)).count();
        let now: Timestamp = "2026-05-04T08:41:07Z".parse().unwrap();
        let body = by_bytes.body(&(0..by_bytes.items()), now);
        assert_eq!(
            (calls, by_calls.calls(), bytes, body.len() <= MOST_BYTES),
            (1_250, 2_500, 16, true)
        );
    }

    #[test]
    fn a_body_holds_the_items_of_a_range_and_an_item_without_a_call_takes_no_space() {
        let mut batch = Batch::default();
        for (item, calls) in [("1", 1), ("", 0), ("2,3", 2), ("4", 1)] {
            assert!(batch.push(item.as_bytes(), calls));
        }
        let now: Timestamp = "2026-05-04T08:41:07.5Z".parse().unwrap();
        let bodies = [0..4, 0..1, 1..3, 2..4].map(|items| String::from_utf8(batch.body(&items, now).to_vec()).unwrap());
        let expected = ["1,2,3,4", "1", "2,3", "2,3,4"]
            .map(|calls| format!("{{\"sentAt\":\"2026-05-04T08:41:07.500Z\",\"batch\":[{calls}]}}"));
        assert_eq!(
            (bodies, batch.has_calls(&(0..2)), batch.has_calls(&(1..2))),
            (expected, true, false)
        );
        batch.clear();
        assert_eq!((batch.is_empty(), batch.items(), batch.calls()), (true, 0, 0));
    }
}
