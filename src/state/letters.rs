//! A stream's dead letters: listed, discarded, or asked for anew, beside a run that may be under way. It fences off none.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, Row, ToSql, TransactionBehavior, named_params};

use super::store::{DEAD_LETTER, instant};
use super::{DeadLetter, Reader, StateError, Store, file_of, schema};
use crate::source::Recalled;

/// The records that the next run reads by their ids, and since when.
pub(super) const TABLES: &str = "
    CREATE TABLE replay (
        record TEXT NOT NULL PRIMARY KEY,
        asked  INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
";

pub(super) const EMPTY: &str = "DELETE FROM replay";

const COLUMNS: &str = "id, stamp, stage, path, rule, mapping, first, last, attempts";
/// The letters that [`Which`] names.
const CHOSEN: &str = "(:path IS NULL OR path = :path)
    AND (:mapping IS NULL OR mapping = :mapping)
    AND (:records IS NULL OR id IN (SELECT value FROM json_each(:records)))";

/// Which dead letters: those for which all holds that is said. By default all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Of these records, by the CRM's ids; of any, where it is empty.
    pub records: Vec<String>,
    /// With this path.
    pub path: Option<String>,
    /// Of this mapping and version, `customer 2.1.0`.
    pub mapping: Option<String>,
}

impl Which {
    /// A JSON array of the records; none for any.
    fn of_records(&self) -> Option<String> {
        (!self.records.is_empty()).then(|| serde_json::json!(self.records).to_string())
    }
}

/// A stream's dead letters.
#[derive(Debug)]
pub struct Letters {
    connection: Connection,
    path: PathBuf,
}

impl Letters {
    /// Opens a stream's store; none where there is no store.
    ///
    /// # Errors
    /// Where it can't be opened, or another version of Ferrygate wrote it.
    pub fn open(directory: &Path, stream: &str) -> Result<Option<Letters>, StateError> {
        let path = file_of(directory, stream);
        if !path.exists() {
            return Ok(None);
        }
        let connection = schema::open_beside(&path)?;
        schema::is_of_this_version(&connection, &path)?;
        Ok(Some(Letters { connection, path }))
    }

    /// The letters by record id, at most `limit` of them, and how many there are in all.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn list(&self, which: &Which, limit: usize) -> Result<(Vec<DeadLetter>, i64), StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let records = which.of_records();
        let query = || {
            let mut statement = self.connection.prepare(&format!(
                "SELECT {COLUMNS} FROM dead_letter WHERE {CHOSEN} ORDER BY id LIMIT :limit"
            ))?;
            let mut chosen = named(which, &records).to_vec();
            chosen.push((":limit", &limit));
            let letters = statement.query_map(chosen.as_slice(), letter)?;
            let letters: Vec<DeadLetter> = letters.collect::<rusqlite::Result<_>>()?;
            let all = self.connection.query_row(
                &format!("SELECT COUNT(*) FROM dead_letter WHERE {CHOSEN}"),
                &named(which, &records)[..],
                |row| row.get(0),
            )?;
            Ok((letters, all))
        };
        query().map_err(|error| StateError::sqlite(&self.path, error))
    }

    /// Asks the stream's next run to read the records again; returns how many. What is delivered then loses its letter.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn replay(&mut self, which: &Which, now: Timestamp) -> Result<usize, StateError> {
        let (records, asked) = (which.of_records(), now.as_microsecond());
        let mut all = named(which, &records).to_vec();
        all.push((":asked", &asked));
        self.connection
            .execute(
                &format!(
                    "INSERT OR REPLACE INTO replay (record, asked) SELECT id, :asked FROM dead_letter WHERE {CHOSEN}"
                ),
                all.as_slice(),
            )
            .map_err(|error| StateError::sqlite(&self.path, error))
    }

    /// Forgets letters, for good; returns how many. A later version of such a record is dealt with as any.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn discard(&mut self, which: &Which) -> Result<usize, StateError> {
        let records = which.of_records();
        let chosen = named(which, &records);
        let path = self.path.clone();
        let discard = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut flagged = chosen.to_vec();
            let letter = DEAD_LETTER;
            flagged.push((":letter", &letter));
            transaction.execute(
                &format!(
                    "UPDATE record SET flags = flags & ~:letter WHERE id IN (SELECT id FROM dead_letter WHERE {CHOSEN})"
                ),
                flagged.as_slice(),
            )?;
            let gone = transaction.execute(&format!("DELETE FROM dead_letter WHERE {CHOSEN}"), &chosen[..])?;
            transaction.commit()?;
            Ok(gone)
        };
        discard(&mut self.connection).map_err(|error| StateError::sqlite(&path, error))
    }
}

type Named<'v> = (&'static str, &'v dyn ToSql);

fn named<'v>(which: &'v Which, records: &'v Option<String>) -> [Named<'v>; 3] {
    [
        (":path", &which.path),
        (":mapping", &which.mapping),
        (":records", records),
    ]
}

pub(super) fn letter(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        record_id: row.get(0)?,
        stamp: instant(row, 1)?,
        stage: row.get(2)?,
        path: row.get(3)?,
        rule: row.get(4)?,
        mapping: row.get(5)?,
        first: instant(row, 6)?,
        last: instant(row, 7)?,
        attempts: row.get(8)?,
    })
}

impl Store {
    /// The dead letters by record id: at most `limit` of them.
    pub fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, StateError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.attempt(|connection| {
            let mut statement =
                connection.prepare(&format!("SELECT {COLUMNS} FROM dead_letter ORDER BY id LIMIT ?1"))?;
            let letters = statement.query_map([limit], letter)?;
            letters.collect()
        })
    }

    /// Whether records were asked for anew by an instant.
    pub fn keeps_replays(&self, by: Timestamp) -> Result<bool, StateError> {
        self.attempt(|connection| {
            connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM replay WHERE asked <= ?1)",
                [by.as_microsecond()],
                |row| row.get(0),
            )
        })
    }

    /// Notes that the records which were asked for by an instant were read. It becomes lasting with the next commit.
    pub fn end_replays(&mut self, by: Timestamp) -> Result<(), StateError> {
        self.begin()?;
        self.attempt(|connection| {
            connection
                .execute("DELETE FROM replay WHERE asked <= ?1", [by.as_microsecond()])
                .map(drop)
        })
    }
}

impl Reader {
    /// The next records that were asked for anew by an instant, by their ids: at most `limit` of them after the given one. One that
    /// the store does not know has the instant for its stamp.
    pub fn replayed(&self, by: Timestamp, after: Option<&Recalled>, limit: usize) -> Result<Vec<Recalled>, StateError> {
        let after = after.map_or("", |after| after.record_id.as_str());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT p.record, COALESCE(r.stamp, :by) FROM replay p LEFT JOIN record r ON r.id = p.record
                 WHERE p.asked <= :by AND p.record > :after ORDER BY p.record LIMIT :limit",
            )?;
            let records = statement.query_map(
                named_params! {":by": by.as_microsecond(), ":after": after, ":limit": limit},
                super::reader::recalled,
            )?;
            records.collect()
        })
    }
}
