//! What a run or a log amounts to: exit ratios, latency percentiles, operations, accuracy, confidence histogram.
//!
//! Invariant: frames in = sum of exits + dropped, for every summary at every moment.

use std::collections::BTreeMap;

use hdrhistogram::{CreationError, Histogram};
use serde::{Deserialize, Serialize};

use crate::energy::{EnergyReport, EnergyTotals, FrameEnergy};
use crate::record::{Answer, DropReason, Exit, Outcome, Record, StageMicros};
use crate::reuse::{ReuseReport, ReuseTotals};
use crate::route::Degraded;

/// Bins of the confidence histogram, each 0.05 wide; the last one includes 1.
pub const CONFIDENCE_BINS: usize = 20;

/// One hour: what takes longer is booked as this long.
const LONGEST_US: u64 = 3_600_000_000;

/// A step of a frame's way whose time is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// From capture to being taken up.
    Wait,
    /// Into memory.
    Read,
    /// To pixels.
    Decode,
    /// To input tensors.
    Resize,
    /// The saver's inference.
    Saver,
    /// Coding for a base elsewhere.
    Encode,
    /// Handing that to the network.
    Transmit,
    /// The base's inference.
    Base,
}

impl Stage {
    /// Every stage in a frame's order.
    pub const ALL: [Self; 8] =
        [Self::Wait, Self::Read, Self::Decode, Self::Resize, Self::Saver, Self::Encode, Self::Transmit, Self::Base];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Read => "read",
            Self::Decode => "decode",
            Self::Resize => "resize",
            Self::Saver => "saver",
            Self::Encode => "encode",
            Self::Transmit => "transmit",
            Self::Base => "base",
        }
    }

    /// Its microseconds, if it ran.
    #[must_use]
    pub fn micros(self, stages: &StageMicros) -> Option<u64> {
        match self {
            Self::Wait => stages.wait,
            Self::Read => stages.read,
            Self::Decode => stages.decode,
            Self::Resize => stages.resize,
            Self::Saver => stages.saver,
            Self::Encode => stages.encode,
            Self::Transmit => stages.transmit,
            Self::Base => stages.base,
        }
    }
}

