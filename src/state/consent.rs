//! When the consent of what was delivered ends: the CRM changes nothing at that instant, so that the store must know.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::StateError;
use super::entries::Entries;
use super::reader::{Reader, recalled};
use crate::source::Recalled;

/// The table of ends, with an index by instant: what has ended is found without looking at the rest. And a mark that stands while
/// a run delivers.
pub(super) const TABLES: &str = "
    CREATE TABLE consent_end (
        id   TEXT NOT NULL PRIMARY KEY,
        ends INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX consent_end_by_instant ON consent_end (ends);
    CREATE TABLE delivering (
        one INTEGER PRIMARY KEY CHECK (one = 1)
    ) STRICT;
";

/// When the consent ends that what the CDP holds of a record rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsentEnd {
    /// What is known of it stays.
    #[default]
    Kept,
    /// It ends by no clock; or the CDP holds nothing that rests on it.
    Never,
    /// It ends at this instant.
    At(Timestamp),
}

/// Notes when consent ends. `any` tells whether the table may hold a row.
pub(super) fn remember(connection: &Connection, entries: &Entries, any: &mut bool) -> rusqlite::Result<()> {
    let mut keep = connection.prepare_cached(
        "INSERT INTO consent_end (id, ends) VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET ends = excluded.ends WHERE ends <> excluded.ends",
    )?;
    let mut forget = connection.prepare_cached("DELETE FROM consent_end WHERE id = ?1")?;
    for (id, _, row) in entries.rows() {
        match row.consent_end {
            ConsentEnd::At(instant) => {
                keep.execute(params![id, instant.as_microsecond()])?;
                *any = true;
            }
            ConsentEnd::Never if *any => {
                forget.execute([id])?;
            }
            ConsentEnd::Never | ConsentEnd::Kept => {}
        }
    }
    Ok(())
}

/// Whether an end is known of any record.
pub(super) fn any(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM consent_end)", [], |row| row.get(0))
}

impl Reader {
    /// The next records whose consent has ended by an instant, the longest ago first: at most `limit` of them after the given
    /// one.
    pub fn ended(&self, by: Timestamp, after: Option<&Recalled>, limit: usize) -> Result<Vec<Recalled>, StateError> {
        let (instant, id) = after.map_or((i64::MIN, ""), |after| {
            (after.at.as_microsecond(), after.record_id.as_str())
        });
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, ends FROM consent_end WHERE ends <= ?1 AND (ends, id) > (?2, ?3) ORDER BY ends, id LIMIT ?4",
            )?;
            let ended = statement.query_map(params![by.as_microsecond(), instant, id, limit], recalled)?;
            ended.collect()
        })
    }
}
