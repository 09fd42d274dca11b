//! Looking records up while another connection writes.

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, Row};

use super::{StateError, identity, schema, store};
use crate::identity::{Evidence, KeyHash};
use crate::source::Recalled;

/// Looks records up. It sees what was committed when its snapshot was taken.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

/// From a row of the id and the instant.
pub(super) fn recalled(row: &Row<'_>) -> rusqlite::Result<Recalled> {
    Ok(Recalled {
        record_id: row.get(0)?,
        at: store::instant(row, 1)?,
    })
}

/// What a store knows of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The stamp of the version that was last dealt with, in microseconds since 1970.
    stamp: i64,
    /// The number of the run that last dealt with it.
    pub epoch: i64,
    /// What the CDP was last told of it; nothing, where it was rejected from the first.
    pub fingerprint: Option<[u8; 16]>,
    /// Whether the store holds a dead letter of it.
    pub has_letter: bool,
    watched: Vec<u8>,
}

impl Known {
    /// Whether the version that was last dealt with carries this stamp.
    pub fn is_of(&self, stamp: Timestamp) -> bool {
        self.stamp == stamp.as_microsecond()
    }

    /// The hash of the field that an event watches, at the last delivery. The key is [`watched_key`]'s.
    pub fn watched(&self, key: u64) -> Option<u64> {
        let pairs = self.watched.as_chunks::<16>().0;
        pairs.iter().find_map(|pair| {
            let (event, value) = pair.split_first_chunk::<8>()?;
            let value = value.first_chunk::<8>()?;
            (u64::from_le_bytes(*event) == key).then(|| u64::from_le_bytes(*value))
        })
    }
}

/// The key under which a store keeps what an event watches: FNV-1a over the event's name, so that it stays what it is when a
/// mapping's later version adds or moves events.
pub fn watched_key(event: &str) -> u64 {
    event.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Reader {
    pub(super) fn open(path: PathBuf) -> Result<Reader, StateError> {
        let connection = schema::open_for_reading(&path)?;
        Ok(Reader { connection, path })
    }

    pub(super) fn query<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StateError> {
        query(&self.connection).map_err(|error| StateError::sqlite(&self.path, error))
    }

    /// A consistent view, which should be held for short: while it is, the log behind the store can't be cut.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, StateError> {
        let statement = self
            .connection
            .prepare_cached("SELECT stamp, epoch, flags, fingerprint, watched FROM record WHERE id = ?1")
            .map_err(|error| StateError::sqlite(&self.path, error))?;
        let snapshot = Snapshot {
            reader: self,
            statement,
        };
        snapshot.execute("BEGIN")?;
        Ok(snapshot)
    }
}

/// A consistent view of a store.
pub struct Snapshot<'r> {
    reader: &'r Reader,
    statement: CachedStatement<'r>,
}

impl Snapshot<'_> {
    /// Reads what is known of a record into `known`; tells whether anything is.
    pub fn find(&mut self, id: &str, known: &mut Known) -> Result<bool, StateError> {
        let failed = |error| StateError::sqlite(&self.reader.path, error);
        let mut rows = self.statement.query([id]).map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else {
            return Ok(false);
        };
        let mut read = || -> rusqlite::Result<()> {
            known.stamp = row.get(0)?;
            known.epoch = row.get(1)?;
            let flags: i64 = row.get(2)?;
            known.has_letter = flags & store::DEAD_LETTER != 0;
            known.fingerprint = row.get(3)?;
            known.watched.clear();
            if let Some(watched) = row.get_ref(4)?.as_blob_or_null()? {
                known.watched.extend_from_slice(watched);
            }
            Ok(())
        };
        read().map_err(failed)?;
        Ok(true)
    }

    /// What the identity map holds for and against a record's having a value, before the run with this number delivered
    /// anything. No more than `threshold` of the records that have it are counted.
    pub fn evidence(
        &self,
        record: &str,
        kind: &str,
        hash: KeyHash,
        threshold: u32,
        epoch: i64,
    ) -> Result<Evidence, StateError> {
        identity::evidence(&self.reader.connection, record, kind, hash, threshold, epoch)
            .map_err(|error| StateError::sqlite(&self.reader.path, error))
    }

    pub(super) fn reader(&self) -> &Reader {
        self.reader
    }

    /// Looks at what has been committed since.
    pub fn renew(&mut self) -> Result<(), StateError> {
        self.execute("COMMIT; BEGIN")
    }

    fn execute(&self, sql: &str) -> Result<(), StateError> {
        self.reader
            .connection
            .execute_batch(sql)
            .map_err(|error| StateError::sqlite(&self.reader.path, error))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        // A read transaction that fails to end can lose nothing, and the next snapshot tells of it.
        let _ = self.execute("COMMIT");
    }
}
