//! The org: its clock, its records, and the changes that transactions still hold back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::Config;
use super::bulk::Jobs;
use super::cursors::Cursors;
use super::data::Data;
use super::error::{ApiError, Result};
use super::id::RecordId;
use super::quota::Quota;
use super::schema::Source;
use super::sessions::Sessions;
use super::time::Millis;
use super::value::Value;

#[derive(Debug)]
pub struct Org {
    pub config: Config,
    pub sessions: Sessions,
    pub cursors: Cursors,
    pub quota: Quota,
    pub jobs: Jobs,
    data: RwLock<Data>,
    clock: Mutex<Clock>,
    transactions: Mutex<BTreeMap<String, Transaction>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    offset: Millis,
    fixed: Option<Millis>,
}

/// Changes that were made at `started`, and are seen once they are committed.
#[derive(Debug)]
pub struct Transaction {
    pub started: Millis,
    pub changes: Vec<Change>,
}

/// One change of the org's records, without the checks that the REST API makes of its callers.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "camelCase", deny_unknown_fields)]
pub enum Change {
    Create {
        object: String,
        #[serde(default)]
        fields: Map<String, Json>,
    },
    Update {
        id: String,
        fields: Map<String, Json>,
    },
    Delete {
        id: String,
    },
    Undelete {
        id: String,
    },
    /// The record is deleted, its `MasterRecordId` names the winner, and the contacts and opportunities that referred to
    /// it refer to the winner.
    Merge {
        id: String,
        into: String,
    },
}

impl Org {
    pub fn new(config: Config) -> Self {
        let now = Timestamp::now().as_millisecond();
        let data = Data::new(&config.username, now - now.rem_euclid(1000));
        Self {
            sessions: Sessions::new(&config),
            cursors: Cursors::default(),
            quota: Quota::new(config.daily_requests),
            jobs: Jobs::default(),
            data: RwLock::new(data),
            clock: Mutex::default(),
            transactions: Mutex::default(),
            config,
        }
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Data> {
        self.data.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, Data> {
        self.data.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The org's time, in whole seconds: that is how finely records are stamped.
    pub fn now(&self) -> Millis {
        let clock = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock
            .fixed
            .unwrap_or_else(|| Timestamp::now().as_millisecond())
            .saturating_add(clock.offset);
        now - now.rem_euclid(1000)
    }

    /// Stops the clock at `fixed`, or lets it run `offset` beside the real one.
    pub fn set_clock(&self, fixed: Option<Millis>, offset: Millis) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Clock { offset, fixed };
    }

    pub fn change(&self, change: &Change, at: Millis) -> Result<RecordId> {
        apply(&mut self.write(), change, at)
    }

    fn transactions(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Transaction>> {
        self.transactions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, name: &str, transaction: Transaction) {
        self.transactions().insert(name.to_owned(), transaction);
    }

    /// Makes the transaction's changes visible, under the stamp of its start.
    pub fn commit(&self, name: &str) -> Result<Vec<RecordId>> {
        let mut open = self.transactions();
        let transaction = open.remove(name).ok_or_else(|| ApiError::no_such_record(name))?;
        let mut data = self.write();
        transaction
            .changes
            .iter()
            .map(|change| apply(&mut data, change, transaction.started))
            .collect()
    }

    pub fn roll_back(&self, name: &str) -> bool {
        self.transactions().remove(name).is_some()
    }

    pub fn open_transactions(&self) -> BTreeMap<String, Millis> {
        self.transactions()
            .iter()
            .map(|(name, transaction)| (name.clone(), transaction.started))
            .collect()
    }

    /// Back to an empty org with a running clock. Sessions stay.
    pub fn reset(&self) {
        *self.write() = Data::new(&self.config.username, self.now());
        self.transactions().clear();
        self.cursors.clear();
        self.jobs.reset();
        self.quota.set(Some(0), Some(self.config.daily_requests));
        self.set_clock(None, 0);
    }
}

pub fn known(data: &Data, id: &str) -> Result<(usize, RecordId)> {
    let found = RecordId::parse(id).and_then(|id| {
        let table = data.table_of(id)?;
        data.tables[table].slot(id).map(|_| (table, id))
    });
    found.ok_or_else(|| ApiError::no_such_record(id))
}

fn apply(data: &mut Data, change: &Change, at: Millis) -> Result<RecordId> {
    match change {
        Change::Create { object, fields } => create(data, object, fields, at),
        Change::Update { id, fields } => {
            let (table, id) = known(data, id)?;
            let values = values(data, table, fields)?;
            if let Some(row) = data.tables[table].row_mut(id) {
                for (column, value) in values {
                    row.set(column, value);
                }
                row.touch(at);
            }
            Ok(id)
        }
        Change::Delete { id } => mark(data, id, true, at),
        Change::Undelete { id } => mark(data, id, false, at),
        Change::Merge { id, into } => {
            let ((table, loser), (_, winner)) = (known(data, id)?, known(data, into)?);
            if let Some(column) = data.tables[table].schema.column("MasterRecordId")
                && let Some(row) = data.tables[table].row_mut(loser)
            {
                row.set(column, Value::Id(winner));
            }
            repoint(data, loser, winner, at);
            mark(data, id, true, at)
        }
    }
}

fn create(data: &mut Data, object: &str, fields: &Map<String, Json>, at: Millis) -> Result<RecordId> {
    let index = data.index(object).ok_or_else(ApiError::not_found)?;
    let given = values(data, index, fields)?;
    let owner = data.user;
    let table = &mut data.tables[index];
    let id = table.next_id();
    let slot = table.insert(id, owner, Vec::new(), at);
    for (column, value) in given {
        table.rows[slot].set(column, value);
    }
    Ok(id)
}

fn mark(data: &mut Data, id: &str, deleted: bool, at: Millis) -> Result<RecordId> {
    let (table, id) = known(data, id)?;
    if let Some(row) = data.tables[table].row_mut(id) {
        row.deleted = deleted;
        row.touch(at);
    }
    Ok(id)
}

fn repoint(data: &mut Data, loser: RecordId, winner: RecordId, at: Millis) {
    for table in &mut data.tables {
        for column in ["AccountId", "ContactId", "ReportsToId"] {
            let Some(column) = table.schema.column(column) else {
                continue;
            };
            let refers = |row: &&mut super::data::Row| row.values.get(column) == Some(&Value::Id(loser));
            for row in table.rows.iter_mut().filter(refers) {
                row.set(column, Value::Id(winner));
                row.touch(at);
            }
        }
    }
}

/// The columns and values of these fields; a field without a column of its own can't be set.
fn values(data: &Data, table: usize, fields: &Map<String, Json>) -> Result<Vec<(usize, Value)>> {
    let schema = &data.tables[table].schema;
    let column = |(name, json): (&String, &Json)| {
        let field = schema.field(name).ok_or_else(|| {
            ApiError::bad(
                "INVALID_FIELD",
                format!("No such column '{name}' on sobject of type {}", schema.name),
            )
        })?;
        match field.source {
            Source::Column(column) => Ok((column, Value::from_json(field, json)?)),
            _ => Err(ApiError::bad(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                format!("{name} is computed"),
            )),
        }
    };
    fields.iter().map(column).collect()
}
