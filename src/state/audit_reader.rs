//! Reading an audit trail: whether it is whole, and what it holds of whom.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, Row};
use serde::Serialize;

use super::audit::{self, DELIVERY, Erasure, Hash, Head, PURPOSE, RecordHash, Sent};
use super::{StateError, schema};

/// The first format whose files have a trail.
const FIRST_FORMAT: i64 = 5;

/// Why a trail can't be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store can't be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// An entry is not what it was written as, or not where it was written.
    #[error(
        "the audit trail of {} is broken at entry {number}: {what}; what follows it proves nothing. Compare the store with a \
         backup", path.display()
    )]
    Broken {
        /// The store's file.
        path: PathBuf,
        /// The entry's number.
        number: i64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// What is read can't be handed on.
    #[error("the audit trail can't be written out: {0}")]
    Output(#[from] std::io::Error),
}

/// A trail that is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// How many entries it has.
    pub entries: i64,
    /// How many deliveries they hold.
    pub deliveries: i64,
    /// How many times they hold of a person what became of their erasure.
    pub erasures: i64,
    /// The last entry's hash, in hexadecimal. Kept elsewhere, it shows later that nothing was cut off or written anew.
    pub last_hash: Option<String>,
    /// Whether an entry has the hash that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds_expected: Option<bool>,
}

/// One delivery, as a line of an export.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery<'a> {
    /// The hash of the record's id, in hexadecimal.
    pub record: String,
    /// The record's id, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_id: Option<&'a str>,
    /// When the CDP acknowledged it.
    pub time: Timestamp,
    /// `Delivered`, `Suppressed`, or `Withheld`: its consent ended while it waited to be sent. Of an erasure
    /// `ErasureRequested`; `ErasureFinished` or `ErasureFailed` by the CDP's own word; `ErasureConfirmed` or
    /// `ErasureContradicted` by a look for the profile.
    pub outcome: &'static str,
    /// The purposes of the mapping, and what stood of each; none for an erasure, which rests on the deletion alone.
    pub consent: Vec<Ground<'a>>,
    /// The CDP's receipt of an erasure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erasure: Option<&'a Erasure>,
    /// The mapping and its version.
    pub mapping: &'a str,
    /// The run that sent it.
    pub run: &'a str,
    /// The stream.
    pub stream: &'a str,
    /// The CRM object.
    pub object: &'a str,
    /// The CRM.
    pub source: &'a str,
    /// The CDP.
    pub sink: &'a str,
    /// The number of the trail's entry that holds it.
    pub entry: i64,
    /// The hash of that entry, in hexadecimal.
    pub entry_hash: &'a str,
}

/// What stood of one purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ground<'a> {
    /// The purpose.
    pub purpose: &'a str,
    /// `Granted` or `Denied`.
    pub verdict: &'static str,
    /// Why it was denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// On which ground.
    pub legal_basis: &'static str,
    /// When the person said so, where the mapping names the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Timestamp>,
}

/// The trail in one store's file.
#[derive(Debug)]
pub struct AuditTrail {
    connection: Connection,
    path: PathBuf,
    /// None, where the file is older than trails are.
    salt: Option<[u8; 32]>,
}

/// An entry whose hash, and place in the chain, were found right.
struct Entry {
    number: i64,
    hash: Hash,
    head: Head,
    deliveries: Vec<u8>,
}

/// An entry as it stands in the table.
struct Stored {
    number: i64,
    previous: Vec<u8>,
    head: String,
    deliveries: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    fn of(row: &Row<'_>) -> rusqlite::Result<Stored> {
        Ok(Stored {
            number: row.get(0)?,
            previous: row.get(1)?,
            head: row.get(2)?,
            deliveries: row.get(3)?,
            hash: row.get(4)?,
        })
    }
}

