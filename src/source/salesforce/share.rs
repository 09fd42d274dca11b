//! A run's part of the requests that the org has left.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

use super::client::PARKED;
use crate::api::common::Outcome;
use crate::api::crm_source::Percent;
use crate::source::{Quota, SourceError};

/// How many requests a run may make: its part of `limits.dailyRequestShare`, of what the org had left when it first answered.
pub(super) struct Share {
    share: Option<Percent>,
    parts: u32,
    allowed: OnceLock<i64>,
    made: AtomicI64,
}

impl Share {
    /// One of `parts` equal parts of a share; without a bound where it is `None`.
    pub fn new(share: Option<Percent>, parts: u32) -> Share {
        Share {
            share,
            parts,
            allowed: OnceLock::new(),
            made: AtomicI64::new(0),
        }
    }

    /// What the org tells of its quota. The first word counts: the part does not shrink by what is used of it.
    pub fn learn(&self, quota: Quota) {
        if let Some(share) = self.share {
            let part = share.of((quota.max - quota.used).max(0)) / i64::from(self.parts);
            let _ = self.allowed.set(part.max(1));
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// `SourceThrottled` where the part is used up.
    pub fn take(&self, subject: &str) -> Result<(), SourceError> {
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        match (self.share, self.allowed.get()) {
            (Some(share), Some(&allowed)) if made >= allowed => Err(SourceError {
                outcome: Outcome::SourceThrottled,
                message: format!(
                    "{subject}: the run has used its part of the org's requests: {allowed}, which is limits.dailyRequestShare \
                     ({share}) of what was left, shared by {} runs (maxConcurrentRuns)",
                    self.parts
                ),
                parked_until: Timestamp::now().checked_add(PARKED).ok(),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_may_use_its_part_of_what_was_left() {
        let share: Percent = serde_json::from_str("\"30%\"").unwrap();
        let cases = [
            (None, 4, (0, 15_000), None),
            (Some(share), 4, (5_000, 15_000), Some(750)),
            (Some(share), 1, (15_000, 15_000), Some(1)),
        ];
        for (share, parts, (used, max), expected) in cases {
            let run = Share::new(share, parts);
            assert!(run.take("token").is_ok());
            run.learn(Quota { used, max });
            run.learn(Quota { used: max, max });
            let refused = (1..2_000).find_map(|made| run.take("Contact").err().map(|error| (made, error)));
            assert_eq!(refused.as_ref().map(|(made, _)| *made), expected);
            assert!(refused.is_none_or(|(_, error)| error.outcome == Outcome::SourceThrottled));
        }
    }
}
