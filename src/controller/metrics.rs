//! Metrics: what the controller does, and what every stream's status says. A pipeline that is deleted takes its series along.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use kube::ResourceExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::cache::Cache;
use crate::api::sync_pipeline::StreamStatus;

/// What a reconcile was of, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    kind: &'static str,
    outcome: &'static str,
}

/// A kind of resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

/// A call of the API server, and how it was answered: a status code, or `error` where there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    verb: &'static str,
    resource: String,
    code: String,
}

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Histogram>,
    depth: Family<OfKind, Gauge>,
    skew: Histogram,
    calls: Family<Call, Counter>,
    watch_failures: Family<OfKind, Counter>,
    leader: Gauge,
}

impl Metrics {
    /// Metrics with nothing measured yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ferrygate");
        let seconds = || Histogram::new(exponential_buckets(0.001, 4.0, 8));
        let metrics = Metrics {
            reconciles: Family::new_with_constructor(seconds),
            depth: Family::default(),
            skew: Histogram::new(exponential_buckets(0.01, 4.0, 10)),
            calls: Family::default(),
            watch_failures: Family::default(),
            leader: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register_with_unit(
            "reconcile_duration",
            "How long reconciles took",
            Unit::Seconds,
            metrics.reconciles.clone(),
        );
        registry.register(
            "queue_depth",
            "How many resources wait to be reconciled",
            metrics.depth.clone(),
        );
        registry.register_with_unit(
            "job_creation_skew",
            "From the slot of a run to the creation of its Job",
            Unit::Seconds,
            metrics.skew.clone(),
        );
        registry.register(
            "api_requests",
            "Requests to the API server, watches not",
            metrics.calls.clone(),
        );
        registry.register(
            "watch_failures",
            "How often the watch of a kind failed and was tried again",
            metrics.watch_failures.clone(),
        );
        registry.register("leader", "Whether this process leads", metrics.leader.clone());
        Metrics { registry, ..metrics }
    }

    /// A reconcile of a kind has ended.
    pub fn reconciled(&self, kind: &'static str, well: bool, took: Duration) {
        let outcome = if well { "success" } else { "error" };
        self.reconciles
            .get_or_create(&Reconcile { kind, outcome })
            .observe(took.as_secs_f64());
    }

    /// So many resources of a kind wait.
    pub fn queued(&self, kind: &'static str, depth: usize) {
        let kind = kind.to_owned();
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        self.depth.get_or_create(&OfKind { kind }).set(depth);
    }

    /// A run's Job was created, so long after its slot.
    pub fn started(&self, after_slot: SignedDuration) {
        self.skew.observe(after_slot.as_secs_f64().max(0.0));
    }

    /// The API server was called; without a code it did not answer.
    pub fn called(&self, verb: &'static str, resource: &str, code: Option<u16>) {
        let code = code.map_or_else(|| "error".to_owned(), |code| code.to_string());
        let resource = resource.to_owned();
        self.calls.get_or_create(&Call { verb, resource, code }).inc();
    }

    /// The watch of a kind failed.
    pub fn watch_failed(&self, kind: &str) {
        let kind = kind.to_owned();
        self.watch_failures.get_or_create(&OfKind { kind }).inc();
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The pipelines whose streams are shown.
    pub fn watch(&mut self, cache: Cache) {
        self.registry.register_collector(Box::new(Pipelines(cache)));
    }

    /// All of them, in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The streams of the pipelines in the cache, read when they are scraped.
struct Pipelines(Cache);

impl fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipelines")
    }
}

type Measure = fn(&StreamStatus) -> Option<i64>;

impl Collector for Pipelines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let measures: [(&str, &str, Measure); 10] = [
            (
                "stream_complete_as_of_timestamp_seconds",
                "Up to which instant the CDP's picture is complete",
                |stream| stream.complete_as_of.as_ref().map(|time| time.0.as_second()),
            ),
            (
                "stream_last_success_timestamp_seconds",
                "When a run last succeeded",
                |stream| stream.last_success_time.as_ref().map(|time| time.0.as_second()),
            ),
            (
                "stream_dead_letters",
                "How many dead letters the stream holds",
                |stream| stream.dead_letters,
            ),
            (
                "stream_erasures_waiting",
                "Deleted records whose erasure the CDP has not taken on yet",
                |stream| Some(stream.erasures?.waiting),
            ),
            (
                "stream_erasures_running",
                "Deleted records whose erasure the CDP has taken on and not ended yet",
                |stream| Some(stream.erasures?.running),
            ),
            (
                "stream_last_run_read_records",
                "Records that the last run read",
                |stream| Some(stream.counts?.read),
            ),
            (
                "stream_last_run_delivered_records",
                "Records that the last run delivered",
                |stream| Some(stream.counts?.delivered),
            ),
            (
                "stream_last_run_unchanged_records",
                "Records that the last run did not send, because nothing that the CDP holds has changed",
                |stream| Some(stream.counts?.unchanged),
            ),
            (
                "stream_last_run_suppressed_records",
                "Records that the last run delivered as suppressions",
                |stream| Some(stream.counts?.suppressed),
            ),
            (
                "stream_last_run_rejected_records",
                "Records that the last run put into the dead letters",
                |stream| Some(stream.counts?.rejected),
            ),
        ];
        let pipelines: Vec<_> = self.0.lock().pipelines().all().cloned().collect();
        for (name, help, measure) in measures {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for pipeline in &pipelines {
                let (namespace, pipeline_name) = (pipeline.namespace().unwrap_or_default(), pipeline.name_any());
                for stream in pipeline.status.iter().flat_map(|status| &status.streams) {
                    let Some(value) = measure(stream) else { continue };
                    let labels = [
                        ("namespace", namespace.as_str()),
                        ("pipeline", &pipeline_name),
                        ("stream", &stream.name),
                    ];
                    ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}
