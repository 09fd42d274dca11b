//! The audit trail: what stood of a person's consent whenever something of theirs was sent. It only grows, and each entry is
//! bound to the one before by a hash, so that a change, a gap or an insertion shows.
//!
//! An entry holds the deliveries that one request acknowledged, in the transaction of the checkpoint that rests on them: a
//! head, which all of them share, and 17 bytes a delivery and 10 more a purpose. Of a record it holds no id and no value, but
//! a hash of the id with a salt of the store's own: whoever knows the id finds the record's deliveries.
//!
//! What became of an erasure is an entry of the same form, for the records of one request: without purposes, and with the
//! receipt in its head.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Between;
use super::entries::{Entries, Fate, Row};
use crate::api::mapping_version::LegalBasis;
use crate::consent::{Denial, Statement};

/// The tables of the trail. Each entry is written once; what would change or remove one is refused.
pub(super) const TABLES: &str = "
    CREATE TABLE audit_salt (
        one  INTEGER PRIMARY KEY CHECK (one = 1),
        salt BLOB NOT NULL
    ) STRICT;
    INSERT INTO audit_salt (one, salt) VALUES (1, randomblob(32));
    CREATE TABLE audit (
        number     INTEGER PRIMARY KEY,
        previous   BLOB NOT NULL,
        head       TEXT NOT NULL,
        deliveries BLOB NOT NULL,
        hash       BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE (ABORT, 'the audit trail only grows'); END;
    CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
        BEGIN SELECT RAISE (ABORT, 'the audit trail only grows'); END;
";

pub(super) type Hash = [u8; 32];

/// A record in the trail: the first half of a salted SHA-256 over its id.
pub(super) type RecordHash = [u8; 16];

/// Bytes of a delivery before its purposes.
pub(super) const DELIVERY: usize = 17;

/// Bytes of a delivery for each purpose.
pub(super) const PURPOSE: usize = 10;

/// What an entry's deliveries share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    /// When they were acknowledged.
    pub time: Timestamp,
    /// The run that sent them.
    pub run: String,
    pub stream: String,
    pub object: String,
    pub source: String,
    pub sink: String,
    /// The mapping and its version.
    pub mapping: String,
    /// The mapping's purposes, in the order in which a delivery holds them.
    pub purposes: Vec<(String, LegalBasis)>,
    /// Of an entry of erasures, the CDP's receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
}

/// The CDP's receipt of an erasure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Erasure {
    /// The id by which the CDP knows the request.
    pub regulation: String,
    /// What was asked for, in the API's word.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it ended, in the API's word; none while it had not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// How a delivery went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// With what the sink may hold of the record.
    Delivered = 0,
    /// As a suppression.
    Suppressed = 1,
    /// Not, or not in its last try: a consent had ended by then.
    Withheld = 2,
    /// As a request of erasure, which the CDP has taken on.
    ErasureRequested = 3,
    /// Not: the CDP says that it has erased.
    ErasureFinished = 4,
    /// Not: the CDP says that it has not erased, or not all.
    ErasureFailed = 5,
    /// Not: the CDP has no profile of the person any more.
    ErasureConfirmed = 6,
    /// Not: the CDP says that it has erased, and still has a profile of the person.
    ErasureContradicted = 7,
}

