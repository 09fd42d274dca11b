//! Which records are between the transforming thread and the last commit.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// The records that were handed on and not committed yet, by a hash of their id. A record that is read again in the meantime
/// must wait: the store does not know its first version, and two versions on their way at once could overtake one another.
/// Two ids with the same hash only wait in vain. What it holds is bounded by what the channels hold.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    hasher: RandomState,
    by_id: HashMap<u64, u64>,
    order: VecDeque<(u64, u64)>,
}

impl InFlight {
    /// Notes that a record is part of the parcel with this number.
    pub(super) fn insert(&mut self, id: &str, parcel: u64) {
        let hash = self.hasher.hash_one(id);
        self.by_id.insert(hash, parcel);
        self.order.push_back((parcel, hash));
    }

    /// The last parcel that holds the record, if it may not be committed yet.
    pub(super) fn find(&self, id: &str) -> Option<u64> {
        self.by_id.get(&self.hasher.hash_one(id)).copied()
    }

    /// Forgets the parcels up to, and including, this one.
    pub(super) fn committed(&mut self, parcel: u64) {
        while let Some(&(first, hash)) = self.order.front().filter(|(first, _)| *first <= parcel) {
            self.order.pop_front();
            if self.by_id.get(&hash) == Some(&first) {
                self.by_id.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_in_flight_until_the_last_parcel_that_holds_it_is_committed() {
        let mut records = InFlight::default();
        records.insert("a", 1);
        records.insert("b", 1);
        records.insert("a", 2);
        let mut seen = Vec::new();
        for committed in 0..=2 {
            records.committed(committed);
            seen.push((records.find("a"), records.find("b")));
        }
        assert_eq!(seen, [(Some(2), Some(1)), (Some(2), None), (None, None)]);
        assert!(records.order.is_empty());
    }
}
