//! What the server counts, for Prometheus.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::web::ConnectionCounters;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RequestLabels {
    /// Only names of served models: an asker must not be able to make series.
    pub model: String,
    pub protocol: &'static str,
    pub outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ModelLabels {
    pub model: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct StageLabels {
    pub model: String,
    pub stage: &'static str,
}

/// Everything that is counted.
pub(super) struct Metrics {
    registry: Registry,
    pub requests: Family<RequestLabels, Counter>,
    stages: Family<StageLabels, Histogram>,
    pub queue: Family<ModelLabels, Gauge>,
    pub connections: ConnectionCounters,
    pub received_bytes: Counter,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("tinysaver_serve");
        let requests = Family::default();
        registry.register("requests", "Inference requests by model, protocol and outcome", requests.clone());
        let stages = Family::new_with_constructor(stage_histogram as fn() -> Histogram);
        registry.register_with_unit(
            "stage_duration",
            "Time of answered requests: waited in the queue, computed",
            Unit::Seconds,
            stages.clone(),
        );
        let queue = Family::default();
        registry.register("queue_length", "Requests that wait for a worker", queue.clone());
        let connections = ConnectionCounters::default();
        let ConnectionCounters { open, refused, failed_handshakes } = connections.clone();
        registry.register("connections", "Open connections", open);
        registry.register("refused_connections", "Closed because there were too many", refused);
        registry.register("failed_handshakes", "TLS handshakes that failed", failed_handshakes);
        let received_bytes = Counter::default();
        registry.register_with_unit("received", "Bodies of inference requests", Unit::Bytes, received_bytes.clone());
        Self { registry, requests, stages, queue, connections, received_bytes }
    }

    pub fn note_stage(&self, model: &str, stage: &'static str, took: Duration) {
        let labels = StageLabels { model: model.to_owned(), stage };
        self.stages.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// The OpenMetrics text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// From 0.25 ms to 8 s.
fn stage_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}
