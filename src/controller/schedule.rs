//! When a stream is due: an interval, spread by a stable hash, or cron in a time zone.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::api::sync_pipeline::Schedule;

/// A schedule that a stream can follow.
#[derive(Clone, Debug)]
pub enum Cadence {
    /// At every multiple of `every`, moved by `offset`. Both are whole seconds: a slot is kept in the status as a Kubernetes
    /// `Time`, which has no fractions, and must be the same slot when it is read again.
    Every {
        /// The interval, in seconds.
        every: i64,
        /// How far the slots are moved from multiples of the interval, in seconds, so that streams don't all start at once.
        offset: i64,
    },
    /// By a cron expression in a time zone.
    Cron {
        /// The parsed expression.
        cron: Box<Cron>,
        /// The time zone.
        zone: TimeZone,
    },
}

/// Why a schedule can't be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Neither `every` nor `cron`, or both.
    #[error("schedule must name exactly one of every, cron")]
    Ambiguous,
    /// The cron expression is not of five fields, or a field is wrong.
    #[error("schedule.cron {cron:?} is not a cron expression of five fields: {cause}")]
    Malformed {
        /// What was written.
        cron: String,
        /// Why it can't be read.
        cause: String,
    },
    /// The cron expression has no instant.
    #[error("schedule.cron {cron:?} never fires: no date fits it")]
    NeverFires {
        /// What was written.
        cron: String,
    },
    /// The time zone is unknown.
    #[error("schedule.timeZone {zone:?} is not an IANA time zone, as Europe/Berlin is one")]
    UnknownZone {
        /// What was written.
        zone: String,
    },
}

impl Cadence {
    /// The cadence of a schedule. `identity` spreads intervals: the same one has the same slots always.
    pub fn of(schedule: &Schedule, identity: &str, now: Timestamp) -> Result<Cadence, ScheduleError> {
        match (&schedule.every, &schedule.cron) {
            (Some(every), None) => {
                let every = i64::try_from(Duration::from(*every).as_secs())
                    .unwrap_or(i64::MAX)
                    .max(1);
                let hash = Sha256::digest(identity);
                let number =
                    i64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]);
                Ok(Cadence::Every {
                    every,
                    offset: number.rem_euclid(every),
                })
            }
            (None, Some(text)) => Cadence::of_cron(text, schedule.time_zone.as_deref().unwrap_or("Etc/UTC"), now),
            _ => Err(ScheduleError::Ambiguous),
        }
    }

    fn of_cron(text: &str, zone: &str, now: Timestamp) -> Result<Cadence, ScheduleError> {
        let zone = TimeZone::get(zone).map_err(|_| ScheduleError::UnknownZone { zone: zone.to_owned() })?;
        let malformed = |cause: String| ScheduleError::Malformed {
            cron: text.to_owned(),
            cause,
        };
        let fields = text.split_whitespace().count();
        if fields != 5 && !text.starts_with('@') {
            return Err(malformed(format!("it has {fields}")));
        }
        let cron = Cron::from_str(text).map_err(|cause| malformed(cause.to_string()))?;
        let cadence = Cadence::Cron {
            cron: Box::new(cron),
            zone,
        };
        if cadence.after(now).is_none() {
            return Err(ScheduleError::NeverFires { cron: text.to_owned() });
        }
        Ok(cadence)
    }

    /// The first slot later than an instant.
    pub fn after(&self, instant: Timestamp) -> Option<Timestamp> {
        match self {
            Cadence::Every { every, offset } => {
                let moved = floor(instant).checked_sub(*offset)?;
                let next = moved.div_euclid(*every).checked_add(1)?.checked_mul(*every)?;
                Timestamp::from_second(next.checked_add(*offset)?).ok()
            }
            Cadence::Cron { cron, zone } => {
                let local = instant.to_zoned(zone.clone());
                cron.find_next_occurrence(&local, false)
                    .ok()
                    .map(|next| next.timestamp())
            }
        }
    }

    /// How many slots lie between two instants, both left out, and the last of them; a thousand of a cron schedule at most.
    pub fn between(&self, last: Timestamp, until: Timestamp) -> Option<(i64, Timestamp)> {
        let first = self.after(last).filter(|slot| *slot < until)?;
        match self {
            Cadence::Every { every, .. } => {
                let before = until.as_second() - i64::from(until.subsec_nanosecond() == 0);
                let more = before.checked_sub(first.as_second())? / every;
                Some((more + 1, Timestamp::from_second(first.as_second() + more * every).ok()?))
            }
            Cadence::Cron { .. } => {
                let slots = std::iter::successors(Some(first), |slot| self.after(*slot).filter(|next| *next < until));
                slots.take(COUNTED).zip(1..).last().map(|(slot, count)| (count, slot))
            }
        }
    }

    /// The latest slot at or before `now` and later than `last`: missed slots make one late run.
    pub fn due(&self, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let first = self.after(last).filter(|slot| *slot <= now)?;
        match self {
            Cadence::Every { every, .. } => {
                let missed = floor(now).checked_sub(first.as_second())? / every;
                Timestamp::from_second(first.as_second() + missed * every).ok()
            }
            Cadence::Cron { cron, zone } => {
                let local = now.to_zoned(zone.clone());
                let latest = cron.find_previous_occurrence(&local, true).ok()?.timestamp();
                Some(latest.max(first))
            }
        }
    }
}

