//! The one writer of a store.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::audit::Trail;
use super::entries::{Entries, Fate, Row, Stage};
use super::erasure::{self, ErasureNote, Outbox};
use super::identity::{self, Identities};
use super::{
    Between, Cause, Checkpoint, Opening, Origin, Reader, Remembered, StateError, consent, file_of, letters, resume,
    schema,
};
use crate::api::mapping_version::LegalBasis;
use crate::api::sync_pipeline::{Counts, Watermark};
use crate::source::ObjectDescription;

/// Flags of a record: it was deleted in the CRM.
pub(super) const DELETED: i64 = 1;
/// It is a dead letter.
pub(super) const DEAD_LETTER: i64 = 2;

/// The one writer of a store. Records are applied to an open transaction, and become lasting, together with the checkpoint
/// that rests on them, by [`Store::commit`].
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    run: String,
    epoch: i64,
    writer: String,
    pub(super) mapping: String,
    pub(super) checkpoint: Checkpoint,
    writing: bool,
    pub(super) identities: Identities,
    /// Whether an instant is kept at which a record's consent ends.
    ends_kept: bool,
    pub(super) outbox: Outbox,
    pub(super) trail: Trail,
}

impl Store {
    /// Opens a stream's store, makes it where it isn't there, and fences off every run, and every pod of this run, that opened
    /// it before.
    pub fn open(opening: &Opening<'_>) -> Result<(Store, Remembered), StateError> {
        let path = file_of(opening.directory, opening.stream);
        std::fs::create_dir_all(opening.directory).map_err(|cause| StateError::unavailable(&path, cause))?;
        let (connection, new) = schema::open(&path)?;
        let Opening { stream, between, .. } = opening;
        let trail = Trail::open(&connection, opening.run, stream, between, opening.mapping)
            .map_err(|error| StateError::sqlite(&path, error))?;
        let mut store = Store {
            connection,
            path,
            run: opening.run.to_owned(),
            epoch: opening.epoch,
            writer: writer_name(),
            mapping: opening.mapping.to_owned(),
            checkpoint: Checkpoint::default(),
            writing: false,
            identities: Identities::default(),
            ends_kept: false,
            outbox: Outbox::default(),
            trail,
        };
        let remembered = store.take_over(opening, new)?;
        Ok((store, remembered))
    }

    fn take_over(&mut self, opening: &Opening<'_>, new: bool) -> Result<Remembered, StateError> {
        self.execute("BEGIN IMMEDIATE")?;
        let stored: Option<(Between, String, i64, bool)> = self.attempt(|connection| {
            connection
                .query_row(
                    "SELECT object, source, sink, run, epoch, begun FROM stream",
                    [],
                    |row| {
                        let between = Between {
                            object: row.get(0)?,
                            source: row.get(1)?,
                            sink: row.get(2)?,
                        };
                        Ok((between, row.get(3)?, row.get(4)?, row.get(5)?))
                    },
                )
                .optional()
        })?;
        let mut origin = if new { Origin::New } else { Origin::Kept };
        let mut left = 0;
        match stored {
            Some((_, by, by_epoch, _)) if by_epoch > self.epoch => return Err(self.superseded(by, by_epoch)),
            Some((between, run, epoch, begun)) => {
                if !begun {
                    origin = Origin::New;
                }
                if !between.holds_for(&opening.between) {
                    left = self.attempt(erasure::waiting)?;
                    self.execute(
                        "DELETE FROM record; DELETE FROM dead_letter; DELETE FROM described; DELETE FROM consent_end;
                         DELETE FROM stream",
                    )?;
                    self.execute(identity::EMPTY)?;
                    self.execute(erasure::EMPTY)?;
                    self.execute(letters::EMPTY)?;
                    self.execute(resume::EMPTY)?;
                    origin = Origin::Other(between);
                } else if run != self.run || epoch != self.epoch {
                    self.execute(
                        "UPDATE stream SET read = 0, delivered = 0, unchanged = 0, suppressed = 0, rejected = 0",
                    )?;
                }
            }
            // A file with tables and without its one row: its maker was killed in between.
            None => origin = Origin::New,
        }
        // A store that was emptied begins at once: a watermark that was published for something else says nothing here.
        let emptied = matches!(origin, Origin::Other(_));
        let Between { object, source, sink } = &opening.between;
        self.attempt(|connection| {
            connection.execute(
                "INSERT INTO stream (one, object, source, sink, run, epoch, writer, begun)
                 VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (one) DO UPDATE SET source = excluded.source, sink = excluded.sink,
                 run = excluded.run, epoch = excluded.epoch, writer = excluded.writer",
                params![object, source, sink, self.run, self.epoch, self.writer, emptied],
            )
        })?;
        self.checkpoint = self.attempt(read_checkpoint)?;
        self.identities = self.attempt(Identities::read)?;
        self.ends_kept = self.attempt(consent::any)?;
        self.outbox = self.attempt(|connection| Outbox::read(connection, left))?;
        // Read again under the lock: the run that is superseded may have written until now.
        self.trail
            .renew(&self.connection)
            .map_err(|error| StateError::sqlite(&self.path, error))?;
        let any: bool = self
            .attempt(|connection| connection.query_row("SELECT EXISTS (SELECT 1 FROM record)", [], |row| row.get(0)))?;
        self.execute("COMMIT")?;
        Ok(Remembered { origin, empty: !any })
    }

