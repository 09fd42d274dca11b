//! The tables, and how a connection is set up.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{StateError, audit, consent, erasure, identity, letters, resume};

/// The format that this code writes, in SQLite's `user_version`.
pub(super) const FORMAT: i64 = 9;

/// Marks the file as Ferrygate's: `FGst`, in SQLite's `application_id`.
const APPLICATION: i64 = 0x4647_7374;

/// Files up to this size are checked whole when they are opened: it takes some milliseconds. Larger ones are checked by
/// SQLite as their pages are read.
const CHECKED_WHOLE: u64 = 64 << 20;

/// How long to wait for a pod that is just being superseded.
const BUSY: Duration = Duration::from_secs(30);

// `record` is without a row id: the tree's key is the record's id, and a row is some 50 bytes.
const TABLES: &str = "
    CREATE TABLE stream (
        one             INTEGER PRIMARY KEY CHECK (one = 1),
        object          TEXT NOT NULL,
        source          TEXT NOT NULL DEFAULT '',
        sink            TEXT NOT NULL DEFAULT '',
        run             TEXT NOT NULL,
        epoch           INTEGER NOT NULL,
        writer          TEXT NOT NULL,
        watermark_stamp INTEGER,
        watermark_id    TEXT,
        complete_as_of  INTEGER,
        read            INTEGER NOT NULL DEFAULT 0,
        delivered       INTEGER NOT NULL DEFAULT 0,
        unchanged       INTEGER NOT NULL DEFAULT 0,
        suppressed      INTEGER NOT NULL DEFAULT 0,
        rejected        INTEGER NOT NULL DEFAULT 0,
        partial         INTEGER NOT NULL DEFAULT 0,
        begun           INTEGER NOT NULL,
        standing        INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE record (
        id          TEXT NOT NULL PRIMARY KEY,
        stamp       INTEGER NOT NULL,
        epoch       INTEGER NOT NULL,
        flags       INTEGER NOT NULL,
        fingerprint BLOB,
        watched     BLOB,
        identity    BLOB,
        delivered_epoch INTEGER,
        delivered_at    INTEGER
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE dead_letter (
        id       TEXT NOT NULL PRIMARY KEY,
        stamp    INTEGER NOT NULL,
        stage    TEXT NOT NULL,
        path     TEXT NOT NULL,
        rule     TEXT NOT NULL,
        mapping  TEXT NOT NULL,
        first    INTEGER NOT NULL,
        last     INTEGER NOT NULL,
        attempts INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE described (
        one         INTEGER PRIMARY KEY CHECK (one = 1),
        mapping     TEXT NOT NULL,
        description TEXT NOT NULL
    ) STRICT;
";

/// What brings a file of each format to the next one.
const MIGRATIONS: [&[&str]; FORMAT as usize - 1] = [
    &["
        ALTER TABLE stream ADD COLUMN source TEXT NOT NULL DEFAULT '';
        ALTER TABLE stream ADD COLUMN sink TEXT NOT NULL DEFAULT '';
    "],
    &["
        CREATE TABLE described (
            one         INTEGER PRIMARY KEY CHECK (one = 1),
            mapping     TEXT NOT NULL,
            description TEXT NOT NULL
        ) STRICT;
    "],
    &[
        "
        ALTER TABLE record ADD COLUMN identity BLOB;
        ALTER TABLE record ADD COLUMN delivered_epoch INTEGER;
        ALTER TABLE record ADD COLUMN delivered_at INTEGER;
        ",
        identity::TABLES,
    ],
    &[consent::TABLES, audit::TABLES],
    &[erasure::TABLES],
    &["
        ALTER TABLE stream ADD COLUMN standing INTEGER NOT NULL DEFAULT 0;
        UPDATE stream SET standing = (SELECT COUNT(*) FROM record WHERE flags & 1 = 0);
    "],
    &[resume::TABLES],
    &[letters::TABLES],
];

/// Opens the file for writing, checks it and makes its tables where it has none. Tells whether it had none.
pub(super) fn open(path: &Path) -> Result<(Connection, bool), StateError> {
    let failed = |error| StateError::sqlite(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    // Each pragma bounds memory or the log's size. In WAL mode, synchronous=NORMAL may lose the last transactions with the
    // power, never the file's consistency; what is lost is read and sent again, with the same ids.
    write_ahead(&connection).map_err(failed)?;
    connection
        .execute_batch(
            "PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -8192;
             PRAGMA journal_size_limit = 16777216;
             PRAGMA temp_store = MEMORY;",
        )
        .map_err(failed)?;
    // Under the lock of writers: of two processes that open a new file at once, one makes its tables.
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let version: i64 = pragma(&transaction, "user_version").map_err(failed)?;
    if version > FORMAT {
        return Err(StateError::TooNew {
            path: path.to_owned(),
            found: version,
            known: FORMAT,
        });
    }
    let application: i64 = pragma(&transaction, "application_id").map_err(failed)?;
    let tables: i64 = transaction
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if application != APPLICATION && tables > 0 {
        return Err(StateError::unavailable(
            path,
            "it is a SQLite database of another program",
        ));
    }
    if version > 0 && size <= CHECKED_WHOLE {
        let verdict: String = pragma(&transaction, "quick_check(1)").map_err(failed)?;
        if verdict != "ok" {
            return Err(StateError::Damaged {
                path: path.to_owned(),
                cause: verdict,
            });
        }
    }
    bring_up(&transaction, version).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok((connection, version == 0))
}

/// Sets the log's mode, for which SQLite does not wait where another pod is opening the same new file.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let since = Instant::now();
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && since.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(5));
            }
            set => return set,
        }
    }
}

/// Makes the tables of a new file, and brings a file of an older format to this one.
fn bring_up(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    if version == FORMAT {
        return Ok(());
    }
    if version == 0 {
        for tables in [
            TABLES,
            identity::TABLES,
            consent::TABLES,
            audit::TABLES,
            erasure::TABLES,
            resume::TABLES,
            letters::TABLES,
        ] {
            connection.execute_batch(tables)?;
        }
        connection.pragma_update(None, "application_id", APPLICATION)?;
    } else {
        let passed = usize::try_from(version - 1).unwrap_or_default();
        for migration in MIGRATIONS.into_iter().skip(passed).flatten() {
            connection.execute_batch(migration)?;
        }
    }
    connection.pragma_update(None, "user_version", FORMAT)
}

/// A connection that writes beside the one writer, in transactions of its own: it makes and migrates nothing.
pub(super) fn open_beside(path: &Path) -> Result<Connection, StateError> {
    let failed = |error| StateError::sqlite(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    Ok(connection)
}

/// Refuses a file that another version of Ferrygate wrote.
pub(super) fn is_of_this_version(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let found: i64 = pragma(connection, "user_version").map_err(|error| StateError::sqlite(path, error))?;
    match found {
        FORMAT => Ok(()),
        newer if newer > FORMAT => Err(StateError::TooNew {
            path: path.to_owned(),
            found,
            known: FORMAT,
        }),
        _ => Err(StateError::unavailable(
            path,
            "an older version wrote it; the stream's next run brings it up to date",
        )),
    }
}

/// A second connection, for looking records up while the first one writes.
pub(super) fn open_for_reading(path: &Path) -> Result<Connection, StateError> {
    let failed = |error| StateError::sqlite(path, error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection
        .execute_batch("PRAGMA cache_size = -8192; PRAGMA query_only = TRUE;")
        .map_err(failed)?;
    Ok(connection)
}

pub(super) fn pragma<T: rusqlite::types::FromSql>(connection: &Connection, name: &str) -> rusqlite::Result<T> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}
