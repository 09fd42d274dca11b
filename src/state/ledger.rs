//! A stream's store, read to explain what was delivered. It fences off no run, and waits for none.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::store::{DELETED, instant};
use super::{StateError, file_of, schema};
use crate::identity::{KeyHash, Memory, recall};

/// A stream's store, read to explain what was delivered.
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
}

/// What a store tells of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// The CRM's id of the record.
    pub record: String,
    /// The stamp of the version that was last dealt with.
    pub stamp: Timestamp,
    /// Whether it was deleted in the CRM.
    pub deleted: bool,
    /// Whether it is a dead letter: where, and by which rule.
    pub dead_letter: Option<(String, String)>,
    /// How its erasure stands, where it was deleted from a stream that erases.
    pub erasure: Option<Erased>,
    /// When it was last delivered, and acknowledged by the CDP.
    pub delivered_at: Option<Timestamp>,
    /// The run that delivered it, and the mapping with its version.
    pub delivered_by: Option<(String, String)>,
    /// The verdicts on its keys, and whether it was only suppressed.
    pub memory: Memory,
    /// The record that it goes on as.
    pub link: Option<Link>,
    /// The records that go on as this one.
    pub links_here: Vec<(String, Link)>,
}

/// How the erasure of a deleted record stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The id by which the CDP knows the request, and when it was taken on; none while it was not.
    pub requested: Option<(String, Timestamp)>,
    /// How it ended, in the CDP's word; none while it has not.
    pub status: Option<String>,
}

/// That a record goes on as another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// `Merged` or `Converted`.
    pub relation: String,
    /// The CRM's id of the other record.
    pub successor: String,
    /// When that was delivered.
    pub at: Timestamp,
    /// The run that delivered it.
    pub run: Option<String>,
}

/// A record by which a value of a tracked key is had, or was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// The CRM's id of the record.
    pub record: String,
    /// Whether the CRM shows the record with the value.
    pub holds: bool,
    /// The run that first told the CDP of it, where one did.
    pub first_run: Option<String>,
    /// Whether the CDP was told of it at the record's last delivery.
    pub active: bool,
}

impl Ledger {
    /// Opens a stream's store for reading; none where there is no store.
    ///
    /// # Errors
    /// Where it can't be read, or another version of Ferrygate wrote it.
    pub fn open(directory: &Path, stream: &str) -> Result<Option<Ledger>, StateError> {
        let path = file_of(directory, stream);
        if !path.exists() {
            return Ok(None);
        }
        let connection = schema::open_for_reading(&path)?;
        schema::is_of_this_version(&connection, &path)?;
        Ok(Some(Ledger { connection, path }))
    }

    /// What the store tells of a record.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn record(&self, id: &str) -> Result<Option<Whereabouts>, StateError> {
        let link = |row: &Row<'_>| {
            Ok(Link {
                relation: row.get(1)?,
                successor: row.get(2)?,
                at: instant(row, 3)?,
                run: row.get(4)?,
            })
        };
        const LINKS: &str =
            "SELECT record, relation, successor, at, run FROM identity_link LEFT JOIN run USING (epoch)";
        self.attempt(|connection| {
            let found = connection
                .query_row(
                    "SELECT record.stamp, flags, delivered_at, run.run, run.mapping, identity, path, rule
                     FROM record LEFT JOIN run ON run.epoch = delivered_epoch LEFT JOIN dead_letter USING (id)
                     WHERE id = ?1",
                    [id],
                    |row| {
                        let flags: i64 = row.get(1)?;
                        let identity: Option<Vec<u8>> = row.get(5)?;
                        Ok(Whereabouts {
                            record: id.to_owned(),
                            stamp: instant(row, 0)?,
                            deleted: flags & DELETED != 0,
                            erasure: None,
                            dead_letter: row.get::<_, Option<String>>(6)?.zip(row.get(7)?),
                            delivered_at: match row.get::<_, Option<i64>>(2)? {
                                Some(_) => Some(instant(row, 2)?),
                                None => None,
                            },
                            delivered_by: row.get::<_, Option<String>>(3)?.zip(row.get(4)?),
                            memory: recall(&identity.unwrap_or_default()),
                            link: None,
                            links_here: Vec::new(),
                        })
                    },
                )
                .optional()?;
            let Some(mut found) = found else { return Ok(None) };
            found.erasure = connection
                .query_row(
                    "SELECT regulation, requested, status FROM erasure LEFT JOIN erasure_request ON number = request
                     WHERE record = ?1 AND back = 0",
                    [id],
                    |row| {
                        let requested = match row.get::<_, Option<String>>(0)? {
                            Some(regulation) => Some((regulation, instant(row, 1)?)),
                            None => None,
                        };
                        let status = row.get(2)?;
                        Ok(Erased { requested, status })
                    },
                )
                .optional()?;
            found.link = connection
                .query_row(&format!("{LINKS} WHERE record = ?1"), [id], link)
                .optional()?;
            found.links_here = connection
                .prepare(&format!("{LINKS} WHERE successor = ?1 ORDER BY record"))?
                .query_map([id], |row| Ok((row.get(0)?, link(row)?)))?
                .collect::<rusqlite::Result<_>>()?;
            Ok(Some(found))
        })
    }

    /// The ids of the records that were last judged by this value, whatever the verdict: at most `limit`.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn records_with(&self, hash: KeyHash, limit: usize) -> Result<Vec<String>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.attempt(|connection| {
            connection
                .prepare("SELECT id FROM record WHERE instr(identity, ?1) > 0 ORDER BY id LIMIT ?2")?
                .query_map(params![hash.0, limit], |row| row.get(0))?
                .collect()
        })
    }

    /// Who has, or had, a value of a tracked key: at most `limit`.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn uses(&self, hash: KeyHash, limit: usize) -> Result<Vec<Used>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.attempt(|connection| {
            connection
                .prepare(
                    "SELECT record, EXISTS (SELECT 1 FROM identity_held h WHERE h.record = who.record AND h.hash = ?1),
                         (SELECT run.run FROM identity_used u JOIN run USING (epoch)
                          WHERE u.hash = ?1 AND u.record = who.record),
                         EXISTS (SELECT 1 FROM identity_used u WHERE u.hash = ?1 AND u.record = who.record AND u.active = 1)
                     FROM (SELECT record FROM identity_held WHERE hash = ?1
                           UNION SELECT record FROM identity_used WHERE hash = ?1) who
                     ORDER BY record LIMIT ?2",
                )?
                .query_map(params![hash.0, limit], |row| {
                    Ok(Used {
                        record: row.get(0)?,
                        holds: row.get(1)?,
                        first_run: row.get(2)?,
                        active: row.get(3)?,
                    })
                })?
                .collect()
        })
    }

    fn attempt<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        query(&self.connection).map_err(|error| StateError::sqlite(&self.path, error))
    }
}