impl Sent {
    fn of(row: &Row) -> Option<Sent> {
        match row.fate {
            Fate::Delivered => Some(Sent::Delivered),
            Fate::Suppressed => Some(Sent::Suppressed),
            Fate::Withheld => Some(Sent::Withheld),
            // A suppression that went out beside a dead letter.
            Fate::Rejected if row.fingerprint.is_some() => Some(Sent::Suppressed),
            Fate::Rejected | Fate::Unchanged => None,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Sent> {
        let all = [
            Sent::Delivered,
            Sent::Suppressed,
            Sent::Withheld,
            Sent::ErasureRequested,
            Sent::ErasureFinished,
            Sent::ErasureFailed,
            Sent::ErasureConfirmed,
            Sent::ErasureContradicted,
        ];
        all.into_iter().find(|sent| *sent as u8 == byte)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Sent::Delivered => "Delivered",
            Sent::Suppressed => "Suppressed",
            Sent::Withheld => "Withheld",
            Sent::ErasureRequested => "ErasureRequested",
            Sent::ErasureFinished => "ErasureFinished",
            Sent::ErasureFailed => "ErasureFailed",
            Sent::ErasureConfirmed => "ErasureConfirmed",
            Sent::ErasureContradicted => "ErasureContradicted",
        }
    }
}

/// Appends what a trail keeps of statements, 10 bytes each: the verdict, the rule's place and the evidence's instant.
pub fn write_grounds(statements: &[Statement<'_>], out: &mut Vec<u8>) {
    for statement in statements {
        let (code, place) = code(statement.granted);
        out.extend_from_slice(&[code, place]);
        let evidence = statement.evidence.map_or(i64::MIN, Timestamp::as_microsecond);
        out.extend_from_slice(&evidence.to_le_bytes());
    }
}

/// These numbers stand in stores: none may be given another meaning.
fn code(granted: Result<(), Denial>) -> (u8, u8) {
    match granted {
        Ok(()) => (0, 0),
        Err(Denial::Refused) => (1, 0),
        Err(Denial::Unknown) => (2, 0),
        Err(Denial::Unparsable) => (3, 0),
        Err(Denial::Failed) => (4, 0),
        Err(Denial::NoEvidence) => (5, 0),
        Err(Denial::EvidenceUnparsable) => (6, 0),
        Err(Denial::EvidenceInFuture) => (7, 0),
        Err(Denial::Expired) => (8, 0),
        Err(Denial::Region(place)) => (9, place),
        Err(Denial::RegionUnclear(place)) => (10, place),
        Err(Denial::Deleted) => (11, 0),
    }
}

/// What [`code`] stands for.
pub(super) fn verdict(code: u8, place: u8) -> Option<Result<(), Denial>> {
    Some(match code {
        0 => Ok(()),
        1 => Err(Denial::Refused),
        2 => Err(Denial::Unknown),
        3 => Err(Denial::Unparsable),
        4 => Err(Denial::Failed),
        5 => Err(Denial::NoEvidence),
        6 => Err(Denial::EvidenceUnparsable),
        7 => Err(Denial::EvidenceInFuture),
        8 => Err(Denial::Expired),
        9 => Err(Denial::Region(place)),
        10 => Err(Denial::RegionUnclear(place)),
        11 => Err(Denial::Deleted),
        _ => return None,
    })
}

/// A record's hash in the trail of a store with this salt.
pub(super) fn record_hash(salt: &[u8; 32], id: &str) -> RecordHash {
    let digest = Sha256::new_with_prefix(salt).chain_update(id).finalize();
    let mut hash = [0; 16];
    hash.copy_from_slice(&digest[..16]);
    hash
}

/// The hash that binds an entry to the one before.
pub(super) fn entry_hash(number: i64, previous: &[u8], head: &str, deliveries: &[u8]) -> Hash {
    Sha256::new_with_prefix(previous)
        .chain_update(number.to_be_bytes())
        .chain_update((head.len() as u64).to_be_bytes())
        .chain_update(head)
        .chain_update(deliveries)
        .finalize()
        .into()
}

/// The end of the trail, to which a run appends.
#[derive(Debug)]
pub(super) struct Trail {
    salt: [u8; 32],
    last: i64,
    hash: Hash,
    head: Head,
    deliveries: Vec<u8>,
}

impl Trail {
    /// The trail of a store, for the run that has opened it.
    pub fn open(
        connection: &Connection,
        run: &str,
        stream: &str,
        between: &Between,
        mapping: &str,
    ) -> rusqlite::Result<Trail> {
        let salt = connection.query_row("SELECT salt FROM audit_salt", [], |row| row.get(0))?;
        Ok(Trail {
            salt,
            last: 0,
            hash: [0; 32],
            head: Head {
                time: Timestamp::UNIX_EPOCH,
                run: run.to_owned(),
                stream: stream.to_owned(),
                object: between.object.clone(),
                source: between.source.clone(),
                sink: between.sink.clone(),
                mapping: mapping.to_owned(),
                purposes: Vec::new(),
                erasure: None,
            },
            deliveries: Vec::new(),
        })
    }

    /// Looks where the trail ends. To be done while nobody else can write.
    pub fn renew(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let last = connection
            .query_row(
                "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        (self.last, self.hash) = last.unwrap_or((0, [0; 32]));
        Ok(())
    }

    /// Names the mapping's purposes, in the order in which statements of them come.
    pub fn name_purposes(&mut self, purposes: Vec<(String, LegalBasis)>) {
        self.head.purposes = purposes;
    }

    /// Appends an entry with what was sent of these records, if anything was.
    pub fn append(&mut self, connection: &Connection, entries: &Entries, now: Timestamp) -> rusqlite::Result<()> {
        self.deliveries.clear();
        let width = DELIVERY + PURPOSE * self.head.purposes.len();
        for (id, grounds, row) in entries.sent_rows() {
            let (Some(sent), Some(grounds)) = (Sent::of(row), grounds) else {
                continue;
            };
            let end = self.deliveries.len() + width;
            self.deliveries.extend_from_slice(&record_hash(&self.salt, id));
            self.deliveries.push(sent as u8);
            self.deliveries.extend_from_slice(grounds);
            self.deliveries.resize(end, 0);
        }
        if self.deliveries.is_empty() {
            return Ok(());
        }
        self.head.time = now;
        let head = text(&self.head)?;
        self.write(connection, &head)
    }

    /// Appends an entry with what became of the erasure of these records.
    pub fn append_erasure(
        &mut self,
        connection: &Connection,
        erasure: Erasure,
        sent: Sent,
        records: &[String],
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.deliveries.clear();
        for id in records {
            self.deliveries.extend_from_slice(&record_hash(&self.salt, id));
            self.deliveries.push(sent as u8);
        }
        let head = text(&Head {
            time: now,
            purposes: Vec::new(),
            erasure: Some(erasure),
            ..self.head.clone()
        })?;
        self.write(connection, &head)
    }

    fn write(&mut self, connection: &Connection, head: &str) -> rusqlite::Result<()> {
        let number = self.last + 1;
        let hash = entry_hash(number, &self.hash, head, &self.deliveries);
        connection
            .prepare_cached("INSERT INTO audit (number, previous, head, deliveries, hash) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![number, self.hash, head, self.deliveries, hash])?;
        (self.last, self.hash) = (number, hash);
        Ok(())
    }
}

fn text(head: &Head) -> rusqlite::Result<String> {
    serde_json::to_string(head).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}
