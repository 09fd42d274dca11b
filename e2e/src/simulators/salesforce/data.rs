//! The org's records, and the rules of changing them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::id::RecordId;
use super::objects;
use super::schema::{Field, Schema, Source};
use super::time::Millis;
use super::value::{Seen, Value};

#[derive(Clone, Debug)]
pub struct Row {
    pub id: RecordId,
    pub deleted: bool,
    pub created: Millis,
    pub modified: Millis,
    pub stamp: Millis,
    pub values: Vec<Value>,
}

/// One object's records, in the order of their creation, which is the order of their ids.
#[derive(Debug)]
pub struct Table {
    pub schema: Schema,
    pub rows: Vec<Row>,
    slots: HashMap<RecordId, usize>,
    next: u64,
}

#[derive(Debug)]
pub struct Data {
    pub tables: Vec<Table>,
    pub user: RecordId,
}

impl Table {
    fn new(schema: Schema) -> Self {
        Self {
            schema,
            rows: Vec::new(),
            slots: HashMap::new(),
            next: 1,
        }
    }

    pub fn slot(&self, id: RecordId) -> Option<usize> {
        self.slots.get(&id).copied()
    }

    pub fn row(&self, id: RecordId) -> Option<&Row> {
        self.slot(id).map(|slot| &self.rows[slot])
    }

    pub fn row_mut(&mut self, id: RecordId) -> Option<&mut Row> {
        self.slot(id).map(|slot| &mut self.rows[slot])
    }

    pub fn next_id(&mut self) -> RecordId {
        let id = RecordId::new(&self.schema.prefix, self.next);
        self.next += 1;
        id
    }

    /// Adds a record under this id, with these values by column.
    pub fn insert(&mut self, id: RecordId, owner: RecordId, mut values: Vec<Value>, at: Millis) -> usize {
        values.resize(self.schema.columns, Value::Null);
        for field in &self.schema.fields {
            if let Source::Column(column) = field.source {
                let unset = values[column] == Value::Null;
                if unset && field.kind == super::schema::FieldType::Boolean {
                    values[column] = Value::Boolean(false);
                }
                if unset && field.name == "OwnerId" {
                    values[column] = Value::Id(owner);
                }
            }
        }
        let slot = self.rows.len();
        self.rows.push(Row {
            id,
            deleted: false,
            created: at,
            modified: at,
            stamp: at,
            values,
        });
        self.slots.insert(id, slot);
        slot
    }

    /// The records whose external id has this value. Text is compared without regard to case.
    pub fn by_external_id(&self, field: &Field, value: &str) -> Vec<RecordId> {
        let Source::Column(column) = field.source else {
            return Vec::new();
        };
        let is = |row: &&Row| match row.values.get(column) {
            Some(Value::Text(text)) => text.to_lowercase() == value.to_lowercase(),
            Some(Value::Number(number)) => value.parse() == Ok(*number),
            _ => false,
        };
        self.rows
            .iter()
            .filter(|row| !row.deleted)
            .filter(is)
            .map(|row| row.id)
            .collect()
    }
}

impl Row {
    pub fn set(&mut self, column: usize, value: Value) {
        if self.values.len() <= column {
            self.values.resize(column + 1, Value::Null);
        }
        self.values[column] = value;
    }

    pub fn column(&self, column: usize) -> Seen<'_> {
        self.values.get(column).map_or(Seen::Null, Value::seen)
    }

    pub fn touch(&mut self, at: Millis) {
        (self.modified, self.stamp) = (at, at);
    }
}

impl Data {
    /// An org with the standard objects, no records, and one user.
    pub fn new(username: &str, now: Millis) -> Self {
        let tables = objects::standard().into_iter().map(Table::new).collect();
        let mut data = Self {
            tables,
            user: RecordId::new("005", 1),
        };
        let user = data.user;
        if let Some(users) = data.table_mut("User") {
            let id = users.next_id();
            let slot = users.insert(id, user, Vec::new(), now);
            let set = [("Username", username), ("LastName", "Integration"), ("Email", username)];
            for (name, value) in set {
                if let Some(column) = users.schema.column(name) {
                    users.rows[slot].set(column, Value::text(value));
                }
            }
            if let Some(column) = users.schema.column("IsActive") {
                users.rows[slot].set(column, Value::Boolean(true));
            }
        }
        data
    }

    pub fn index(&self, object: &str) -> Option<usize> {
        self.tables
            .iter()
            .position(|table| table.schema.name.eq_ignore_ascii_case(object))
    }

    pub fn table(&self, object: &str) -> Option<&Table> {
        self.index(object).map(|index| &self.tables[index])
    }

    pub fn table_mut(&mut self, object: &str) -> Option<&mut Table> {
        self.index(object).map(|index| &mut self.tables[index])
    }

    /// The table that a record's key prefix names.
    pub fn table_of(&self, id: RecordId) -> Option<usize> {
        self.tables.iter().position(|table| table.schema.prefix == id.prefix())
    }

    /// The value that a query sees in a row, computed where the field is no plain column.
    pub fn see<'a>(&'a self, table: usize, row: &'a Row, source: &Source) -> Seen<'a> {
        match source {
            Source::Id => Seen::Id(row.id),
            Source::IsDeleted => Seen::Boolean(row.deleted),
            Source::CreatedDate => Seen::DateTime(row.created),
            Source::LastModifiedDate => Seen::DateTime(row.modified),
            Source::SystemModstamp => Seen::DateTime(row.stamp),
            Source::IntegrationUser => Seen::Id(self.user),
            Source::Column(column) => row.column(*column),
            Source::FullName => full_name(&self.tables[table].schema, row),
            Source::Address(_) => Seen::Null,
            Source::OfParent { reference, field } => self.of_parent(row, *reference, field),
        }
    }

    fn of_parent<'a>(&'a self, row: &'a Row, reference: usize, field: &str) -> Seen<'a> {
        let Seen::Id(parent) = row.column(reference) else {
            return Seen::Null;
        };
        let Some(table) = self.table_of(parent) else {
            return Seen::Null;
        };
        let table = &self.tables[table];
        match (table.row(parent), table.schema.column(field)) {
            (Some(row), Some(column)) => row.column(column),
            _ => Seen::Null,
        }
    }
}

fn full_name<'a>(schema: &Schema, row: &'a Row) -> Seen<'a> {
    let part = |name: &str| match schema.column(name).map(|column| row.column(column)) {
        Some(Seen::Text(text)) => Some(text),
        _ => None,
    };
    match (part("FirstName"), part("LastName")) {
        (Some(first), Some(last)) => Seen::Text(Cow::Owned(format!("{first} {last}"))),
        (Some(name), None) | (None, Some(name)) => Seen::Text(name),
        (None, None) => Seen::Null,
    }
}
