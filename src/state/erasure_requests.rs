//! Requests of erasure, from the outbox to the receipt and to what became of it. Each step is made lasting before the next one
//! is taken, and what the CDP has answered goes into the audit trail in the same transaction.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::audit::{Erasure, Sent};
use super::entries::Stage;
use super::store::{DEAD_LETTER, instant};
use super::{StateError, Store, erasure};
use crate::sink::{Sought, Standing, subjects_hash};

/// A request that the CDP has taken on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub number: i64,
    /// The regulation's id at the CDP.
    pub regulation: String,
}

/// A person who was erased, as the CDP says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The record's id, which is the user id.
    pub record: String,
    /// When the CDP said so.
    pub ended: Timestamp,
}

impl Store {
    /// The next records whose erasure is due and not asked for, by their ids: at most `limit` of them after the given one.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn due_erasures(&self, now: Timestamp, after: &str, limit: usize) -> Result<Vec<String>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.attempt(|connection| {
            connection
                .prepare_cached(
                    "SELECT record FROM erasure WHERE request IS NULL AND due <= ?1 AND record > ?2
                     AND record NOT IN (SELECT record FROM identity_link) ORDER BY record LIMIT ?3",
                )?
                .query_map(params![now.as_microsecond(), after, limit], |row| row.get(0))?
                .collect()
        })
    }

    /// Takes records out of the outbox: the CRM shows them, or they go on as others.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn void_erasures(&mut self, records: &[String]) -> Result<(), StateError> {
        self.begin()?;
        let cleared = self.attempt(|connection| {
            let mut cleared = 0;
            for record in records {
                connection
                    .prepare_cached("DELETE FROM erasure WHERE record = ?1 AND request IS NULL")?
                    .execute([record])?;
                cleared += erasure::clear_letter(connection, record)?;
            }
            Ok(cleared)
        })?;
        self.letters_cleared(cleared);
        self.commit()
    }

    /// Notes that a request for these records is about to be sent; returns its number.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn begin_erasure(&mut self, records: &[String], kind: &str, now: Timestamp) -> Result<i64, StateError> {
        self.begin()?;
        let subjects = subjects_hash(records.iter().map(String::as_str));
        let number = self.attempt(|connection| {
            connection
                .prepare_cached("INSERT INTO erasure_request (tried, subjects, kind) VALUES (?1, ?2, ?3)")?
                .execute(params![now.as_microsecond(), subjects, kind])?;
            let number = connection.last_insert_rowid();
            for record in records {
                connection
                    .prepare_cached("UPDATE erasure SET request = ?2 WHERE record = ?1")?
                    .execute(params![record, number])?;
            }
            Ok(number)
        })?;
        self.commit()?;
        Ok(number)
    }

    /// The requests of which it is not known whether they arrived, by their numbers.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn doubtful_erasures(&self) -> Result<Vec<(i64, Sought)>, StateError> {
        self.attempt(|connection| {
            let mut doubts: Vec<(i64, Sought)> = connection
                .prepare(
                    "SELECT number, tried, subjects FROM erasure_request WHERE regulation IS NULL ORDER BY number",
                )?
                .query_map([], |row| {
                    let sought = Sought {
                        since: instant(row, 1)?,
                        subjects: row.get(2)?,
                        known: Vec::new(),
                    };
                    Ok((row.get(0)?, sought))
                })?
                .collect::<rusqlite::Result<_>>()?;
            for (_, sought) in &mut doubts {
                sought.known = known_around(connection, sought.since)?;
            }
            Ok(doubts)
        })
    }

    /// The regulations that the store knows from around an instant.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn regulations_around(&self, instant: Timestamp) -> Result<Vec<String>, StateError> {
        self.attempt(|connection| known_around(connection, instant))
    }

    /// Notes that a request did not arrive, or was refused as a whole: its records are due as before.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn undo_erasure(&mut self, number: i64) -> Result<(), StateError> {
        self.begin()?;
        self.attempt(|connection| {
            connection.execute("DELETE FROM erasure WHERE request = ?1 AND back = 1", [number])?;
            connection.execute("UPDATE erasure SET request = NULL WHERE request = ?1", [number])?;
            connection.execute("DELETE FROM erasure_request WHERE number = ?1", [number])
        })?;
        self.commit()
    }

    /// Notes the receipt of a request.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn erasure_requested(&mut self, number: i64, regulation: &str, now: Timestamp) -> Result<(), StateError> {
        self.begin()?;
        let (kind, records, cleared) = self.attempt(|connection| {
            connection.execute(
                "UPDATE erasure_request SET regulation = ?2, requested = ?3 WHERE number = ?1",
                params![number, regulation, now.as_microsecond()],
            )?;
            let kind: String =
                connection.query_row("SELECT kind FROM erasure_request WHERE number = ?1", [number], |row| {
                    row.get(0)
                })?;
            let records = records_of(connection, number)?;
            let mut cleared = 0;
            for record in &records {
                cleared += forget_letter(connection, record)?;
            }
            Ok((kind, records, cleared))
        })?;
        self.letters_cleared(cleared);
        let receipt = Erasure {
            regulation: regulation.to_owned(),
            kind,
            status: None,
        };
        self.append_erasure(receipt, Sent::ErasureRequested, &records, now)?;
        self.commit()
    }

    /// Makes a dead letter of a record whose erasure the CDP refuses for good. It is due again later: what was refused may
    /// have been mended.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn erasure_refused(
        &mut self,
        record: &str,
        reason: &str,
        now: Timestamp,
        again: Timestamp,
    ) -> Result<(), StateError> {
        self.begin()?;
        let letters = self.attempt(|connection| {
            connection
                .prepare_cached("UPDATE erasure SET due = ?2 WHERE record = ?1")?
                .execute(params![record, again.as_microsecond()])?;
            write_letter(connection, record, reason, &self.mapping, now)
        })?;
        self.checkpoint.dead_letters += letters;
        self.commit()
    }

    /// Has no erasure be asked for before an instant, because the CDP's quota is used up until then.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn postpone_erasures(&mut self, until: Timestamp) -> Result<(), StateError> {
        self.begin()?;
        self.attempt(|connection| connection.execute("UPDATE erasing SET not_before = ?1", [until.as_microsecond()]))?;
        self.commit()
    }

    /// Before which instant no erasure is to be asked for.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn erasures_postponed(&self) -> Result<Option<Timestamp>, StateError> {
        self.attempt(|connection| {
            connection
                .query_row(
                    "SELECT not_before FROM erasing WHERE not_before IS NOT NULL",
                    [],
                    |row| instant(row, 0),
                )
                .optional()
        })
    }

    /// The requests that the CDP has taken on and not ended, and of which it was not asked since an instant, the longest ago
    /// first: at most `limit`.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn running_erasures(&self, since: Timestamp, limit: usize) -> Result<Vec<Running>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.attempt(|connection| {
            connection
                .prepare(
                    "SELECT number, regulation FROM erasure_request
                     WHERE regulation IS NOT NULL AND status IS NULL AND COALESCE(asked, requested) <= ?1
                     ORDER BY COALESCE(asked, requested), number LIMIT ?2",
                )?
                .query_map(params![since.as_microsecond(), limit], |row| {
                    Ok(Running {
                        number: row.get(0)?,
                        regulation: row.get(1)?,
                    })
                })?
                .collect()
        })
    }

    /// Notes what the CDP says of a request. Where it has ended, records that returned meanwhile are delivered once more; the
    /// profiles of the others may be looked for from `look` on.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn erasure_stands(
        &mut self,
        request: &Running,
        standing: &Standing,
        now: Timestamp,
        look: Timestamp,
    ) -> Result<(), StateError> {
        self.begin()?;
        let number = request.number;
        let (status, sent) = match standing {
            Standing::Running => {
                self.attempt(|connection| {
                    connection.execute(
                        "UPDATE erasure_request SET asked = ?2 WHERE number = ?1",
                        params![number, now.as_microsecond()],
                    )
                })?;
                return self.commit();
            }
            Standing::Finished(status) => (status, Sent::ErasureFinished),
            Standing::Failed { status, .. } => (status, Sent::ErasureFailed),
        };
        let (kind, gone, returned, letters) = self.attempt(|connection| {
            connection.execute(
                "UPDATE erasure_request SET asked = ?2, status = ?3, ended = ?2 WHERE number = ?1",
                params![number, now.as_microsecond(), status],
            )?;
            let back: Vec<String> = connection
                .prepare("SELECT record FROM erasure WHERE request = ?1 AND back = 1")?
                .query_map([number], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for record in &back {
                erasure::deliver_again(connection, record)?;
            }
            connection.execute("DELETE FROM erasure WHERE request = ?1 AND back = 1", [number])?;
            let gone = records_of(connection, number)?;
            let mut letters = 0;
            match standing {
                Standing::Failed { advice, .. } => {
                    for record in &gone {
                        letters += write_letter(connection, record, advice, &self.mapping, now)?;
                    }
                }
                _ => {
                    connection.execute(
                        "UPDATE erasure SET look = ?2 WHERE request = ?1",
                        params![number, look.as_microsecond()],
                    )?;
                }
            }
            let kind: String =
                connection.query_row("SELECT kind FROM erasure_request WHERE number = ?1", [number], |row| {
                    row.get(0)
                })?;
            Ok((kind, gone, !back.is_empty(), letters))
        })?;
        self.outbox.back |= returned;
        self.checkpoint.dead_letters += letters;
        let receipt = Erasure {
            regulation: request.regulation.clone(),
            kind,
            status: Some(status.clone()),
        };
        self.append_erasure(receipt, sent, &gone, now)?;
        self.commit()
    }

    /// The erased people whose profiles are to be looked for, those first that have waited longest: at most `limit`.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn looks(&self, now: Timestamp, limit: usize) -> Result<Vec<Look>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.attempt(|connection| {
            connection
                .prepare(
                    "SELECT record, ended FROM erasure JOIN erasure_request ON number = request
                     WHERE look IS NOT NULL AND look <= ?1 AND back = 0 ORDER BY look, record LIMIT ?2",
                )?
                .query_map(params![now.as_microsecond(), limit], |row| {
                    Ok(Look {
                        record: row.get(0)?,
                        ended: instant(row, 1)?,
                    })
                })?
                .collect()
        })
    }

    /// Has a profile that is still there be looked for again.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn look_again(&mut self, record: &str, at: Timestamp) -> Result<(), StateError> {
        self.begin()?;
        self.attempt(|connection| {
            connection
                .prepare_cached("UPDATE erasure SET look = ?2 WHERE record = ?1")?
                .execute(params![record, at.as_microsecond()])
        })?;
        self.commit()
    }

    /// Notes that the CDP has no profile of an erased person any more or, with `advice`, that it still has one.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn looked(&mut self, record: &str, advice: Option<&str>, now: Timestamp) -> Result<(), StateError> {
        self.begin()?;
        let (receipt, letters) = self.attempt(|connection| {
            let receipt = connection.query_row(
                "SELECT regulation, kind, status FROM erasure JOIN erasure_request ON number = request WHERE record = ?1",
                [record],
                |row| {
                    Ok(Erasure {
                        regulation: row.get(0)?,
                        kind: row.get(1)?,
                        status: row.get(2)?,
                    })
                },
            )?;
            connection
                .prepare_cached("UPDATE erasure SET look = NULL WHERE record = ?1")?
                .execute([record])?;
            let letters = match advice {
                Some(advice) => write_letter(connection, record, advice, &self.mapping, now)?,
                None => 0,
            };
            Ok((receipt, letters))
        })?;
        self.checkpoint.dead_letters += letters;
        let sent = match advice {
            None => Sent::ErasureConfirmed,
            Some(_) => Sent::ErasureContradicted,
        };
        self.append_erasure(receipt, sent, &[record.to_owned()], now)?;
        self.commit()
    }

    fn letters_cleared(&mut self, cleared: i64) {
        self.checkpoint.dead_letters -= cleared;
    }

    fn append_erasure(
        &mut self,
        receipt: Erasure,
        sent: Sent,
        records: &[String],
        now: Timestamp,
    ) -> Result<(), StateError> {
        self.trail
            .append_erasure(&self.connection, receipt, sent, records, now)
            .map_err(|error| StateError::sqlite(&self.path, error))
    }
}