/// Microseconds to three significant digits, in bounded memory however many frames there are.
#[derive(Debug, Clone)]
struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Result<Self, CreationError> {
        Histogram::new_with_bounds(1, LONGEST_US, 3).map(Self)
    }

    fn add(&mut self, micros: u64) {
        self.0.saturating_record(micros.max(1));
    }

    fn percentiles(&self) -> Option<Percentiles> {
        if self.0.is_empty() {
            return None;
        }
        Some(Percentiles {
            n: self.0.len(),
            p50_us: self.0.value_at_quantile(0.50),
            p90_us: self.0.value_at_quantile(0.90),
            p99_us: self.0.value_at_quantile(0.99),
            max_us: self.0.max(),
        })
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Accuracy {
    known: u64,
    right: u64,
}

impl Accuracy {
    fn add(&mut self, right: bool) {
        self.known += 1;
        self.right += u64::from(right);
    }

    fn report(self) -> AccuracyReport {
        AccuracyReport { known: self.known, right: self.right, accuracy: ratio(self.right, self.known) }
    }
}

#[derive(Debug, Clone)]
struct ExitTotals {
    frames: u64,
    latency: Latencies,
    accuracy: Accuracy,
}

/// Adds up records; constant memory.
#[derive(Debug, Clone)]
pub struct Summary {
    frames_in: u64,
    exits: BTreeMap<Exit, ExitTotals>,
    dropped: BTreeMap<DropReason, u64>,
    degraded: BTreeMap<Degraded, u64>,
    latency: Latencies,
    stages: Vec<(Stage, Latencies)>,
    accuracy: Accuracy,
    reuse: ReuseTotals,
    macs: u128,
    macs_always_base: u128,
    confidence: ConfidenceReport,
    thresholds: Option<(f32, f32)>,
    energy: EnergyTotals,
}

impl Summary {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// None in practice: the histogram's precision is a constant that it accepts.
    pub fn new() -> Result<Self, CreationError> {
        let mut exits = BTreeMap::new();
        for exit in Exit::ALL {
            exits.insert(exit, ExitTotals { frames: 0, latency: Latencies::new()?, accuracy: Accuracy::default() });
        }
        let mut stages = Vec::with_capacity(Stage::ALL.len());
        for stage in Stage::ALL {
            stages.push((stage, Latencies::new()?));
        }
        Ok(Self {
            frames_in: 0,
            exits,
            dropped: BTreeMap::new(),
            degraded: BTreeMap::new(),
            latency: Latencies::new()?,
            stages,
            accuracy: Accuracy::default(),
            reuse: ReuseTotals::default(),
            macs: 0,
            macs_always_base: 0,
            confidence: ConfidenceReport::default(),
            thresholds: None,
            energy: EnergyTotals::default(),
        })
    }

    /// Books one record: one frame, or several that were dropped.
    pub fn add(&mut self, record: &Record) {
        // A log line from elsewhere may say anything.
        self.frames_in = self.frames_in.saturating_add(record.frames());
        self.energy.add(record);
        for (stage, latencies) in &mut self.stages {
            if let Some(micros) = stage.micros(&record.stages_us) {
                latencies.add(micros);
            }
        }
        match &record.outcome {
            Outcome::Answered(answer) => self.add_answer(record, answer),
            Outcome::Dropped { reason, .. } => {
                let dropped = self.dropped.entry(*reason).or_default();
                *dropped = dropped.saturating_add(record.frames());
            }
        }
    }

    /// Books the energy that was spent after the last frame.
    pub fn add_rest(&mut self, rest: &FrameEnergy) {
        self.energy.add_rest(rest);
    }

    fn add_answer(&mut self, record: &Record, answer: &Answer) {
        self.latency.add(record.latency_us);
        self.macs += u128::from(answer.macs);
        self.macs_always_base += u128::from(answer.macs_always_base);
        self.reuse.add(answer, &record.stages_us);
        // A reused answer is nothing that the saver said.
        if answer.exit != Exit::Reused {
            self.confidence.add(answer.confidence, record.truth.map(|truth| truth == answer.saver_class));
        }
        let threshold = answer.threshold.value();
        let (low, high) = self.thresholds.unwrap_or((threshold, threshold));
        self.thresholds = Some((low.min(threshold), high.max(threshold)));
        if let Some(reason) = answer.degraded {
            *self.degraded.entry(reason).or_default() += 1;
        }
        if let Some(right) = record.correct() {
            self.accuracy.add(right);
        }
        if let Some(exit) = self.exits.get_mut(&answer.exit) {
            exit.frames += 1;
            exit.latency.add(record.latency_us);
            if let Some(right) = record.correct() {
                exit.accuracy.add(right);
            }
        }
    }

    /// The totals as plain numbers.
    #[must_use]
    pub fn report(&self) -> SummaryReport {
        let answered: u64 = self.exits.values().map(|exit| exit.frames).sum();
        let exits = self.exits.iter().map(|(&exit, totals)| ExitReport {
            exit,
            frames: totals.frames,
            ratio: ratio(totals.frames, answered),
            latency: totals.latency.percentiles(),
            accuracy: totals.accuracy.report(),
        });
        let stages = self.stages.iter().filter_map(|(stage, latencies)| Some((*stage, latencies.percentiles()?)));
        SummaryReport {
            frames_in: self.frames_in,
            answered,
            dropped: self.dropped.values().sum(),
            dropped_by_reason: self.dropped.clone(),
            degraded_by_reason: self.degraded.clone(),
            exits: exits.collect(),
            latency: self.latency.percentiles(),
            stages: stages.collect(),
            accuracy: self.accuracy.report(),
            reuse: self.reuse.report(),
            operations: OperationsReport::new(self.macs, self.macs_always_base),
            confidence: self.confidence.clone(),
            threshold_range: self.thresholds,
            energy: self.energy.reports(),
        }
    }
}

/// A [`Summary`] as numbers, for printing, JSON and plots.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SummaryReport {
    /// Frames taken from the source: `answered + dropped`.
    pub frames_in: u64,
    /// Sum of all exits.
    pub answered: u64,
    /// Frames without an answer.
    pub dropped: u64,
    /// The same by reason.
    pub dropped_by_reason: BTreeMap<DropReason, u64>,
    /// Answers of the saver for want of a base, by reason.
    pub degraded_by_reason: BTreeMap<Degraded, u64>,
    /// One row an exit, also those that gave no answer.
    pub exits: Vec<ExitReport>,
    /// Of all answered frames, end to end.
    pub latency: Option<Percentiles>,
    /// Of each stage that ran at least once.
    pub stages: BTreeMap<Stage, Percentiles>,
    /// Over frames whose right class is known.
    pub accuracy: AccuracyReport,
    /// What the change gate did; `None` where it never had a say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse: Option<ReuseReport>,
    /// Multiply-accumulates against always asking the base.
    pub operations: OperationsReport,
    /// Of the saver, over frames that it looked at.
    pub confidence: ConfidenceReport,
    /// Lowest and highest threshold in force.
    pub threshold_range: Option<(f32, f32)>,
    /// Energy, one entry for each sensor or profile; they are never added to each other. Empty where nobody knows.
    pub energy: Vec<EnergyReport>,
}