    /// How far the stream has come, with what is applied and not committed yet.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Goes on from a watermark that was published before the store was lost.
    pub fn go_on_from(&mut self, watermark: Watermark) {
        self.checkpoint.watermark = Some(watermark);
        self.checkpoint.partial = true;
    }

    /// Says that the CDP's picture is complete up to this instant. It becomes lasting with the next commit.
    pub fn complete_as_of(&mut self, instant: Timestamp) {
        let before = self.checkpoint.complete_as_of;
        self.checkpoint.complete_as_of = Some(before.map_or(instant, |before| before.max(instant)));
    }

    /// Whether an instant is kept at which the consent of some record ends.
    pub fn keeps_ends(&self) -> bool {
        self.ends_kept
    }

    /// Notes that records are about to be sent. Tells whether a run before this one noted so and did not come to its end: the
    /// CDP may then hold what the store does not know of, even of a record that the store knows as suppressed.
    pub fn begin_delivering(&mut self) -> Result<bool, StateError> {
        self.begin()?;
        let in_doubt = self.attempt(|connection| {
            connection.query_row("SELECT EXISTS (SELECT 1 FROM delivering)", [], |row| row.get(0))
        })?;
        self.execute("INSERT OR IGNORE INTO delivering (one) VALUES (1)")?;
        Ok(in_doubt)
    }

    /// Notes that everything that was sent is known.
    pub fn end_delivering(&mut self) -> Result<(), StateError> {
        self.begin()?;
        self.execute("DELETE FROM delivering")
    }

    /// Names the mapping's purposes for the audit trail, in the order in which statements of them come.
    pub fn name_purposes(&mut self, purposes: Vec<(String, LegalBasis)>) {
        self.trail.name_purposes(purposes);
    }

    /// A second connection for looking records up.
    pub fn reader(&self) -> Result<Reader, StateError> {
        Reader::open(self.path.clone())
    }

