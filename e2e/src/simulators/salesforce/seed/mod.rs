//! Fills the org with records: the same ones for the same numbers, as awkward as real ones.
//!
//! Among them are names that look like nothing (`null`, `NA`), commas, quotes, line breaks, scripts of every kind, phone
//! numbers in the forms that people type, mailboxes that many share, and currencies beside the org's own. Empty text does
//! not occur: the platform stores it as null.

mod random;
mod records;

use serde::{Deserialize, Serialize};

use super::data::{Data, Table};
use super::id::RecordId;
use super::time::{Millis, parse_datetime};
use super::value::Value;
use random::Random;
use records::{Fields, account, contact, lead, opportunity};

const DAY: Millis = 86_400_000;
const MINUTE: Millis = 60_000;

/// What to create. Stamps are spread evenly from `from` to `to`: by default from 20 days before the org's now to a minute
/// before it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Seed {
    pub contacts: usize,
    /// One for ten contacts when left out.
    pub accounts: Option<usize>,
    pub leads: usize,
    pub opportunities: usize,
    pub random_seed: u64,
    pub from: Option<String>,
    pub to: Option<String>,
    pub tie: Option<Tie>,
}

/// These many contacts, from the `position`th on (from 0, by stamp), share one `SystemModstamp`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tie {
    pub position: usize,
    pub records: usize,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Seeded {
    pub accounts: usize,
    pub contacts: usize,
    pub leads: usize,
    pub opportunities: usize,
}

pub fn seed(data: &mut Data, seed: &Seed, now: Millis) -> Seeded {
    let instant = |text: &Option<String>| text.as_ref().and_then(|text| parse_datetime(text, true));
    let to = instant(&seed.to).unwrap_or(now - MINUTE);
    let from = instant(&seed.from).unwrap_or(to - 20 * DAY).min(to);
    let accounts = seed.accounts.unwrap_or(seed.contacts.div_ceil(10));
    let mut maker = Maker {
        random: Random(seed.random_seed),
        from,
        to,
        tie: None,
        user: data.user,
    };
    for table in &mut data.tables {
        table.rows.reserve(if table.schema.name == "Contact" {
            seed.contacts
        } else {
            0
        });
    }
    maker.make(data, "Account", accounts, account);
    let parents = ids(data, "Account");
    maker.tie = seed.tie;
    maker.make(data, "Contact", seed.contacts, |random, number| {
        contact(random, number, &parents)
    });
    maker.tie = None;
    maker.make(data, "Lead", seed.leads, lead);
    let people = ids(data, "Contact");
    maker.make(data, "Opportunity", seed.opportunities, |random, number| {
        opportunity(random, number, &parents, &people)
    });
    Seeded {
        accounts,
        contacts: seed.contacts,
        leads: seed.leads,
        opportunities: seed.opportunities,
    }
}

fn ids(data: &Data, object: &str) -> Vec<RecordId> {
    data.table(object)
        .map(|table| table.rows.iter().filter(|row| !row.deleted).map(|row| row.id).collect())
        .unwrap_or_default()
}

struct Maker {
    random: Random,
    from: Millis,
    to: Millis,
    tie: Option<Tie>,
    user: RecordId,
}

impl Maker {
    fn make(&mut self, data: &mut Data, object: &str, count: usize, one: impl Fn(&mut Random, usize) -> Fields) {
        let Some(table) = data.table_mut(object) else { return };
        for place in 0..count {
            let fields = one(&mut self.random, table.rows.len());
            insert(table, self.user, fields, self.stamp(place, count));
        }
    }

    fn stamp(&self, place: usize, count: usize) -> Millis {
        let tied = self
            .tie
            .filter(|tie| (tie.position..tie.position + tie.records).contains(&place));
        let place = tied.map_or(place, |tie| tie.position);
        let part = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let at = self.from + (self.to - self.from) * part(place) / part(count.max(1));
        at - at.rem_euclid(1000)
    }
}

fn insert(table: &mut Table, user: RecordId, fields: Fields, at: Millis) {
    let mut values = vec![Value::Null; table.schema.columns];
    for (name, value) in fields {
        if let Some(column) = table.schema.column(name) {
            values[column] = value;
        }
    }
    let id = table.next_id();
    table.insert(id, user, values, at);
}
