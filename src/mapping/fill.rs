//! How many of a run's records have a value for each trait.

use super::plan::Plan;

/// What is counted over the records of a run. It holds no value of any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    records: u64,
    /// Of each of the plan's traits.
    traits: Vec<u64>,
    /// The traits that the record at hand has, kept from record to record for its room.
    pending: Vec<usize>,
}

impl Filled {
    /// How many records were counted: those that were mapped.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// A record begins.
    pub(super) fn begin(&mut self) {
        self.pending.clear();
    }

    /// It has a value for the trait at this place of the plan.
    pub(super) fn note(&mut self, place: usize) {
        self.pending.push(place);
    }

    /// It was mapped: what was noted counts.
    pub(super) fn count(&mut self, traits: usize) {
        self.traits.resize(traits, 0);
        self.records += 1;
        for place in &self.pending {
            if let Some(count) = self.traits.get_mut(*place) {
                *count += 1;
            }
        }
    }

    /// Of a thousand records, how many have a value: 1,000 only where all have, and 0 only where none has.
    fn per_mille(&self, filled: u64) -> i32 {
        let share = match (filled, self.records) {
            (0, _) | (_, 0) => 0,
            (filled, records) if filled == records => 1_000,
            (filled, records) => (u128::from(filled) * 1_000 / u128::from(records)).clamp(1, 999),
        };
        i32::try_from(share).unwrap_or(1_000)
    }
}

impl Plan {
    /// Of a thousand records, how many have a value for each trait of the object, in the mapping's order; -1 for a trait that the
    /// sink does not get.
    pub fn fill_rates(&self, filled: &Filled) -> Vec<i32> {
        let mut rates = vec![-1; self.all_traits];
        for (rule, count) in self.traits.iter().zip(&filled.traits) {
            if let Some(rate) = rates.get_mut(rule.position) {
                *rate = filled.per_mille(*count);
            }
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_whole_only_where_every_record_has_a_value_and_nothing_only_where_none_has() {
        let cases = [
            (0, 0, 0),
            (0, 5, 0),
            (5, 5, 1_000),
            (1, 3, 333),
            (1, 100_000, 1),
            (99_999, 100_000, 999),
        ];
        for (filled, records, expected) in cases {
            let all = Filled {
                records,
                ..Filled::default()
            };
            assert_eq!(all.per_mille(filled), expected, "{filled} of {records}");
        }
    }
}
