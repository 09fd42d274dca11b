//! Query cursors: the ids that matched when the query ran, whose values are read when their page is fetched.
//!
//! A cursor belongs to a user, who has ten open at most: an eleventh releases the oldest. It expires after a time without
//! use. <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_query_querylocator.htm>
//!
//! Whether another session of the same user may go on with it is not published; connectors report that it may not
//! (<https://github.com/airbytehq/airbyte/pull/84302>). A test orders either with `Config::cursors_end_with_session`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::id::RecordId;
use super::sessions::{Caller, random};
use super::soql::Plan;

const OPEN_PER_USER: usize = 10;

#[derive(Debug)]
pub struct Cursor {
    pub plan: Plan,
    pub slots: Vec<usize>,
    pub with_deleted: bool,
    pub page: usize,
}

#[derive(Debug)]
struct Open {
    name: String,
    owner: Caller,
    used: Instant,
    /// The offsets that were handed out.
    offsets: BTreeSet<usize>,
    cursor: Arc<Cursor>,
}

#[derive(Debug, Default)]
pub struct Cursors(Mutex<VecDeque<Open>>);

impl Cursors {
    /// Keeps the cursor, and returns its locator for the records from `offset` on.
    pub fn open(&self, owner: &Caller, cursor: Arc<Cursor>, offset: usize) -> String {
        let mut open = self.list();
        while open.iter().filter(|known| known.owner.user == owner.user).count() >= OPEN_PER_USER {
            let oldest = open.iter().position(|known| known.owner.user == owner.user);
            oldest.and_then(|oldest| open.remove(oldest));
        }
        let name = RecordId::new("01g", random() >> 12).to_string();
        let locator = locator(&name, offset);
        let offsets = BTreeSet::from([offset]);
        open.push_back(Open {
            name,
            owner: owner.clone(),
            used: Instant::now(),
            offsets,
            cursor,
        });
        locator
    }

    /// The cursor and offset that a locator names, if the caller may use it still.
    pub fn find(
        &self,
        caller: &Caller,
        locator: &str,
        idle: Duration,
        by_session: bool,
    ) -> Option<(Arc<Cursor>, usize)> {
        let (name, offset) = locator.rsplit_once('-')?;
        let offset = offset.parse().ok()?;
        let mut open = self.list();
        open.retain(|known| known.used.elapsed() < idle);
        let known = open.iter_mut().find(|known| known.name == name)?;
        let same = known.owner.user == caller.user && (!by_session || known.owner.token == caller.token);
        if !same || !known.offsets.contains(&offset) {
            return None;
        }
        known.used = Instant::now();
        Some((known.cursor.clone(), offset))
    }

    /// The locator of the same cursor for a further page.
    pub fn advance(&self, from: &str, offset: usize) -> Option<String> {
        let (name, _) = from.rsplit_once('-')?;
        let mut open = self.list();
        let known = open.iter_mut().find(|known| known.name == name)?;
        known.offsets.insert(offset);
        Some(locator(name, offset))
    }

    pub fn clear(&self) {
        self.list().clear();
    }

    fn list(&self) -> std::sync::MutexGuard<'_, VecDeque<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn locator(name: &str, offset: usize) -> String {
    format!("{name}-{offset}")
}
