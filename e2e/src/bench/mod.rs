//! `make bench`: `ferrygate run --files` on contacts of 21 fields, from a server on this machine to a sink on this machine.
//! ([`operator`] is `make bench-operator`.)
//!
//! The server's pages are made beforehand and the sink only counts, so that what is measured is Ferrygate: records a second,
//! CPU seconds and peak memory of its process. All three share the machine's cores.

mod bulk;
mod contacts;
mod crm;
mod measure;
pub mod operator;
mod sink;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use self::crm::Crm;
use self::measure::{Figures, measure};
use self::sink::Sink;

/// What to measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The binary that is measured, built for release.
    #[arg(long)]
    binary: PathBuf,
    /// How many contacts; may be repeated, and shows whether memory grows with them.
    #[arg(long, default_values_t = [100_000, 300_000])]
    contacts: Vec<usize>,
    /// How often each is measured; the median is shown.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Has the contacts read by a query job of the Bulk API: 100,000 of them at the least.
    #[arg(long)]
    bulk: bool,
}

impl BenchArgs {
    /// Measures, and prints the figures.
    ///
    /// # Errors
    /// When a run fails, or does not deliver every contact once.
    pub async fn run(self) -> Result<()> {
        let binary = std::path::absolute(&self.binary)?;
        ensure!(
            binary.is_file(),
            "{} is not there: cargo build --release",
            binary.display()
        );
        let mut table = Table::new();
        table
            .load_style(UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header([
            "contacts",
            "records a second",
            "wall s",
            "CPU s (user + system)",
            "peak memory MiB",
        ]);
        for contacts in self.contacts {
            let figures = median(&binary, contacts, self.runs.max(1), self.bulk).await?;
            table.add_row([
                contacts.to_string(),
                format!("{:.0}", contacts as f64 / figures.wall.as_secs_f64()),
                format!("{:.2}", figures.wall.as_secs_f64()),
                format!(
                    "{:.2} + {:.2}",
                    figures.user.as_secs_f64(),
                    figures.system.as_secs_f64()
                ),
                format!("{:.1}", figures.peak_bytes as f64 / f64::from(1 << 20)),
            ]);
        }
        println!("{table}");
        Ok(())
    }
}

/// The run with the median wall time of several, each with a state of its own.
async fn median(binary: &std::path::Path, contacts: usize, runs: usize, bulk: bool) -> Result<Figures> {
    let crm = Crm::start().await?;
    let sink = Sink::start().await?;
    // The first run tells the server which fields are selected in which order, as a real one puts them into its answers.
    measure(binary, &crm.url(), &sink.url())
        .await
        .context("the run that warms up")?;
    if bulk {
        crm.make_results(contacts)?;
    } else {
        crm.make_pages(contacts)?;
    }
    let mut all = Vec::with_capacity(runs);
    for _ in 0..runs {
        sink.forget();
        let figures = measure(binary, &crm.url(), &sink.url()).await?;
        ensure!(
            sink.distinct() == contacts,
            "{} of {contacts} contacts were delivered",
            sink.distinct()
        );
        eprintln!(
            "  {contacts} contacts: {:.2} s wall, {:.2} s user, {:.2} s system, {:.1} MiB",
            figures.wall.as_secs_f64(),
            figures.user.as_secs_f64(),
            figures.system.as_secs_f64(),
            figures.peak_bytes as f64 / f64::from(1 << 20),
        );
        all.push(figures);
    }
    all.sort_by_key(|figures| figures.wall);
    Ok(all.swap_remove(all.len() / 2))
}
