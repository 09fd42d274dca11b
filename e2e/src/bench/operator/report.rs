//! The table: what was measured, beside what is wanted.

use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

/// A figure.
#[derive(Clone, Debug)]
pub struct Row {
    what: String,
    measured: String,
    wanted: String,
    ratio: f64,
}

impl Row {
    /// A time, and the longest that is wanted.
    pub fn time(what: impl Into<String>, measured: Duration, wanted: Duration) -> Self {
        Row {
            what: what.into(),
            measured: short(measured),
            wanted: short(wanted),
            ratio: measured.as_secs_f64() / wanted.as_secs_f64(),
        }
    }

    /// Memory in bytes, and the most that is wanted, in MiB.
    pub fn memory(what: impl Into<String>, bytes: u64, wanted: u64) -> Self {
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        Row {
            what: what.into(),
            measured: format!("{mebibytes:.1} MiB"),
            wanted: format!("{wanted} MiB"),
            ratio: mebibytes / wanted as f64,
        }
    }

    /// A number, and the most that is wanted.
    pub fn count(what: impl Into<String>, measured: usize, wanted: usize) -> Self {
        let ratio = match (measured, wanted) {
            (0, _) => 0.0,
            (_, 0) => f64::INFINITY,
            (measured, wanted) => measured as f64 / wanted as f64,
        };
        Row {
            what: what.into(),
            measured: measured.to_string(),
            wanted: wanted.to_string(),
            ratio,
        }
    }

    fn verdict(&self) -> String {
        if self.ratio <= 1.0 {
            "reached".to_owned()
        } else if self.ratio.is_finite() {
            format!("missed: {:.1} times as much", self.ratio)
        } else {
            "missed".to_owned()
        }
    }
}

/// The table of the figures.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["what", "measured", "at most", ""]);
    for row in rows {
        table.add_row([&row.what, &row.measured, &row.wanted, &row.verdict()]);
    }
    table
}

fn short(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// The time below which so many of a hundred lie, by the nearest rank.
pub fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_the_nearest_rank() {
        let mut times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let found = [50, 99, 100].map(|percent| percentile(&mut times, percent).as_millis());
        assert_eq!(found, [100, 198, 200]);
    }

    #[test]
    fn a_figure_is_reached_up_to_what_is_wanted() {
        let second = Duration::from_secs(1);
        for (row, verdict) in [
            (Row::count("", 0, 0), "reached"),
            (Row::count("", 1, 0), "missed"),
            (Row::count("", 9, 6), "missed: 1.5 times as much"),
            (Row::memory("", 128 << 20, 128), "reached"),
            (Row::time("", second * 3, second * 2), "missed: 1.5 times as much"),
        ] {
            assert_eq!(row.verdict(), verdict, "{row:?}");
        }
    }
}
