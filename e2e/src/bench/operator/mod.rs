//! `make bench-operator`: the controller over thousands of pipelines, on a real API server and with simulated nodes.
//!
//! 1. [`install`] gives a cluster of its own what the controller needs, [`kwok`] simulates nodes, and [`fixture`] makes pipelines
//!    that have run, and their Jobs;
//! 2. [`controller`] runs the measured binary as a process, under the chart's identity;
//! 3. [`measures`] has a file for each figure; [`audit`] and [`arrivals`] are what they are read from;
//! 4. [`report`] shows them beside what is wanted.
//!
//! The API server, etcd, Kubernetes' own controllers and kwok share the machine's cores with what is measured.

mod arrivals;
mod audit;
mod controller;
mod fixture;
mod install;
mod kinds;
mod kwok;
mod measures;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use self::audit::AuditLog;
use self::controller::{Controller, Launch};
use self::fixture::{Fixture, Found};
use self::kwok::Simulation;
use self::measures::{Bench, herd, idle, leadership, one_run, relist, spec_change, start};
use self::report::{Row, table};
use crate::cluster::{BENCH_NAME, Cluster};
use crate::image::{BuiltImages, build_images};
use crate::progress::Steps;

/// What to measure.
#[derive(Debug, Args)]
pub struct BenchOperatorArgs {
    /// The binary that is measured, built for release.
    #[arg(long)]
    binary: PathBuf,
    /// How many SyncPipelines there are, of three streams each; every stream has two finished Jobs.
    #[arg(long, default_value_t = 5_000)]
    pipelines: usize,
    /// How many of them are due in the same second.
    #[arg(long, default_value_t = 1_000)]
    herd: usize,
    /// How many specs are changed, one after the other.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// For how long the controller idles.
    #[arg(long, default_value = "10m", value_parser = duration)]
    idle: Duration,
    /// What to measure; may be repeated. Everything where none is named.
    #[arg(long)]
    only: Vec<Measure>,
    /// Leaves the cluster up, for another run with the same pipelines: making them is what takes longest.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// A start over everything, until the first pass is done.
    Start,
    /// Writes and memory while nothing happens.
    Idle,
    /// The peak of memory while everything is listed anew.
    Relist,
    /// From a change of a spec to the Job.
    Change,
    /// From a slot to the Jobs of many pipelines.
    Herd,
    /// The API writes of one run.
    Run,
    /// How long nobody leads when the leader ends.
    Leadership,
}

fn duration(text: &str) -> Result<Duration> {
    let duration: SignedDuration = text.parse()?;
    Duration::try_from(duration).context("a time is not negative")
}

impl BenchOperatorArgs {
    /// Measures, and prints the figures beside what is wanted.
    ///
    /// # Errors
    /// When something is not done at all; never because it took long.
    pub async fn run(self) -> Result<()> {
        let binary = std::path::absolute(&self.binary)?;
        ensure!(
            binary.is_file(),
            "{} is not there: cargo build --release",
            binary.display()
        );
        let steps = Steps::new();
        let cluster = self.cluster(&steps).await?;
        let mut rows = Vec::new();
        let measured = self.measured(&cluster, binary, &steps, &mut rows).await;
        // What was measured before something went wrong is still worth reading.
        println!("{}", table(&rows));
        if self.keep {
            kwok::leave(&cluster).await?;
        } else {
            cluster.down(&steps).await?;
        }
        measured
    }

    /// The cluster of an earlier run with the same pipelines, or a new one.
    async fn cluster(&self, steps: &Steps) -> Result<Cluster> {
        let cluster = Cluster::ensure(BENCH_NAME, steps).await?;
        ensure!(
            cluster.local().is_some(),
            "the benchmark reads the audit log of a cluster of its own: unset CLUSTER"
        );
        let found = Fixture::found(&cluster.client().await?, self.pipelines).await?;
        if !matches!(found, Found::Useless) {
            return Ok(cluster);
        }
        cluster.down(steps).await?;
        Cluster::ensure(BENCH_NAME, steps).await
    }

    fn wants(&self, measure: Measure) -> bool {
        self.only.is_empty() || self.only.contains(&measure)
    }

    async fn measured(&self, cluster: &Cluster, binary: PathBuf, steps: &Steps, rows: &mut Vec<Row>) -> Result<()> {
        let local = cluster.local().context("a local cluster")?;
        let folder = local.folder().path().join("bench");
        std::fs::create_dir_all(&folder)?;
        let images = if self.wants(Measure::Run) {
            Some(build_images(cluster, steps).await?)
        } else {
            None
        };
        let image = images
            .as_ref()
            .map_or("localhost/ferrygate:bench", |images| &images.ferrygate.reference);
        steps
            .step("Installing the CRDs and the chart's roles", install::install(cluster))
            .await?;
        let nodes = steps
            .step("Simulating nodes", Simulation::start(cluster, &folder, steps))
            .await?;
        let launch = Launch::prepare(cluster, binary, image.to_owned(), folder).await?;
        let client = cluster.client().await?;
        let fixture = match Fixture::found(&client, self.pipelines).await? {
            Found::Whole(fixture) => fixture,
            Found::Nothing | Found::Useless => Fixture::make(cluster, &launch, self.pipelines, steps).await?,
        };
        fixture.probed_now(&client).await?;
        let bench = Bench {
            cluster: cluster.clone(),
            client,
            audit: AuditLog::new(local.folder().audit_log()),
            launch,
            nodes,
            fixture,
            steps: *steps,
        };
        let (settled, _) = steps
            .step(
                "Letting a controller settle what is new to it",
                start::measure(&bench, "settling"),
            )
            .await?;
        settled.stop().await?;
        self.measure(&bench, images.as_ref(), rows).await
    }

    async fn measure(&self, bench: &Bench, images: Option<&BuiltImages>, rows: &mut Vec<Row>) -> Result<()> {
        let steps = &bench.steps;
        let mark = bench.audit.mark();
        let (mut controller, started) = steps
            .step("Starting over all pipelines", start::measure(bench, "measured"))
            .await?;
        rows.extend(started);
        let lists = relist::listed(bench, mark)?;
        if self.wants(Measure::Idle) {
            let idle = idle::measure(bench, &controller, self.idle);
            rows.extend(steps.step("Idling", idle).await?);
        }
        self.at_work(bench, &mut controller, images, rows).await?;
        // Last, since a watch may take a while to come back.
        if self.wants(Measure::Relist) {
            let relist = relist::measure(bench, &mut controller, &lists);
            rows.extend(steps.step("Listing anew", relist).await?);
        }
        controller.stop().await?;
        if self.wants(Measure::Leadership) {
            let leadership = leadership::measure(bench);
            rows.extend(steps.step("Ending leaders", leadership).await?);
        }
        Ok(())
    }

    async fn at_work(
        &self,
        bench: &Bench,
        controller: &mut Controller,
        images: Option<&BuiltImages>,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        let steps = &bench.steps;
        if self.wants(Measure::Change) {
            let changes = spec_change::measure(bench, controller, self.changes);
            rows.extend(steps.step("Changing specs", changes).await?);
        }
        if self.wants(Measure::Herd) {
            let herd = herd::measure(bench, controller, self.herd);
            rows.extend(steps.step("Having many pipelines due at once", herd).await?);
        }
        if let Some(images) = images {
            let run = one_run::measure(bench, controller, images);
            rows.extend(steps.step("Counting the writes of a run", run).await?);
        }
        Ok(())
    }
}
