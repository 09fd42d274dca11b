//! What became of some records, on its way to the store: buffers that are filled, written, cleared and filled again.

use std::ops::Range;

use jiff::Timestamp;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its calls were, or are to be, acknowledged by the CDP.
    Delivered,
    /// It was delivered as a suppression.
    Suppressed,
    /// Nothing was sent, because nothing that the CDP holds has changed.
    Unchanged,
    /// It is a dead letter.
    Rejected,
}

/// Where a record was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// By the mapping.
    Map,
    /// It does not fit into a call of the CDP's API.
    Encode,
    /// By the CDP.
    Deliver,
}

impl Stage {
    /// The stage's name in results and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Map => "Map",
            Stage::Encode => "Encode",
            Stage::Deliver => "Deliver",
        }
    }
}

/// Why a record was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it was rejected.
    pub stage: Stage,
    /// Where in the mapping, or in the API's answer.
    pub path: String,
    /// The rule that it broke, or the API's reason.
    pub rule: String,
}

/// One record and what became of it.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The CRM's id of the record.
    pub id: &'a str,
    /// Its modification stamp.
    pub stamp: Timestamp,
    /// Whether it was deleted in the CRM.
    pub deleted: bool,
    /// What became of it.
    pub fate: Fate,
    /// What the CDP was told of it. A dead letter has none, unless a suppression went out beside it.
    pub fingerprint: Option<[u8; 16]>,
    /// Per watched field of an event, 16 bytes: the event's key and the hash of the field's value.
    pub watched: &'a [u8],
    /// Whether the records before it, in keyset order, were all read before it. A record that is modified while a query is
    /// paged through keeps its place and shows its new stamp: a watermark at that stamp would pass over others.
    pub in_order: bool,
    /// Whether this run has counted it already: before its pod was replaced.
    pub counted: bool,
    /// Whether the store may hold a dead letter of it, which a success clears.
    pub had_letter: bool,
}

#[derive(Debug)]
pub(super) struct Row {
    id: Range<usize>,
    watched: Range<usize>,
    pub(super) stamp: Timestamp,
    pub(super) fingerprint: Option<[u8; 16]>,
    pub(super) fate: Fate,
    pub(super) deleted: bool,
    pub(super) in_order: bool,
    pub(super) counted: bool,
    pub(super) had_letter: bool,
    pub(super) letter: Option<Box<Letter>>,
    sent: bool,
}

impl Row {
    fn reject(&mut self, letter: Letter) {
        self.fate = Fate::Rejected;
        self.letter = Some(Box::new(letter));
    }
}

/// Records in the order in which they were read.
#[derive(Debug, Default)]
pub struct Entries {
    ids: String,
    watched: Vec<u8>,
    rows: Vec<Row>,
}

impl Entries {
    /// Adds a record; `sent` tells that the next item of the batch is its.
    pub fn push(&mut self, entry: &Entry<'_>, sent: bool) {
        let id = self.ids.len();
        self.ids.push_str(entry.id);
        let watched = self.watched.len();
        self.watched.extend_from_slice(entry.watched);
        self.rows.push(Row {
            id: id..self.ids.len(),
            watched: watched..self.watched.len(),
            stamp: entry.stamp,
            fingerprint: entry.fingerprint,
            fate: entry.fate,
            deleted: entry.deleted,
            in_order: entry.in_order,
            counted: entry.counted,
            had_letter: entry.had_letter,
            letter: None,
            sent,
        });
    }

    /// Adds a record that was rejected; `sent` tells that the next item of the batch is the suppression beside it.
    pub fn push_rejected(&mut self, entry: &Entry<'_>, letter: Letter, sent: bool) {
        self.push(entry, sent);
        if let Some(row) = self.rows.last_mut() {
            row.reject(letter);
        }
    }

    /// Makes dead letters of the batch's items that the CDP refused; `refused` are their positions, with the reasons.
    pub fn refuse(&mut self, refused: impl IntoIterator<Item = (usize, String)>) {
        let sent: Vec<usize> = (0..self.rows.len()).filter(|&row| self.rows[row].sent).collect();
        for (item, reason) in refused {
            let Some(row) = sent.get(item).and_then(|&row| self.rows.get_mut(row)) else {
                continue;
            };
            row.fingerprint = None;
            row.reject(Letter {
                stage: Stage::Deliver,
                path: "delivery".into(),
                rule: reason,
            });
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Forgets the records and keeps the buffers.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.watched.clear();
        self.rows.clear();
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &[u8], &Row)> {
        self.rows
            .iter()
            .map(|row| (&self.ids[row.id.clone()], &self.watched[row.watched.clone()], row))
    }
}
