//! What Prometheus is told. Names follow its practices: one prefix, base units, `_total` on counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tinysaver_board::{CaptureWatch, Throttle};
use tinysaver_core::energy::{EnergyStage, FrameEnergy};
use tinysaver_core::spend::{Degradation, FrameBudget};
use tinysaver_core::{Outcome, Record, Stage, StageMicros};
use tinysaver_offload::web::ConnectionCounters;

use crate::energy::BoardWatch;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ExitLabel {
    exit: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EnergyLabels {
    source: String,
    exit: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SourceLabel {
    source: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DegradationLabel {
    degradation: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VersionLabel {
    version: &'static str,
}

type Joules = Counter<f64, AtomicU64>;
type RealGauge = Gauge<f64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that is counted.
pub(super) struct Metrics {
    registry: Registry,
    frames: Family<ExitLabel, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    latency: Histograms<ExitLabel>,
    stages: Histograms<StageLabel>,
    age: Histogram,
    macs: Counter,
    macs_always_base: Counter,
    joules: Family<EnergyLabels, Joules>,
    /// Microjoules and microseconds so far, by source.
    spent: Mutex<BTreeMap<String, (i64, u64)>>,
    mean_watts: Family<SourceLabel, RealGauge>,
    threshold: RealGauge,
    budget_watts: RealGauge,
    degradation: Family<DegradationLabel, Gauge>,
    encoding: Histogram,
    pub connections: ConnectionCounters,
}

/// From 1 ms to 16 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// From 16 us to 17 s: stages may be short.
fn stage_seconds() -> Histogram {
    Histogram::new(exponential_buckets(16e-6, 4.0, 11))
}

fn no_value() -> RealGauge {
    let gauge = RealGauge::default();
    gauge.set(f64::NAN);
    gauge
}

impl Metrics {
    pub(super) fn new(capture: Option<CaptureWatch>, board: BoardWatch) -> Self {
        let mut registry = Registry::with_prefix("tinysaver");
        let new = Self {
            frames: Family::default(),
            dropped: Family::default(),
            latency: Family::new_with_constructor(seconds),
            stages: Family::new_with_constructor(stage_seconds),
            age: seconds(),
            macs: Counter::default(),
            macs_always_base: Counter::default(),
            joules: Family::default(),
            spent: Mutex::default(),
            mean_watts: Family::default(),
            threshold: Gauge::default(),
            budget_watts: no_value(),
            degradation: Family::default(),
            encoding: seconds(),
            connections: ConnectionCounters::default(),
            registry: Registry::default(),
        };
        registry.register("frames", "Answered frames, by who answered", new.frames.clone());
        registry.register("dropped_frames", "Frames without an answer, by reason", new.dropped.clone());
        let unit = || Unit::Seconds;
        registry.register_with_unit("latency", "From capture to answer", unit(), new.latency.clone());
        registry.register_with_unit("stage", "Time of each stage of a frame", unit(), new.stages.clone());
        registry.register_with_unit("frame_age", "Age of a camera's frame at its answer", unit(), new.age.clone());
        registry.register("macs", "Multiply-accumulates that were spent", new.macs.clone());
        let always = "Multiply-accumulates that the base alone would have spent";
        registry.register("base_only_macs", always, new.macs_always_base.clone());
        let help = "Energy by who measured or modelled it and by who answered; between frames: waiting, sinks, idle";
        registry.register_with_unit("energy", help, Unit::Joules, new.joules.clone());
        let help = "Power since the run began, by who measured or modelled it";
        registry.register("mean_watts", help, new.mean_watts.clone());
        registry.register("threshold", "The gate's, of the newest answer", new.threshold.clone());
        let help = "Under a budget, 1 at what has to be given up for it now";
        registry.register("degradation", help, new.degradation.clone());
        let encoding = "Drawing and encoding of a picture for viewers";
        registry.register_with_unit("stream_encoding", encoding, unit(), new.encoding.clone());
        registry.register(
            "http_refused_connections",
            "Closed because there were too many",
            new.connections.refused.clone(),
        );
        registry.register("http_connections", "Open connections", new.connections.open.clone());
        let build = Family::<VersionLabel, Gauge>::default();
        build.get_or_create(&VersionLabel { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "Always 1; the version is in the label", build);
        registry.register_collector(Box::new(Sensed { capture, board, budget_watts: new.budget_watts.clone() }));
        Self { registry, ..new }
    }

    /// Counts one record.
    pub(super) fn add(&self, record: &Record) {
        match &record.outcome {
            Outcome::Dropped { reason, frames, .. } => {
                self.dropped.get_or_create(&ReasonLabel { reason: reason.name() }).inc_by(*frames);
            }
            Outcome::Answered(answer) => {
                let label = ExitLabel { exit: answer.exit.name() };
                self.frames.get_or_create(&label).inc();
                self.latency.get_or_create(&label).observe(in_seconds(record.latency_us));
                if let Some(age) = record.frame_age_us {
                    self.age.observe(in_seconds(age));
                }
                self.threshold.set(f64::from(answer.threshold.value()));
                self.macs.inc_by(answer.macs);
                self.macs_always_base.inc_by(answer.macs_always_base);
            }
        }
        self.add_stages(&record.stages_us);
        if let Some(budget) = &record.budget {
            self.set_budget(budget);
        }
        if let Some(energy) = &record.energy {
            self.add_energy(record.answer().map_or("dropped", |answer| answer.exit.name()), energy);
        }
    }

    fn set_budget(&self, budget: &FrameBudget) {
        self.budget_watts.set(budget.watts);
        for degradation in Degradation::ALL {
            let label = DegradationLabel { degradation: degradation.name() };
            self.degradation.get_or_create(&label).set(i64::from(degradation == budget.degradation));
        }
    }

    fn add_stages(&self, stages: &StageMicros) {
        for stage in Stage::ALL {
            if let Some(micros) = stage.micros(stages) {
                self.stages.get_or_create(&StageLabel { stage: stage.name() }).observe(in_seconds(micros));
            }
        }
    }

    fn add_energy(&self, exit: &'static str, energy: &FrameEnergy) {
        let source = energy.energy_source.to_string();
        self.add_spent(&source, energy.total());
        let sinks_uj = energy.energy_stages.get(EnergyStage::Sinks).map_or(0, |sinks| sinks.uj);
        let parts = [
            (exit, energy.energy_uj),
            ("waiting", energy.energy_waiting_uj),
            ("sinks", sinks_uj),
            ("idle", energy.energy_idle_uj),
        ];
        // A counter never falls: a battery that is being charged counts as nothing.
        for (exit, uj) in parts.into_iter().filter(|(_, uj)| *uj > 0) {
            let labels = EnergyLabels { source: source.clone(), exit };
            self.joules.get_or_create(&labels).inc_by(uj as f64 / 1e6);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a mean of some digits")]
    fn add_spent(&self, source: &str, (uj, us): (i64, u64)) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if !spent.contains_key(source) {
            spent.insert(source.to_owned(), (0, 0));
        }
        let Some((all_uj, all_us)) = spent.get_mut(source) else { return };
        (*all_uj, *all_us) = (all_uj.saturating_add(uj), all_us.saturating_add(us));
        if *all_us > 0 {
            let gauge = self.mean_watts.get_or_create(&SourceLabel { source: source.to_owned() });
            gauge.set(*all_uj as f64 / *all_us as f64);
        }
    }

    pub(super) fn note_encoded(&self, took: Duration) {
        self.encoding.observe(took.as_secs_f64());
    }

    /// Prometheus' text format 0.0.4, which every scraper and `promtool` read.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(classic(&text))
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds below 2^53")]
fn in_seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// What is asked only when somebody scrapes.
#[derive(Debug)]
struct Sensed {
    capture: Option<CaptureWatch>,
    board: BoardWatch,
    /// No number without a budget.
    budget_watts: RealGauge,
}

impl Collector for Sensed {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        if let Some(status) = self.capture.as_ref().map(CaptureWatch::status) {
            let reopens = ConstCounter::new(status.reopens);
            let help = "How often the source was opened again";
            reopens.encode(encoder.encode_descriptor("camera_reopens", help, None, reopens.metric_type())?)?;
            let total: u64 = status.faults.values().sum();
            let faults = ConstCounter::new(total);
            let help = "Faults of the source, failed tries to open it included";
            faults.encode(encoder.encode_descriptor("camera_faults", help, None, faults.metric_type())?)?;
        }
        if !self.budget_watts.get().is_nan() {
            let gauge = ConstGauge::new(self.budget_watts.get());
            let help = "What may be drawn now, under a budget";
            gauge.encode(encoder.encode_descriptor("budget_watts", help, None, gauge.metric_type())?)?;
        }
        // Nothing is said of a board that cannot tell.
        if let throttle @ Throttle::Bits(bits) = self.board.throttle() {
            let gauge = ConstGauge::new(i64::from(bits));
            let help = "Bits of the Raspberry Pi's get_throttled";
            gauge.encode(encoder.encode_descriptor("throttle_flags", help, None, gauge.metric_type())?)?;
            let gauge = ConstGauge::new(i64::from(!throttle.now().is_empty()));
            let help = "1 while heat or a weak power supply holds the board back";
            gauge.encode(encoder.encode_descriptor("throttled", help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// OpenMetrics to the older format: counters carry `_total` in their description, too, and there are no units and no end
/// mark.
fn classic(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if line.starts_with("# HELP ") {
            help = Some(line);
        } else if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').unwrap_or((described, "untyped"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            let words = help.take().and_then(|line| line.strip_prefix("# HELP ")?.split_once(' '));
            if let Some((_, words)) = words {
                text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
            }
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tinysaver_core::Exit;

    use super::*;
    use crate::face::followers::tests::record;
    use tinysaver_core::energy::{StageEnergies, StageEnergy};

    fn energy() -> FrameEnergy {
        let mut energy_stages = StageEnergies::default();
        energy_stages.set(EnergyStage::Sinks, StageEnergy { uj: 125_000, ..StageEnergy::default() });
        FrameEnergy {
            energy_source: "modelled:pi4".parse().unwrap(),
            energy_uj: 250_000,
            energy_above_idle_uj: None,
            energy_wall_us: 100_000,
            energy_cpu_us: 0,
            energy_idle_uj: 500_000,
            energy_idle_us: 150_000,
            energy_waiting_uj: -5,
            energy_waiting_us: 0,
            energy_stages,
        }
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::new(None, BoardWatch::default());
        let mut answered = record(0, Exit::Saver);
        answered.energy = Some(energy());
        answered.stages_us.saver = Some(9_000);
        answered.frame_age_us = Some(40_000);
        answered.budget = Some(FrameBudget { watts: 4.25, degradation: Degradation::Slower, uncertified: false });
        metrics.add(&answered);
        metrics.add(&record(1, Exit::BaseLocal));
        let text = metrics.text().unwrap();
        for line in [
            "# HELP tinysaver_frames_total Answered frames, by who answered.",
            "# TYPE tinysaver_frames_total counter",
            "tinysaver_frames_total{exit=\"saver\"} 1",
            "# TYPE tinysaver_latency_seconds histogram",
            "tinysaver_latency_seconds_bucket{le=\"0.016\",exit=\"saver\"} 1",
            "tinysaver_stage_seconds_count{stage=\"saver\"} 1",
            "# TYPE tinysaver_energy_joules_total counter",
            "tinysaver_energy_joules_total{source=\"modelled:pi4\",exit=\"saver\"} 0.25",
            "tinysaver_energy_joules_total{source=\"modelled:pi4\",exit=\"idle\"} 0.5",
            "tinysaver_energy_joules_total{source=\"modelled:pi4\",exit=\"sinks\"} 0.125",
            "tinysaver_mean_watts{source=\"modelled:pi4\"} 3.49998",
            "tinysaver_threshold 0.699999988079071",
            "tinysaver_budget_watts 4.25",
            "tinysaver_degradation{degradation=\"slower\"} 1",
            "tinysaver_degradation{degradation=\"none\"} 0",
            "tinysaver_frame_age_seconds_sum 0.04",
            "tinysaver_macs_total 200",
            "tinysaver_base_only_macs_total 800",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
    }
}
