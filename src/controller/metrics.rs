//! Metrics: what the controller does, and what every stream's status says. A pipeline that is deleted takes its series along.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::api::SyncPipeline;
use crate::api::sync_pipeline::StreamStatus;

/// What a reconcile was of, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconcile {
    kind: &'static str,
    outcome: &'static str,
}

/// The metrics of this process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<Reconcile, Histogram>,
    leader: Gauge,
    pipelines: Pipelines,
}

impl Metrics {
    /// Metrics with nothing measured yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ferrygate");
        let reconciles =
            Family::<Reconcile, Histogram>::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 4.0, 8)));
        let leader = Gauge::default();
        let pipelines = Pipelines::default();
        registry.register_with_unit(
            "reconcile_duration",
            "How long reconciles took",
            Unit::Seconds,
            reconciles.clone(),
        );
        registry.register("leader", "Whether this process leads", leader.clone());
        registry.register_collector(Box::new(pipelines.clone()));
        Metrics {
            registry,
            reconciles,
            leader,
            pipelines,
        }
    }

    /// A reconcile of a kind has ended.
    pub fn reconciled(&self, kind: &'static str, well: bool, took: Duration) {
        let outcome = if well { "success" } else { "error" };
        self.reconciles
            .get_or_create(&Reconcile { kind, outcome })
            .observe(took.as_secs_f64());
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Pipelines whose streams are shown.
    pub fn watch(&self, store: Store<SyncPipeline>) {
        self.pipelines
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(store);
    }

    /// All of them, in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The streams of the pipelines in the caches, read when they are scraped.
#[derive(Clone, Default)]
struct Pipelines(Arc<Mutex<Vec<Store<SyncPipeline>>>>);

impl fmt::Debug for Pipelines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipelines")
    }
}

type Measure = fn(&StreamStatus) -> Option<i64>;

impl Collector for Pipelines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let measures: [(&str, &str, Measure); 7] = [
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
        let stores = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let pipelines: Vec<_> = stores.iter().flat_map(Store::state).collect();
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
