//! The erasure of people whose records were deleted in the CRM: an outbox, written in the transaction of the suppression that
//! goes before it, and what became of each request.
//!
//! - `erasure` has a row for each deleted record whose erasure is due, asked for, or done. It goes when the record returns.
//! - `erasure_request` has the requests that were made of the CDP. One without a regulation was sent, and it is not known
//!   whether it arrived.
//! - `erasure_back` has the records that returned while they were being erased: they are read and delivered once more.
//! - `erasing` has a row while the stream says `deletes: Erase`.
//!
//! A record's id is its user id at the CDP (`deletes: Erase` asks for that), so that no other value has to be kept.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::entries::{Entries, Fate, Row, Stage};
use super::reader::recalled;
use super::store::DELETED;
use super::{Reader, Snapshot, StateError, Store};
use crate::api::sync_pipeline::Erasures;
use crate::source::Recalled;

pub(super) const TABLES: &str = "
    CREATE TABLE erasing (
        one        INTEGER PRIMARY KEY CHECK (one = 1),
        not_before INTEGER
    ) STRICT;
    CREATE TABLE erasure_request (
        number     INTEGER PRIMARY KEY,
        tried      INTEGER NOT NULL,
        subjects   BLOB NOT NULL,
        regulation TEXT,
        kind       TEXT NOT NULL,
        requested  INTEGER,
        asked      INTEGER,
        status     TEXT,
        ended      INTEGER
    ) STRICT;
    CREATE TABLE erasure (
        record  TEXT NOT NULL PRIMARY KEY,
        due     INTEGER NOT NULL,
        request INTEGER,
        back    INTEGER NOT NULL DEFAULT 0,
        look    INTEGER
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX erasure_by_request ON erasure (request);
    CREATE INDEX erasure_by_look ON erasure (look) WHERE look IS NOT NULL;
    CREATE TABLE erasure_back (
        record TEXT NOT NULL PRIMARY KEY
    ) WITHOUT ROWID, STRICT;
";

/// What makes all of them empty.
pub(super) const EMPTY: &str = "
    DELETE FROM erasing; DELETE FROM erasure; DELETE FROM erasure_request; DELETE FROM erasure_back;
";

/// What the reading of a record says of its erasure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErasureNote {
    /// Nothing.
    #[default]
    Kept,
    /// It was deleted, and stands for a person who is to be erased.
    Due,
    /// The CRM shows it, or it goes on as another record: whoever it stands for must not be erased.
    Void,
}

/// What a store's writer knows of its erasures without asking.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Whether there is a row.
    any: bool,
    /// Whether records wait to be delivered once more.
    pub(super) back: bool,
    /// How many were waiting when the store was emptied because its sink or its source has changed.
    left: i64,
}

impl Outbox {
    pub(super) fn read(connection: &Connection, left: i64) -> rusqlite::Result<Outbox> {
        let exists =
            |table: &str| connection.query_row(&format!("SELECT EXISTS (SELECT 1 FROM {table})"), [], |row| row.get(0));
        Ok(Outbox {
            any: exists("erasure")?,
            back: exists("erasure_back")?,
            left,
        })
    }
}

/// How many erasures the CDP has not taken on.
pub(super) fn waiting(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row(
        "SELECT COUNT(*) FROM erasure LEFT JOIN erasure_request ON number = request WHERE back = 0 AND regulation IS NULL",
        [],
        |row| row.get(0),
    )
}

/// Notes what the reading of records says of their erasure. Returns how many dead letters that has cleared.
pub(super) fn note(
    connection: &Connection,
    entries: &Entries,
    outbox: &mut Outbox,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let mut cleared = 0;
    for (id, _, row) in entries.rows() {
        if outbox.back {
            connection
                .prepare_cached("DELETE FROM erasure_back WHERE record = ?1")?
                .execute([id])?;
        }
        match row.erasure {
            ErasureNote::Due if !goes_on(connection, id)? => {
                want(connection, id, now)?;
                outbox.any = true;
            }
            ErasureNote::Due | ErasureNote::Void if outbox.any => cleared += void(connection, id, row, outbox)?,
            ErasureNote::Due | ErasureNote::Void | ErasureNote::Kept => {}
        }
    }
    Ok(cleared)
}

/// Whether the record is known to go on as another one, also where the CRM does not say so any more.
fn goes_on(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM identity_link WHERE record = ?1)")?
        .query_row([id], |row| row.get(0))
}

/// Once for each deletion: only a record that has been back since is asked for anew.
fn want(connection: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO erasure (record, due) VALUES (?1, ?2)
             ON CONFLICT (record) DO UPDATE SET due = excluded.due, request = NULL, back = 0, look = NULL WHERE back = 1",
        )?
        .execute(params![id, now.as_microsecond()])?;
    Ok(())
}