    /// Applies acknowledged records to the open transaction, and opens one where there is none. `now` marks dead letters.
    pub fn apply(&mut self, entries: &Entries, now: Timestamp) -> Result<(), StateError> {
        self.begin()?;
        let grown = apply(&self.connection, entries, self.epoch, &self.mapping, now)
            .map_err(|error| StateError::sqlite(&self.path, error))?;
        let writer = identity::Writer {
            connection: &self.connection,
            run: &self.run,
            epoch: self.epoch,
            mapping: &self.mapping,
            now,
        };
        writer
            .apply(entries, &mut self.identities)
            .and_then(|()| consent::remember(&self.connection, entries, &mut self.ends_kept))
            .and_then(|()| self.trail.append(&self.connection, entries, now))
            .map_err(|error| StateError::sqlite(&self.path, error))?;
        let cleared = erasure::note(&self.connection, entries, &mut self.outbox, now)
            .map_err(|error| StateError::sqlite(&self.path, error))?;
        self.checkpoint.dead_letters += grown.letters - cleared;
        self.checkpoint.standing += grown.standing;
        if let Some((reading, point)) = entries.resume_point() {
            self.resume_at(reading, point)?;
        }
        let mut last = None;
        for (id, _, row) in entries.rows() {
            if !row.counted {
                let counts = &mut self.checkpoint.counts;
                counts.read += 1;
                match row.fate {
                    Fate::Delivered => counts.delivered += 1,
                    Fate::Suppressed | Fate::Withheld => counts.suppressed += 1,
                    Fate::Unchanged => counts.unchanged += 1,
                    Fate::Rejected => counts.rejected += 1,
                }
            }
            if row.in_order {
                last = Some((row.stamp, id));
            }
        }
        // The look-back begins behind the watermark, and never moves it backwards.
        if let Some((stamp, id)) = last.filter(|&(stamp, id)| self.is_ahead(stamp, id)) {
            let id = id.to_owned();
            self.checkpoint.watermark = Some(Watermark { stamp, id });
        }
        Ok(())
    }

    /// Moves the watermark to a record before which nothing is missing, and never backwards. It becomes lasting with the next commit.
    pub fn advance(&mut self, reached: Watermark) {
        if self.is_ahead(reached.stamp, &reached.id) {
            self.checkpoint.watermark = Some(reached);
        }
    }

    fn is_ahead(&self, stamp: Timestamp, id: &str) -> bool {
        let watermark = self.checkpoint.watermark.as_ref();
        watermark.is_none_or(|mark| (mark.stamp, mark.id.as_str()) < (stamp, id))
    }

    /// Makes what was applied, and the checkpoint that rests on it, lasting in one step.
    pub fn commit(&mut self) -> Result<(), StateError> {
        self.begin()?;
        let Checkpoint {
            watermark,
            complete_as_of,
            counts,
            dead_letters: _,
            standing,
            partial,
        } = &self.checkpoint;
        self.connection
            .prepare_cached(
                "UPDATE stream SET watermark_stamp = ?1, watermark_id = ?2, complete_as_of = ?3, read = ?4, delivered = ?5,
                 unchanged = ?6, suppressed = ?7, rejected = ?8, partial = ?9,
                 standing = ?10, begun = 1",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    watermark.as_ref().map(|mark| mark.stamp.as_microsecond()),
                    watermark.as_ref().map(|mark| &mark.id),
                    complete_as_of.map(Timestamp::as_microsecond),
                    counts.read,
                    counts.delivered,
                    counts.unchanged,
                    counts.suppressed,
                    counts.rejected,
                    partial,
                    standing,
                ])
            })
            .map_err(|error| StateError::sqlite(&self.path, error))?;
        self.execute("COMMIT")?;
        self.writing = false;
        Ok(())
    }

    /// The object as the CRM described it when it was last kept, and under which mapping. A description that this version can't
    /// read counts as none.
    pub fn described(&self) -> Result<Option<(String, ObjectDescription)>, StateError> {
        let kept: Option<(String, String)> = self.attempt(|connection| {
            connection
                .query_row("SELECT mapping, description FROM described", [], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()
        })?;
        Ok(kept.and_then(|(mapping, text)| Some((mapping, serde_json::from_str(&text).ok()?))))
    }

    /// Keeps the object as the CRM describes it: what comes later is compared with this.
    pub fn keep_described(&mut self, mapping: &str, description: &ObjectDescription) -> Result<(), StateError> {
        let text = serde_json::to_string(description).expect("a description is made of texts and numbers");
        self.begin()?;
        self.attempt(|connection| {
            connection.execute(
                "INSERT INTO described (one, mapping, description) VALUES (1, ?1, ?2)
                 ON CONFLICT (one) DO UPDATE SET mapping = excluded.mapping, description = excluded.description",
                params![mapping, text],
            )
        })?;
        self.commit()
    }

    /// Why the store's dead letters are there, the most frequent causes first: at most `limit` of them.
    pub fn causes(&self, limit: usize) -> Result<Vec<Cause>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.attempt(|connection| {
            let mut statement = connection.prepare(
                "SELECT path, rule, COUNT(*) AS records FROM dead_letter
                 GROUP BY path, rule ORDER BY records DESC, path, rule LIMIT ?1",
            )?;
            let causes = statement.query_map([limit], |row| {
                Ok(Cause {
                    path: row.get(0)?,
                    rule: row.get(1)?,
                    records: row.get(2)?,
                })
            })?;
            causes.collect()
        })
    }

    /// The number of the last run that opened a stream's store; 0 where there is no store.
    pub fn last_epoch(directory: &Path, stream: &str) -> Result<i64, StateError> {
        let path = file_of(directory, stream);
        if !path.exists() {
            return Ok(0);
        }
        let (connection, _) = schema::open(&path)?;
        connection
            .query_row("SELECT epoch FROM stream", [], |row| row.get(0))
            .optional()
            .map(Option::unwrap_or_default)
            .map_err(|error| StateError::sqlite(&path, error))
    }

    pub(super) fn begin(&mut self) -> Result<(), StateError> {
        if self.writing {
            return Ok(());
        }
        self.execute("BEGIN IMMEDIATE")?;
        let (by, by_epoch, writer): (String, i64, String) = self.attempt(|connection| {
            connection
                .prepare_cached("SELECT run, epoch, writer FROM stream")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        })?;
        if writer != self.writer {
            self.execute("ROLLBACK")?;
            return Err(self.superseded(by, by_epoch));
        }
        self.writing = true;
        Ok(())
    }

    fn superseded(&self, by: String, by_epoch: i64) -> StateError {
        StateError::Superseded {
            run: self.run.clone(),
            epoch: self.epoch,
            by,
            by_epoch,
        }
    }

    pub(super) fn attempt<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        query(&self.connection).map_err(|error| StateError::sqlite(&self.path, error))
    }

    pub(super) fn execute(&self, sql: &str) -> Result<(), StateError> {
        self.attempt(|connection| connection.execute_batch(sql))
    }

    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: i64) {
        self.connection
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .expect("a pragma");
    }
}

