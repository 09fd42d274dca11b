//! The identity map: who has which value of a tracked key, who is known by it at the CDP, and who goes on as whom.
//!
//! - `identity_held` has the value with which the CRM shows each record: written while a stream's keys are read, before any of
//!   its records is delivered.
//! - `identity_used` has the values by which the CDP was told of a record, and the run that did so first. `active` ones are
//!   those of the record's last verdict.
//! - `identity_touched` has the values of which somebody was found to have taken or left them, until the run has asked whose
//!   verdict that changes; these records, and the ones that stay of a merge, are then in `identity_again`.
//! - `identity_link` has who goes on as whom.
//!
//! Values are there as keyed hashes only.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::entries::{Entries, Fate};
use super::reader::{Reader, recalled};
use super::{StateError, Store};
use crate::identity::{Evidence, KeyHash, Relation, recall};
use crate::source::Recalled;

pub(super) const TABLES: &str = "
    CREATE TABLE run (
        epoch   INTEGER PRIMARY KEY,
        run     TEXT NOT NULL,
        mapping TEXT NOT NULL
    ) STRICT;
    CREATE TABLE identity_tracking (
        kind       TEXT NOT NULL PRIMARY KEY,
        definition TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE identity_held (
        record TEXT NOT NULL,
        kind   TEXT NOT NULL,
        hash   BLOB NOT NULL,
        PRIMARY KEY (record, kind)
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX identity_held_hash ON identity_held (hash);
    CREATE TABLE identity_used (
        hash   BLOB NOT NULL,
        record TEXT NOT NULL,
        kind   TEXT NOT NULL,
        epoch  INTEGER NOT NULL,
        active INTEGER NOT NULL,
        PRIMARY KEY (hash, record)
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX identity_used_record ON identity_used (record);
    CREATE TABLE identity_touched (
        hash BLOB NOT NULL PRIMARY KEY,
        kind TEXT NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE identity_again (
        record TEXT NOT NULL PRIMARY KEY,
        forced INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE identity_link (
        record    TEXT NOT NULL PRIMARY KEY,
        relation  TEXT NOT NULL,
        successor TEXT NOT NULL,
        epoch     INTEGER NOT NULL,
        at        INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
";

/// What makes all of them empty.
pub(super) const EMPTY: &str = "
    DELETE FROM run; DELETE FROM identity_tracking; DELETE FROM identity_held; DELETE FROM identity_used;
    DELETE FROM identity_touched; DELETE FROM identity_again; DELETE FROM identity_link;
";

/// What a store's writer knows of its map without asking.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// Whether a key is tracked.
    tracking: bool,
    /// Whether there is a link.
    linked: bool,
    /// Whether this run stands in the table of runs.
    named: bool,
}

impl Identities {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Identities> {
        let linked = connection.query_row("SELECT EXISTS (SELECT 1 FROM identity_link)", [], |row| row.get(0))?;
        Ok(Identities {
            linked,
            ..Identities::default()
        })
    }
}

/// Writes the map's part of some entries into the open transaction.
pub(super) struct Writer<'a> {
    pub(super) connection: &'a Connection,
    pub(super) run: &'a str,
    pub(super) epoch: i64,
    pub(super) mapping: &'a str,
    pub(super) now: Timestamp,
}

impl Writer<'_> {
    pub(super) fn apply(&self, entries: &Entries, identities: &mut Identities) -> rusqlite::Result<()> {
        for (record, kind, hash) in entries.held() {
            self.hold(record, kind, hash)?;
        }
        for (id, _, row) in entries.rows() {
            let delivered = matches!(row.fate, Fate::Delivered | Fate::Suppressed);
            if delivered && !identities.named {
                self.name()?;
                identities.named = true;
            }
            if identities.tracking {
                let identity = if row.deleted { &[] } else { entries.identity(row) };
                if row.deleted || !identity.is_empty() {
                    self.use_keys(id, identity)?;
                }
            }
            if identities.linked && !row.deleted && row.fate == Fate::Delivered {
                self.connection
                    .prepare_cached("DELETE FROM identity_link WHERE record = ?1")?
                    .execute([id])?;
            }
        }
        for (record, successor) in entries.successions() {
            self.link(record, successor.relation, successor.id)?;
            identities.linked = true;
        }
        Ok(())
    }

    /// Names the run, once it has delivered something.
    fn name(&self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO run (epoch, run, mapping) VALUES (?1, ?2, ?3)")?
            .execute(params![self.epoch, self.run, self.mapping])?;
        Ok(())
    }

    fn hold(&self, record: &str, kind: &str, hash: Option<KeyHash>) -> rusqlite::Result<()> {
        let before: Option<[u8; 16]> = self
            .connection
            .prepare_cached("SELECT hash FROM identity_held WHERE record = ?1 AND kind = ?2")?
            .query_row([record, kind], |row| row.get(0))
            .optional()?;
        let now = hash.map(|hash| hash.0);
        if before == now {
            return Ok(());
        }
        match now {
            Some(hash) => self
                .connection
                .prepare_cached("INSERT OR REPLACE INTO identity_held (record, kind, hash) VALUES (?1, ?2, ?3)")?
                .execute(params![record, kind, hash])?,
            None => self
                .connection
                .prepare_cached("DELETE FROM identity_held WHERE record = ?1 AND kind = ?2")?
                .execute([record, kind])?,
        };
        for hash in [before, now].into_iter().flatten() {
            self.connection
                .prepare_cached("INSERT OR IGNORE INTO identity_touched (hash, kind) VALUES (?1, ?2)")?
                .execute(params![hash, kind])?;
        }
        Ok(())
    }

    /// Notes by which tracked values the CDP knows the record from now on.
    fn use_keys(&self, record: &str, identity: &[u8]) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("UPDATE identity_used SET active = 0 WHERE record = ?1 AND active = 1")?
            .execute([record])?;
        for key in recall(identity).keys {
            let Some(hash) = key.hash.filter(|_| key.tracked && key.verdict.is_delivered()) else {
                continue;
            };
            self.connection
                .prepare_cached(
                    "INSERT INTO identity_used (hash, record, kind, epoch, active) VALUES (?1, ?2, ?3, ?4, 1)
                     ON CONFLICT (hash, record) DO UPDATE SET active = 1",
                )?
                .execute(params![hash.0, record, key.kind, self.epoch])?;
        }
        Ok(())
    }

    /// The record that stays of a merge is delivered again after it: what it says must be the last that the CDP hears.
    fn link(&self, record: &str, relation: Relation, successor: &str) -> rusqlite::Result<()> {
        let known = self
            .connection
            .prepare_cached(
                "INSERT INTO identity_link (record, relation, successor, epoch, at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (record) DO UPDATE SET relation = excluded.relation, successor = excluded.successor,
                     epoch = excluded.epoch, at = excluded.at
                 WHERE relation <> excluded.relation OR successor <> excluded.successor",
            )?
            .execute(params![
                record,
                relation.as_str(),
                successor,
                self.epoch,
                self.now.as_microsecond()
            ])?;
        if known > 0 && relation == Relation::Merged {
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO identity_again (record, forced) VALUES (?1, 1)")?
                .execute([successor])?;
        }
        Ok(())
    }
}

/// See [`super::Snapshot::evidence`].
pub(super) fn evidence(
    connection: &Connection,
    record: &str,
    kind: &str,
    hash: KeyHash,
    threshold: u32,
    epoch: i64,
) -> rusqlite::Result<Evidence> {
    connection
        .prepare_cached(
            "SELECT
                 (SELECT COUNT(*) FROM (SELECT 1 FROM identity_held WHERE hash = ?1 LIMIT ?2)),
                 EXISTS (SELECT 1 FROM identity_held WHERE record = ?3 AND kind = ?4 AND hash = ?1),
                 EXISTS (SELECT 1 FROM identity_used WHERE hash = ?1 AND record = ?3 AND epoch < ?5),
                 EXISTS (
                     SELECT 1 FROM identity_used u WHERE u.hash = ?1 AND u.record <> ?3 AND u.epoch < ?5
                     AND NOT EXISTS (SELECT 1 FROM identity_held h WHERE h.record = u.record AND h.kind = ?4 AND h.hash = ?1)
                 ) AND NOT EXISTS (
                     SELECT 1 FROM identity_used u
                     JOIN identity_held h ON h.record = u.record AND h.kind = ?4 AND h.hash = u.hash
                     WHERE u.hash = ?1 AND u.epoch < ?5
                 )",
        )?
        .query_row(params![hash.0, threshold, record, kind, epoch], |row| {
            Ok(Evidence {
                holders: row.get(0)?,
                settled: row.get(1)?,
                own: row.get(2)?,
                given_up: row.get(3)?,
            })
        })
}

impl Reader {
    /// The records that must be delivered again, by their ids, after this one: at most `limit`. `forced` ones also where nothing of
    /// them has changed. What the store does not know has `now` as its stamp.
    pub fn again(
        &self,
        forced: bool,
        now: Timestamp,
        after: Option<&Recalled>,
        limit: usize,
    ) -> Result<Vec<Recalled>, StateError> {
        let after = after.map_or("", |after| after.record_id.as_str());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(|connection| {
            connection
                .prepare_cached(
                    "SELECT a.record, COALESCE(r.stamp, ?2) FROM identity_again a LEFT JOIN record r ON r.id = a.record
                     WHERE a.forced = ?1 AND a.record > ?3 ORDER BY a.record LIMIT ?4",
                )?
                .query_map(params![forced, now.as_microsecond(), after, limit], recalled)?
                .collect()
        })
    }
}

impl Store {
    /// Says which keys are tracked: the kind, and what its value is made from. Tells whether the map knows all values of each
    /// of them; otherwise everything has to be read. It forgets what is known of a key that is made from something else now.
    pub fn track<'k>(&mut self, keys: impl IntoIterator<Item = (&'k str, &'k str)>) -> Result<bool, StateError> {
        let wanted: BTreeMap<&str, &str> = keys.into_iter().collect();
        self.begin()?;
        self.identities.tracking = !wanted.is_empty();
        self.attempt(|connection| {
            let known: BTreeMap<String, String> = connection
                .prepare("SELECT kind, definition FROM identity_tracking")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let stale = |kind: &str, definition: &str| wanted.get(kind) != Some(&definition);
            for (kind, _) in known.iter().filter(|(kind, definition)| stale(kind, definition)) {
                for table in ["tracking", "held", "used", "touched"] {
                    connection.execute(&format!("DELETE FROM identity_{table} WHERE kind = ?1"), [kind])?;
                }
            }
            Ok(wanted
                .iter()
                .all(|(kind, definition)| known.get(*kind).is_some_and(|known| known == definition)))
        })
    }

    /// Says that the map now knows all values of these keys: the kind, and what its value is made from.
    pub fn tracked<'k>(&mut self, keys: impl IntoIterator<Item = (&'k str, &'k str)>) -> Result<(), StateError> {
        self.begin()?;
        self.attempt(|connection| {
            keys.into_iter().try_for_each(|(kind, definition)| {
                connection
                    .execute(
                        "INSERT OR REPLACE INTO identity_tracking (kind, definition) VALUES (?1, ?2)",
                        [kind, definition],
                    )
                    .map(drop)
            })
        })
    }

    /// Notes whose verdict has changed because others have taken or left a value: those that are known by one which is shared
    /// by too many now, and those that may have one which they were refused. `keys` are the tracked kinds and thresholds.
    pub fn settle<'k>(&mut self, keys: impl IntoIterator<Item = (&'k str, u32)>) -> Result<(), StateError> {
        self.begin()?;
        self.attempt(|connection| {
            const HOLDERS: &str = "(SELECT COUNT(*) FROM (SELECT 1 FROM identity_held WHERE hash = t.hash LIMIT ?2))";
            for (kind, threshold) in keys {
                connection.execute(
                    &format!(
                        "INSERT OR IGNORE INTO identity_again (record, forced)
                         SELECT u.record, 0 FROM identity_touched t
                         JOIN identity_used u ON u.hash = t.hash AND u.active = 1
                         WHERE t.kind = ?1 AND {HOLDERS} >= ?2"
                    ),
                    params![kind, threshold],
                )?;
                connection.execute(
                    &format!(
                        "INSERT OR IGNORE INTO identity_again (record, forced)
                         SELECT h.record, 0 FROM identity_touched t JOIN identity_held h ON h.hash = t.hash
                         WHERE t.kind = ?1 AND {HOLDERS} < ?2 AND NOT EXISTS (
                             SELECT 1 FROM identity_used u WHERE u.hash = h.hash AND u.record = h.record AND u.active = 1
                         )"
                    ),
                    params![kind, threshold],
                )?;
            }
            connection.execute("DELETE FROM identity_touched", []).map(drop)
        })
    }

    /// Says that the records which were to be delivered again were.
    pub fn delivered_again(&mut self) -> Result<(), StateError> {
        self.begin()?;
        self.attempt(|connection| connection.execute("DELETE FROM identity_again", []).map(drop))
    }
}