impl AuditTrail {
    /// Opens the trail of a store, for reading.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn open(path: &Path) -> Result<AuditTrail, StateError> {
        let connection = schema::open_for_reading(path)?;
        let failed = |error| StateError::sqlite(path, error);
        let format: i64 = schema::pragma(&connection, "user_version").map_err(failed)?;
        let salt = if format < FIRST_FORMAT {
            None
        } else {
            let salt = connection.query_row("SELECT salt FROM audit_salt", [], |row| row.get(0));
            Some(salt.map_err(failed)?)
        };
        Ok(AuditTrail {
            connection,
            path: path.to_owned(),
            salt,
        })
    }

    /// Checks every entry against its hash and the one before, and looks for one with the `expected` hash.
    ///
    /// # Errors
    /// The first entry that is not right.
    pub fn verify(&self, expected: Option<&str>) -> Result<Verified, AuditError> {
        let mut verified = Verified {
            holds_expected: expected.map(|_| false),
            ..Verified::default()
        };
        self.walk(|entry| {
            verified.entries += 1;
            let count = i64::try_from(deliveries(&entry).count()).unwrap_or(i64::MAX);
            match entry.head.erasure {
                None => verified.deliveries += count,
                Some(_) => verified.erasures += count,
            }
            let hash = hexadecimal(&entry.hash);
            if expected.is_some_and(|expected| expected.eq_ignore_ascii_case(&hash)) {
                verified.holds_expected = Some(true);
            }
            verified.last_hash = Some(hash);
            Ok(())
        })?;
        Ok(verified)
    }

    /// Hands on every delivery, the oldest first; with `record_id`, those of one record. Each entry is checked before.
    ///
    /// # Errors
    /// The first entry that is not right, or what `each` returns.
    pub fn export(
        &self,
        record_id: Option<&str>,
        mut each: impl FnMut(&Delivery<'_>) -> std::io::Result<()>,
    ) -> Result<(), AuditError> {
        let Some(salt) = &self.salt else { return Ok(()) };
        let wanted: Option<RecordHash> = record_id.map(|id| audit::record_hash(salt, id));
        self.walk(|entry| {
            let entry_hash = hexadecimal(&entry.hash);
            for delivery in deliveries(&entry) {
                let (record, rest) = delivery.split_at(size_of::<RecordHash>());
                if wanted.is_some_and(|wanted| record != wanted) {
                    continue;
                }
                let broken = || self.broken(entry.number, "a delivery in it can't be read");
                let head = &entry.head;
                let (sent, grounds) = rest.split_first().ok_or_else(broken)?;
                each(&Delivery {
                    record: hexadecimal(record),
                    record_id,
                    time: head.time,
                    outcome: Sent::from_byte(*sent).ok_or_else(broken)?.as_str(),
                    consent: consent(head, grounds).ok_or_else(broken)?,
                    erasure: head.erasure.as_ref(),
                    mapping: &head.mapping,
                    run: &head.run,
                    stream: &head.stream,
                    object: &head.object,
                    source: &head.source,
                    sink: &head.sink,
                    entry: entry.number,
                    entry_hash: &entry_hash,
                })?;
            }
            Ok(())
        })
    }

    /// Visits the entries in order, each once it was found right.
    fn walk(&self, mut visit: impl FnMut(Entry) -> Result<(), AuditError>) -> Result<(), AuditError> {
        if self.salt.is_none() {
            return Ok(());
        }
        let failed = |error| StateError::sqlite(&self.path, error);
        let mut statement = self
            .connection
            .prepare("SELECT number, previous, head, deliveries, hash FROM audit ORDER BY number")
            .map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let (mut expected, mut before): (i64, Hash) = (1, [0; 32]);
        while let Some(row) = rows.next().map_err(failed)? {
            let Stored {
                number,
                previous,
                head,
                deliveries,
                hash,
            } = Stored::of(row).map_err(failed)?;
            if number != expected {
                return Err(self.broken(expected, "it is missing"));
            }
            if previous != before {
                return Err(self.broken(number, "it does not follow the entry before it"));
            }
            before = audit::entry_hash(number, &previous, &head, &deliveries);
            if hash != before {
                return Err(self.broken(number, "its content does not have its hash"));
            }
            let head: Head = serde_json::from_str(&head).map_err(|_| self.broken(number, "its head can't be read"))?;
            if deliveries.len() % width(&head) != 0 {
                return Err(self.broken(number, "a delivery in it can't be read"));
            }
            visit(Entry {
                number,
                hash: before,
                head,
                deliveries,
            })?;
            expected += 1;
        }
        Ok(())
    }

    fn broken(&self, number: i64, what: &'static str) -> AuditError {
        AuditError::Broken {
            path: self.path.clone(),
            number,
            what,
        }
    }
}

fn width(head: &Head) -> usize {
    DELIVERY + PURPOSE * head.purposes.len()
}

fn deliveries(entry: &Entry) -> std::slice::ChunksExact<'_, u8> {
    entry.deliveries.chunks_exact(width(&entry.head))
}

fn consent<'h>(head: &'h Head, grounds: &[u8]) -> Option<Vec<Ground<'h>>> {
    let grounds = grounds.as_chunks::<PURPOSE>().0;
    let purposes = head.purposes.iter().zip(grounds);
    purposes
        .map(|((purpose, basis), ground)| {
            let ([code, place], evidence) = ground.split_first_chunk::<2>()?;
            let evidence = i64::from_le_bytes(evidence.try_into().ok()?);
            let verdict = audit::verdict(*code, *place)?;
            Some(Ground {
                purpose,
                verdict: if verdict.is_ok() { "Granted" } else { "Denied" },
                reason: verdict.err().map(|denial| denial.to_string()),
                legal_basis: basis.as_str(),
                evidence: Timestamp::from_microsecond(evidence).ok(),
            })
        })
        .collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