/// A name that no other process, here or in another pod, has.
fn writer_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    format!("{host}/{}/{}", std::process::id(), since.as_nanos())
}

pub(super) fn instant(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let microseconds: i64 = row.get(column)?;
    Timestamp::from_microsecond(microseconds)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, microseconds))
}

fn read_checkpoint(connection: &Connection) -> rusqlite::Result<Checkpoint> {
    connection.query_row(
        "SELECT watermark_stamp, watermark_id, complete_as_of, read, delivered, unchanged, suppressed, rejected, partial,
                (SELECT COUNT(*) FROM dead_letter), standing
         FROM stream",
        [],
        |row| {
            let watermark = match row.get::<_, Option<String>>(1)? {
                Some(id) => Some(Watermark {
                    stamp: instant(row, 0)?,
                    id,
                }),
                None => None,
            };
            let complete_as_of = match row.get::<_, Option<i64>>(2)? {
                Some(_) => Some(instant(row, 2)?),
                None => None,
            };
            Ok(Checkpoint {
                watermark,
                complete_as_of,
                counts: Counts {
                    read: row.get(3)?,
                    delivered: row.get(4)?,
                    unchanged: row.get(5)?,
                    suppressed: row.get(6)?,
                    rejected: row.get(7)?,
                },
                partial: row.get(8)?,
                dead_letters: row.get(9)?,
                standing: row.get(10)?,
            })
        },
    )
}

/// By how many the dead letters, and the records that are not deleted, have grown.
struct Grown {
    letters: i64,
    standing: i64,
}