/// One exit's share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExitReport {
    /// Which.
    pub exit: Exit,
    /// Answers that it gave.
    pub frames: u64,
    /// Share of all answers; `None` while there is no answer.
    pub ratio: Option<f64>,
    /// End to end, of its frames.
    pub latency: Option<Percentiles>,
    /// Of its frames whose right class is known.
    pub accuracy: AccuracyReport,
}

/// Microseconds; three significant digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Frames behind the figures.
    pub n: u64,
    /// Median.
    pub p50_us: u64,
    /// Nine of ten frames take no longer.
    pub p90_us: u64,
    /// 99 of 100 frames take no longer.
    pub p99_us: u64,
    /// The slowest frame.
    pub max_us: u64,
}

/// How many answers were right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AccuracyReport {
    /// Answers whose right class is known.
    pub known: u64,
    /// Of those, right ones.
    pub right: u64,
    /// `right / known`; `None` where nothing is known.
    pub accuracy: Option<f64>,
}

/// Multiply-accumulate operations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OperationsReport {
    /// Spent by saver and base.
    pub macs: u128,
    /// What the base alone would have spent on the same frames.
    pub macs_always_base: u128,
    /// `1 - macs / macs_always_base`; negative where the cascade costs more than it saves.
    pub saved_ratio: Option<f64>,
}

impl OperationsReport {
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    fn new(macs: u128, macs_always_base: u128) -> Self {
        let saved_ratio = (macs_always_base > 0).then(|| 1.0 - macs as f64 / macs_always_base as f64);
        Self { macs, macs_always_base, saved_ratio }
    }
}

/// How sure the saver was, in [`CONFIDENCE_BINS`] bins of equal width over 0..=1. A frame is in exactly one of the
/// three: the saver was right, was wrong, or the truth is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfidenceReport {
    /// The saver was right.
    pub right: [u64; CONFIDENCE_BINS],
    /// The saver was wrong.
    pub wrong: [u64; CONFIDENCE_BINS],
    /// Nobody knows.
    pub unknown: [u64; CONFIDENCE_BINS],
}