/// How many slots of a cron schedule are counted at most: between two of them may lie a minute or a year.
const COUNTED: usize = 1_000;

/// The last whole second at or before an instant.
fn floor(instant: Timestamp) -> i64 {
    instant.as_second() - i64::from(instant.subsec_nanosecond() < 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(text: &str) -> Schedule {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_can_t_be_followed_is_said() {
        let now = at("2026-05-04T08:00:00Z");
        let cases = [
            (
                r#"{"cron": "0 0 30 2 *"}"#,
                "schedule.cron \"0 0 30 2 *\" never fires: no date fits it",
            ),
            (
                r#"{"cron": "* * *"}"#,
                "schedule.cron \"* * *\" is not a cron expression of five fields: it has 3",
            ),
            (
                r#"{"cron": "0 * * * *", "timeZone": "Europe/Berln"}"#,
                "schedule.timeZone \"Europe/Berln\" is not an IANA time zone, as Europe/Berlin is one",
            ),
            ("{}", "schedule must name exactly one of every, cron"),
        ];
        for (text, words) in cases {
            assert_eq!(Cadence::of(&schedule(text), "x", now).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn cron_keeps_its_wall_clock_across_daylight_saving() {
        let now = at("2026-03-28T00:00:00Z");
        let cadence = Cadence::of(
            &schedule(r#"{"cron": "0 4 * * *", "timeZone": "Europe/Berlin"}"#),
            "x",
            now,
        )
        .unwrap();
        let mut slots = Vec::new();
        let mut last = now;
        for _ in 0..3 {
            last = cadence.after(last).unwrap();
            slots.push(last.to_string());
        }
        assert_eq!(
            slots,
            ["2026-03-28T03:00:00Z", "2026-03-29T02:00:00Z", "2026-03-30T02:00:00Z"]
        );
    }

    #[test]
    fn missed_slots_make_one_late_run() {
        let now = at("2026-05-04T08:00:00Z");
        for text in [r#"{"every": "5m"}"#, r#"{"cron": "*/5 * * * *"}"#] {
            let cadence = Cadence::of(&schedule(text), "x", now).unwrap();
            let last = cadence.after(at("2026-05-04T06:00:00Z")).unwrap();
            let due = cadence.due(last, now).unwrap();
            assert!(due <= now && cadence.after(due).unwrap() > now, "{text}: {due}");
            assert_eq!(cadence.due(due, now), None, "{text}");
        }
    }

    #[test]
    fn slots_between_two_instants_are_counted() {
        let now = at("2026-05-04T08:00:00Z");
        for text in [r#"{"every": "5m"}"#, r#"{"cron": "*/5 * * * *"}"#] {
            let cadence = Cadence::of(&schedule(text), "x", now).unwrap();
            let first = cadence.after(now).unwrap();
            let minutes = |count| first + jiff::SignedDuration::from_mins(count);
            let counted = [0, 5, 10, 11, 60].map(|count| cadence.between(first, minutes(count)));
            let expected = [
                None,
                None,
                Some((1, minutes(5))),
                Some((2, minutes(10))),
                Some((11, minutes(55))),
            ];
            assert_eq!(counted, expected, "{text}");
        }
    }

    proptest! {
        /// A slot is written into the status with whole seconds. One that was read back must not be due again.
        #[test]
        fn a_slot_is_due_once(identity in ".{0,9}", every in 1_u64..100_000, last in 0_i64..4_000_000_000_000, late in 0_i64..900_000_000) {
            let last = Timestamp::from_millisecond(last).unwrap();
            let now = Timestamp::from_millisecond(last.as_millisecond() + late).unwrap();
            let cadence = Cadence::of(&schedule(&format!(r#"{{"every": "{every}s"}}"#)), &identity, now).unwrap();
            if let Some(due) = cadence.due(last, now) {
                let kept = Timestamp::from_second(due.as_second()).unwrap();
                prop_assert!(last < due && due <= now);
                prop_assert_eq!(cadence.due(kept, now), None);
                prop_assert!(cadence.after(kept) > Some(now));
            }
        }
    }

    #[test]
    fn intervals_are_spread_by_their_identity() {
        let now = at("2026-05-04T08:00:00Z");
        let slot = |identity: &str| {
            Cadence::of(&schedule(r#"{"every": "1h"}"#), identity, now)
                .unwrap()
                .after(now)
        };
        assert_eq!(slot("a"), slot("a"));
        assert_ne!(slot("a"), slot("b"));
    }
}