/// Writes records and dead letters.
fn apply(
    connection: &Connection,
    entries: &Entries,
    epoch: i64,
    mapping: &str,
    now: Timestamp,
) -> rusqlite::Result<Grown> {
    let mut standing = connection.prepare_cached("SELECT flags & ?2 = 0 FROM record WHERE id = ?1")?;
    let mut record = connection.prepare_cached(
        "INSERT INTO record (id, stamp, epoch, flags, fingerprint, watched, identity, delivered_epoch, delivered_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, epoch = excluded.epoch, flags = excluded.flags,
             fingerprint = excluded.fingerprint, watched = excluded.watched,
             identity = COALESCE(excluded.identity, identity),
             delivered_epoch = COALESCE(excluded.delivered_epoch, delivered_epoch),
             delivered_at = COALESCE(excluded.delivered_at, delivered_at)",
    )?;
    // That a deleted record was read again mends nothing that keeps its erasure from being done.
    let mut clear = connection.prepare_cached("DELETE FROM dead_letter WHERE id = ?1 AND (stage <> ?2 OR NOT ?3)")?;
    let mut grown = Grown {
        letters: 0,
        standing: 0,
    };
    for (id, watched, row) in entries.rows() {
        let stood: Option<bool> = standing.query_row(params![id, DELETED], |row| row.get(0)).optional()?;
        grown.standing += i64::from(!row.deleted) - i64::from(stood.unwrap_or_default());
        if row.fate == Fate::Rejected {
            grown.letters += reject(connection, id, row, entries.identity(row), epoch, mapping, now)?;
            continue;
        }
        if row.had_letter {
            let due = row.erasure == ErasureNote::Due;
            let cleared = clear.execute(params![id, Stage::Erase.as_str(), due])?;
            grown.letters -= i64::try_from(cleared).unwrap_or_default();
        }
        let watched = some(watched);
        let identity = some(entries.identity(row));
        let flags = flag(row.deleted, DELETED);
        if row.fate == Fate::Withheld {
            withhold(connection, id, row, epoch, flags)?;
            continue;
        }
        let delivered = matches!(row.fate, Fate::Delivered | Fate::Suppressed);
        record.execute(params![
            id,
            row.stamp.as_microsecond(),
            epoch,
            flags,
            row.fingerprint,
            watched,
            identity,
            delivered.then_some(epoch),
            delivered.then(|| now.as_microsecond()),
        ])?;
    }
    Ok(grown)
}

/// Writes that a record was dealt with, and nothing sent of it: what the CDP was last told stays known.
fn withhold(connection: &Connection, id: &str, row: &Row, epoch: i64, flags: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO record (id, stamp, epoch, flags) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, epoch = excluded.epoch, flags = excluded.flags",
        )?
        .execute(params![id, row.stamp.as_microsecond(), epoch, flags])?;
    Ok(())
}

/// Writes a dead letter. What the CDP was last told of the record stays known, or is the suppression beside the letter.
fn reject(
    connection: &Connection,
    id: &str,
    row: &Row,
    identity: &[u8],
    epoch: i64,
    mapping: &str,
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let stamp = row.stamp.as_microsecond();
    connection
        .prepare_cached(
            "INSERT INTO record (id, stamp, epoch, flags, fingerprint, identity) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET stamp = excluded.stamp, epoch = excluded.epoch, flags = excluded.flags,
                 fingerprint = COALESCE(excluded.fingerprint, fingerprint),
                 identity = COALESCE(excluded.identity, identity)",
        )?
        .execute(params![
            id,
            stamp,
            epoch,
            DEAD_LETTER | flag(row.deleted, DELETED),
            row.fingerprint,
            some(identity),
        ])?;
    let Some(letter) = &row.letter else { return Ok(0) };
    let now = now.as_microsecond();
    let attempt = i64::from(!row.counted);
    let values = params![
        id,
        stamp,
        letter.stage.as_str(),
        letter.path,
        letter.rule,
        mapping,
        now,
        attempt
    ];
    let repeated = connection
        .prepare_cached(
            "UPDATE dead_letter SET stamp = ?2, stage = ?3, path = ?4, rule = ?5, mapping = ?6, last = ?7,
                 attempts = attempts + ?8 WHERE id = ?1",
        )?
        .execute(values)?;
    if repeated > 0 {
        return Ok(0);
    }
    connection
        .prepare_cached(
            "INSERT INTO dead_letter (id, stamp, stage, path, rule, mapping, first, last, attempts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, MAX(?8, 1))",
        )?
        .execute(values)?;
    Ok(1)
}

fn some(bytes: &[u8]) -> Option<&[u8]> {
    Some(bytes).filter(|bytes| !bytes.is_empty())
}

fn flag(set: bool, flag: i64) -> i64 {
    if set { flag } else { 0 }
}
