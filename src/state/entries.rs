//! What became of some records, on its way to the store: buffers that are filled, written, cleared and filled again.

use std::ops::Range;

use jiff::Timestamp;

use super::{ConsentEnd, ErasureNote};
use crate::identity::{KeyHash, Relation, Successor};
use crate::source::ResumePoint;

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
    /// It was not sent, because its consent ended while it waited. A run after that instant suppresses it.
    Withheld,
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
    /// By the CDP, as a request of erasure.
    Erase,
}

impl Stage {
    /// The stage's name in results and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Map => "Map",
            Stage::Encode => "Encode",
            Stage::Deliver => "Deliver",
            Stage::Erase => "Erase",
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
    /// The verdicts on its identity keys, in the form of [`crate::identity::remember`]. None where they weren't judged: the store
    /// keeps those that it has.
    pub identity: &'a [u8],
    /// Whether the records before it, in keyset order, were all read before it. A record that is modified while a query is
    /// paged through keeps its place and shows its new stamp: a watermark at that stamp would pass over others.
    pub in_order: bool,
    /// Whether this run has counted it already: before its pod was replaced.
    pub counted: bool,
    /// Whether the store may hold a dead letter of it, which a success clears.
    pub had_letter: bool,
    /// When the consent ends that what the CDP holds of it rests on.
    pub consent_end: ConsentEnd,
    /// What the reading of it says of its erasure.
    pub erasure: ErasureNote,
    /// What the audit trail keeps of its consent, by [`write_grounds`](super::write_grounds); none, where it is of no person.
    pub grounds: Option<&'a [u8]>,
}