fn void(connection: &Connection, id: &str, row: &Row, outbox: &mut Outbox) -> rusqlite::Result<i64> {
    let known: Option<(bool, bool)> = connection
        .prepare_cached(
            "SELECT request IS NOT NULL, status IS NOT NULL FROM erasure LEFT JOIN erasure_request ON number = request
             WHERE record = ?1",
        )?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((requested, ended)) = known else { return Ok(0) };
    if requested && !ended {
        // What is delivered from now on may be erased with the rest: it is delivered again once that has ended.
        connection
            .prepare_cached("UPDATE erasure SET back = 1 WHERE record = ?1")?
            .execute([id])?;
    } else {
        connection
            .prepare_cached("DELETE FROM erasure WHERE record = ?1")?
            .execute([id])?;
        // The CDP has forgotten what the store takes for known there.
        if ended && !matches!(row.fate, Fate::Delivered | Fate::Suppressed) {
            deliver_again(connection, id)?;
            outbox.back = true;
        }
    }
    clear_letter(connection, id)
}

/// Has the next run read the record by its id, and deliver it whatever the CDP was told before. Events that have happened do not
/// happen again: what they watch stays known.
pub(super) fn deliver_again(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE record SET fingerprint = zeroblob(16) WHERE id = ?1 AND fingerprint IS NOT NULL")?
        .execute([id])?;
    connection
        .prepare_cached("INSERT OR IGNORE INTO erasure_back (record) VALUES (?1)")?
        .execute([id])?;
    Ok(())
}

/// Removes the dead letter of an erasure; tells how many that were.
pub(super) fn clear_letter(connection: &Connection, id: &str) -> rusqlite::Result<i64> {
    let cleared = connection
        .prepare_cached("DELETE FROM dead_letter WHERE id = ?1 AND stage = ?2")?
        .execute(params![id, Stage::Erase.as_str()])?;
    Ok(i64::try_from(cleared).unwrap_or_default())
}

impl Store {
    /// Says whether deleted records are erased from now on. Where they were not before, those that the store knows as deleted
    /// are due as well.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn erase_deleted(&mut self, erase: bool, now: Timestamp) -> Result<(), StateError> {
        self.begin()?;
        let any = self.attempt(|connection| {
            if !erase {
                connection.execute("DELETE FROM erasing", [])?;
            } else if connection.execute("INSERT OR IGNORE INTO erasing (one) VALUES (1)", [])? > 0 {
                connection.execute(
                    "INSERT OR IGNORE INTO erasure (record, due)
                     SELECT id, ?2 FROM record WHERE flags & ?1 <> 0 AND id NOT IN (SELECT record FROM identity_link)",
                    params![DELETED, now.as_microsecond()],
                )?;
            }
            connection.query_row("SELECT EXISTS (SELECT 1 FROM erasure)", [], |row| row.get(0))
        })?;
        self.outbox.any = any;
        Ok(())
    }

    /// Whether records wait to be delivered once more, because they returned while they were being erased.
    pub fn keeps_returned(&self) -> bool {
        self.outbox.back
    }

    /// How many erasures were waiting when the store was emptied: the CDP, or the CRM, is another one now.
    pub fn erasures_left(&self) -> i64 {
        self.outbox.left
    }

    /// How many erasures are not done yet; none where the stream erases nobody and never has.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn erasures(&self) -> Result<Option<Erasures>, StateError> {
        self.attempt(|connection| {
            let erases: bool = connection.query_row("SELECT EXISTS (SELECT 1 FROM erasing)", [], |row| row.get(0))?;
            if !erases && !self.outbox.any {
                return Ok(None);
            }
            let running = connection.query_row(
                "SELECT COUNT(*) FROM erasure_request JOIN erasure ON request = number
                 WHERE regulation IS NOT NULL AND status IS NULL",
                [],
                |row| row.get(0),
            )?;
            let waiting = waiting(connection)?;
            Ok(Some(Erasures { waiting, running }))
        })
    }
}

impl Snapshot<'_> {
    /// Whether the CDP was asked to erase whom a deleted record stands for: nothing more may be sent of them.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn is_erased(&self, id: &str) -> Result<bool, StateError> {
        self.reader().query(|connection| {
            connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM erasure WHERE record = ?1 AND request IS NOT NULL AND back = 0)",
                )?
                .query_row([id], |row| row.get(0))
        })
    }
}

impl Reader {
    /// The next records that returned while they were being erased, by their ids: at most `limit` of them after the given one. Their
    /// stamp is `now`.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn returned(
        &self,
        now: Timestamp,
        after: Option<&Recalled>,
        limit: usize,
    ) -> Result<Vec<Recalled>, StateError> {
        let after = after.map_or("", |after| after.record_id.as_str());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(|connection| {
            connection
                .prepare_cached("SELECT record, ?1 FROM erasure_back WHERE record > ?2 ORDER BY record LIMIT ?3")?
                .query_map(params![now.as_microsecond(), after, limit], recalled)?
                .collect()
        })
    }
}
