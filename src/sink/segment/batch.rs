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
    /// From when on an item must not be sent any more, in the order of the items; of those that have such an instant.
    until: Vec<(usize, Timestamp)>,
    /// The first of these instants.
    first: Option<Timestamp>,
    count: u32,
}

impl Batch {
    /// Adds one item: `calls` JSON objects with commas between them. An item without a call takes its position and no space.
    /// From `until` on it must not be sent any more: the consent that it rests on ends then. Returns false, and adds nothing,
    /// where the batch must be delivered first. An empty batch takes any item.
    pub fn push(&mut self, item: &[u8], calls: u32, until: Option<Timestamp>) -> bool {
        let full = self.calls.len() + item.len() + WRAPPER > MOST_BYTES || self.count + calls > MOST_CALLS;
        if full && self.count > 0 {
            return false;
        }
        if !item.is_empty() {
            self.calls.extend_from_slice(item);
            self.calls.push(b',');
        }
        if let Some(until) = until {
            self.until.push((self.ends.len(), until));
            self.first = self.first.into_iter().chain([until]).min();
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
        self.until.clear();
        self.first = None;
        self.count = 0;
    }

    /// Whether some of the items hold a call.
    pub(super) fn has_calls(&self, items: &Range<usize>) -> bool {
        !self.bytes(items).is_empty()
    }

    /// The request's body for some of the items, sent now: without those that must not be sent any more. None where that
    /// leaves no call.
    pub(super) fn body(&self, items: &Range<usize>, sent_at: Timestamp) -> Option<Bytes> {
        if self.first.is_none_or(|first| sent_at < first) {
            return whole(self.bytes(items), sent_at);
        }
        let mut calls = Vec::with_capacity(self.bytes(items).len());
        let mut from = items.start;
        for item in self.withheld(items, sent_at) {
            calls.extend_from_slice(self.bytes(&(from..item)));
            from = item + 1;
        }
        calls.extend_from_slice(self.bytes(&(from..items.end)));
        whole(&calls, sent_at)
    }

    /// The items that must not be sent any more at this instant, in ascending order.
    pub(super) fn withheld(&self, items: &Range<usize>, sent_at: Timestamp) -> impl Iterator<Item = usize> {
        let due = self.until.iter().filter(move |(_, until)| *until <= sent_at);
        due.map(|(item, _)| *item).filter({
            let items = items.clone();
            move |item| items.contains(item)
        })
    }

    fn bytes(&self, items: &Range<usize>) -> &[u8] {
        let end = |items: usize| items.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.calls[end(items.start)..end(items.end)]
    }
}

fn whole(calls: &[u8], sent_at: Timestamp) -> Option<Bytes> {
    let calls = calls.strip_suffix(b",")?;
    Some(body(calls, sent_at))
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
        let calls = (0..).take_while(|_| by_calls.push(b"{},{}", 2, None)).count();
        let item = vec![b' '; 31_000];
        let bytes = (0..).take_while(|_| by_bytes.push(&item, 1, None)).count();
        let now: Timestamp = "2026-05-04T08:41:07Z".parse().unwrap();
        let body = by_bytes.body(&(0..by_bytes.items()), now).unwrap();
        assert_eq!(
            (calls, by_calls.calls(), bytes, body.len() <= MOST_BYTES),
            (1_250, 2_500, 16, true)
        );
    }

    #[test]
    fn a_body_holds_the_items_of_a_range_and_an_item_without_a_call_takes_no_space() {
        let mut batch = Batch::default();
        for (item, calls) in [("1", 1), ("", 0), ("2,3", 2), ("4", 1)] {
            assert!(batch.push(item.as_bytes(), calls, None));
        }
        let now: Timestamp = "2026-05-04T08:41:07.5Z".parse().unwrap();
        let bodies =
            [0..4, 0..1, 1..3, 2..4].map(|items| String::from_utf8(batch.body(&items, now).unwrap().to_vec()).unwrap());
        let expected = ["1,2,3,4", "1", "2,3", "2,3,4"]
            .map(|calls| format!("{{\"sentAt\":\"2026-05-04T08:41:07.500Z\",\"batch\":[{calls}]}}"));
        assert_eq!(
            (bodies, batch.has_calls(&(0..2)), batch.has_calls(&(1..2))),
            (expected, true, false)
        );
        batch.clear();
        assert_eq!((batch.is_empty(), batch.items(), batch.calls()), (true, 0, 0));
    }

    #[test]
    fn an_item_is_left_out_of_every_body_from_the_instant_on_at_which_its_consent_ends() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut batch = Batch::default();
        let untils = [Some(10), None, Some(30), Some(20), None, Some(10)];
        for (item, until) in untils.into_iter().enumerate() {
            assert!(batch.push(item.to_string().as_bytes(), 1, until.map(at)));
        }
        let calls = |items: Range<usize>, now| {
            let body = batch.body(&items, at(now))?;
            let body = String::from_utf8(body.to_vec()).unwrap();
            let (_, calls) = body.split_once('[').unwrap();
            Some(calls.trim_end_matches("]}").to_owned())
        };
        let cases = [
            (0..6, 9, Some("0,1,2,3,4,5")),
            (0..6, 10, Some("1,2,3,4")),
            (0..6, 20, Some("1,2,4")),
            (0..6, 40, Some("1,4")),
            (2..4, 20, Some("2")),
            (2..4, 30, None),
            (0..1, 10, None),
            (5..6, 9, Some("5")),
        ];
        for (items, now, expected) in cases {
            assert_eq!(calls(items.clone(), now).as_deref(), expected, "{items:?} at {now}");
        }
        assert_eq!(batch.withheld(&(1..6), at(20)).collect::<Vec<_>>(), [3, 5]);
    }
}