/// A clock may be this far from the CDP's.
const AROUND: SignedDuration = SignedDuration::from_hours(1);

fn known_around(connection: &Connection, instant: Timestamp) -> rusqlite::Result<Vec<String>> {
    let from = instant.checked_sub(AROUND).unwrap_or(Timestamp::MIN);
    connection
        .prepare("SELECT regulation FROM erasure_request WHERE regulation IS NOT NULL AND requested >= ?1")?
        .query_map([from.as_microsecond()], |row| row.get(0))?
        .collect()
}

/// The records of a request.
fn records_of(connection: &Connection, number: i64) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT record FROM erasure WHERE request = ?1 ORDER BY record")?
        .query_map([number], |row| row.get(0))?
        .collect()
}

/// Writes the dead letter of an erasure; returns by how many the dead letters have grown.
fn write_letter(
    connection: &Connection,
    record: &str,
    rule: &str,
    mapping: &str,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let before: i64 = connection
        .prepare_cached("SELECT COUNT(*) FROM dead_letter WHERE id = ?1")?
        .query_row([record], |row| row.get(0))?;
    connection
        .prepare_cached(
            "INSERT INTO dead_letter (id, stamp, stage, path, rule, mapping, first, last, attempts)
             VALUES (?1, COALESCE((SELECT stamp FROM record WHERE id = ?1), ?6), ?2, ?3, ?4, ?5, ?6, ?6, 1)
             ON CONFLICT (id) DO UPDATE SET stage = excluded.stage, path = excluded.path, rule = excluded.rule,
                 mapping = excluded.mapping, last = excluded.last, attempts = attempts + 1",
        )?
        .execute(params![
            record,
            Stage::Erase.as_str(),
            "erasure",
            rule,
            mapping,
            now.as_microsecond()
        ])?;
    connection
        .prepare_cached("UPDATE record SET flags = flags | ?2 WHERE id = ?1")?
        .execute(params![record, DEAD_LETTER])?;
    Ok(1 - before)
}

fn forget_letter(connection: &Connection, record: &str) -> rusqlite::Result<i64> {
    let cleared = erasure::clear_letter(connection, record)?;
    if cleared > 0 {
        connection
            .prepare_cached("UPDATE record SET flags = flags & ~?2 WHERE id = ?1")?
            .execute(params![record, DEAD_LETTER])?;
    }
    Ok(cleared)
}