#[derive(Debug)]
pub(super) struct Row {
    id: Range<usize>,
    watched: Range<usize>,
    identity: Range<usize>,
    pub(super) stamp: Timestamp,
    pub(super) fingerprint: Option<[u8; 16]>,
    pub(super) fate: Fate,
    pub(super) deleted: bool,
    pub(super) in_order: bool,
    pub(super) counted: bool,
    pub(super) had_letter: bool,
    pub(super) letter: Option<Box<Letter>>,
    pub(super) consent_end: ConsentEnd,
    pub(super) erasure: ErasureNote,
    grounds: Option<Range<usize>>,
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
    identities: Vec<u8>,
    grounds: Vec<u8>,
    rows: Vec<Row>,
    held: Vec<Held>,
    successions: Vec<Succession>,
    resume_point: Option<(&'static str, ResumePoint)>,
}

/// The value of a tracked key that a record was seen with.
#[derive(Debug)]
struct Held {
    record: Range<usize>,
    kind: Range<usize>,
    hash: Option<KeyHash>,
}

/// A record that goes on as another one.
#[derive(Debug)]
struct Succession {
    record: Range<usize>,
    relation: Relation,
    successor: Range<usize>,
}

impl Entries {
    /// Adds a record; `sent` tells that the next item of the batch is its.
    pub fn push(&mut self, entry: &Entry<'_>, sent: bool) {
        let id = self.ids.len();
        self.ids.push_str(entry.id);
        let watched = self.watched.len();
        self.watched.extend_from_slice(entry.watched);
        let identity = self.identities.len();
        self.identities.extend_from_slice(entry.identity);
        let grounds = entry.grounds.filter(|_| sent).map(|grounds| {
            let from = self.grounds.len();
            self.grounds.extend_from_slice(grounds);
            from..self.grounds.len()
        });
        self.rows.push(Row {
            id: id..self.ids.len(),
            watched: watched..self.watched.len(),
            identity: identity..self.identities.len(),
            stamp: entry.stamp,
            fingerprint: entry.fingerprint,
            fate: entry.fate,
            deleted: entry.deleted,
            in_order: entry.in_order,
            counted: entry.counted,
            had_letter: entry.had_letter,
            letter: None,
            consent_end: entry.consent_end,
            erasure: entry.erasure,
            grounds,
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
        self.change_sent(refused, |row, reason| {
            row.fingerprint = None;
            // A suppression that the CDP refused leaves there what it had.
            if row.consent_end == ConsentEnd::Never {
                row.consent_end = ConsentEnd::Kept;
            }
            row.reject(Letter {
                stage: Stage::Deliver,
                path: "delivery".into(),
                rule: reason,
            });
        });
    }

    /// Notes which of the batch's items were not sent, because their consent ended meanwhile; `withheld` are their positions.
    pub fn withhold(&mut self, withheld: impl IntoIterator<Item = usize>) {
        self.change_sent(withheld.into_iter().map(|item| (item, ())), |row, ()| {
            row.fingerprint = None;
            row.fate = Fate::Withheld;
        });
    }

    fn change_sent<T>(&mut self, items: impl IntoIterator<Item = (usize, T)>, change: impl Fn(&mut Row, T)) {
        let sent: Vec<usize> = (0..self.rows.len()).filter(|&row| self.rows[row].sent).collect();
        for (item, what) in items {
            if let Some(row) = sent.get(item).and_then(|&row| self.rows.get_mut(row)) {
                change(row, what);
            }
        }
    }

    /// Notes with which value of a tracked key a record is seen, before any record is delivered.
    pub fn observe(&mut self, record: &str, kind: &str, hash: Option<KeyHash>) {
        let (record, kind) = (self.text(record), self.text(kind));
        self.held.push(Held { record, kind, hash });
    }

    /// Notes that a record goes on as another one.
    pub fn succeed(&mut self, record: &str, successor: &Successor<'_>) {
        let relation = successor.relation;
        let (record, successor) = (self.text(record), self.text(successor.id));
        self.successions.push(Succession {
            record,
            relation,
            successor,
        });
    }

    /// Notes where the reading called `reading` can be gone on with once these records, and all before them, are written.
    pub fn resume_at(&mut self, reading: &'static str, point: ResumePoint) {
        self.resume_point = Some((reading, point));
    }

    pub(super) fn resume_point(&self) -> Option<(&'static str, &ResumePoint)> {
        self.resume_point.as_ref().map(|(reading, point)| (*reading, point))
    }

    fn text(&mut self, text: &str) -> Range<usize> {
        let start = self.ids.len();
        self.ids.push_str(text);
        start..self.ids.len()
    }

    /// How much there is: records, and values that records were seen with.
    pub fn len(&self) -> usize {
        self.rows.len() + self.held.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.resume_point.is_none()
    }

    /// Forgets the records and keeps the buffers.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.watched.clear();
        self.identities.clear();
        self.grounds.clear();
        self.rows.clear();
        self.held.clear();
        self.successions.clear();
        self.resume_point = None;
    }

    /// What was sent, and what the audit trail keeps of its consent.
    pub(super) fn sent_rows(&self) -> impl Iterator<Item = (&str, Option<&[u8]>, &Row)> {
        self.rows.iter().filter(|row| row.sent).map(|row| {
            let grounds = row.grounds.clone().map(|grounds| &self.grounds[grounds]);
            (&self.ids[row.id.clone()], grounds, row)
        })
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &[u8], &Row)> {
        self.rows
            .iter()
            .map(|row| (&self.ids[row.id.clone()], &self.watched[row.watched.clone()], row))
    }

    pub(super) fn identity(&self, row: &Row) -> &[u8] {
        &self.identities[row.identity.clone()]
    }

    /// The records that were seen, each with a kind and the value's hash.
    pub(super) fn held(&self) -> impl Iterator<Item = (&str, &str, Option<KeyHash>)> {
        let text = |range: &Range<usize>| &self.ids[range.clone()];
        self.held
            .iter()
            .map(move |held| (text(&held.record), text(&held.kind), held.hash))
    }

    /// The records that go on as another one, each with that.
    pub(super) fn successions(&self) -> impl Iterator<Item = (&str, Successor<'_>)> {
        self.successions.iter().map(|one| {
            let (relation, id) = (one.relation, &self.ids[one.successor.clone()]);
            (&self.ids[one.record.clone()], Successor { relation, id })
        })
    }
}