impl ConfidenceReport {
    fn add(&mut self, confidence: f32, right: Option<bool>) {
        let bins = match right {
            Some(true) => &mut self.right,
            Some(false) => &mut self.wrong,
            None => &mut self.unknown,
        };
        // A log line from elsewhere may say anything: a float-to-integer cast saturates and maps NaN to 0.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "saturates"
        )]
        let bin = ((confidence * CONFIDENCE_BINS as f32) as usize).min(CONFIDENCE_BINS - 1);
        if let Some(count) = bins.get_mut(bin) {
            *count += 1;
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::answered;
    use proptest::prelude::*;

    fn summarise(records: &[Record]) -> SummaryReport {
        let mut summary = Summary::new().unwrap();
        records.iter().for_each(|record| summary.add(record));
        summary.report()
    }

    fn dropped(reason: DropReason, frames: u64) -> Record {
        let mut record = answered(Exit::Saver);
        record.outcome = Outcome::Dropped { reason, detail: String::new(), frames };
        record
    }

    fn exit(report: &SummaryReport, exit: Exit) -> &ExitReport {
        report.exits.iter().find(|row| row.exit == exit).unwrap()
    }

    #[test]
    fn nothing_is_no_division_by_zero() {
        let report = summarise(&[]);
        assert_eq!((report.frames_in, report.answered, report.dropped), (0, 0, 0));
        assert_eq!((report.latency, report.accuracy.accuracy, report.operations.saved_ratio), (None, None, None));
        assert!(report.exits.iter().all(|row| row.ratio.is_none()));
    }

    #[test]
    fn counts_exits_accuracy_and_operations() {
        let mut wrong = answered(Exit::BaseLocal);
        wrong.truth = Some(5);
        wrong.latency_us = 30_000;
        if let Outcome::Answered(answer) = &mut wrong.outcome {
            answer.macs = 197 + 860;
            answer.confidence = 0.02;
        }
        let mut unknown = answered(Exit::Saver);
        unknown.truth = None;
        let report = summarise(&[answered(Exit::Saver), unknown, wrong, dropped(DropReason::Damaged, 1)]);
        assert_eq!((report.frames_in, report.answered, report.dropped), (4, 3, 1));
        assert_eq!(exit(&report, Exit::Saver).ratio, Some(2.0 / 3.0));
        assert_eq!(exit(&report, Exit::BaseLocal).frames, 1);
        assert_eq!((report.accuracy.known, report.accuracy.right), (2, 1));
        assert_eq!((report.operations.macs, report.operations.macs_always_base), (2 * 197 + 1057, 3 * 860));
        assert_eq!(report.confidence.right[15], 1, "0.75 begins bin 15");
        assert_eq!((report.confidence.unknown[15], report.confidence.wrong[0]), (1, 1));
        assert_eq!(report.latency.unwrap().max_us, 30_015, "three significant digits, rounded up");
        assert_eq!(report.dropped_by_reason, BTreeMap::from([(DropReason::Damaged, 1)]));
    }

    #[test]
    fn fallbacks_have_reasons() {
        let mut fallen = answered(Exit::Fallback);
        if let Outcome::Answered(answer) = &mut fallen.outcome {
            answer.degraded = Some(Degraded::Link);
        }
        let report = summarise(&[fallen.clone(), fallen, answered(Exit::Saver)]);
        assert_eq!(report.degraded_by_reason, BTreeMap::from([(Degraded::Link, 2)]));
    }

    #[test]
    fn a_dear_saver_saves_less_than_nothing() {
        let mut record = answered(Exit::BaseLocal);
        if let Outcome::Answered(answer) = &mut record.outcome {
            (answer.macs, answer.macs_always_base) = (1500, 1000);
        }
        assert_eq!(summarise(&[record]).operations.saved_ratio, Some(-0.5));
    }

    #[test]
    fn a_confidence_of_one_is_in_the_last_bin() {
        let mut report = ConfidenceReport::default();
        [1.0, 7.0, f32::INFINITY].into_iter().for_each(|confidence| report.add(confidence, None));
        [0.0, -1.0, f32::NAN].into_iter().for_each(|confidence| report.add(confidence, None));
        assert_eq!((report.unknown[CONFIDENCE_BINS - 1], report.unknown[0]), (3, 3));
    }

    proptest! {
        #[test]
        fn every_frame_is_accounted(kinds in prop::collection::vec((0usize..14, 1u64..50), 0..200)) {
            let records: Vec<Record> = kinds.iter().map(|&(kind, frames)| {
                if kind < 5 { answered(Exit::ALL[kind]) } else { dropped(DropReason::ALL[kind - 5], frames) }
            }).collect();
            let report = summarise(&records);
            prop_assert_eq!(report.frames_in, records.iter().map(Record::frames).sum::<u64>());
            let exits: u64 = report.exits.iter().map(|row| row.frames).sum();
            let dropped: u64 = report.dropped_by_reason.values().sum();
            prop_assert_eq!(report.frames_in, exits + dropped);
            prop_assert_eq!((report.answered, report.dropped), (exits, dropped));
            let bins: u64 = report.confidence.right.iter().chain(&report.confidence.wrong).chain(&report.confidence.unknown).sum();
            // What is answered again was not looked at.
            prop_assert_eq!(bins, exits - exit(&report, Exit::Reused).frames);
        }
    }
}
