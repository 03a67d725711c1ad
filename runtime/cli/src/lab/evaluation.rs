//! What thresholds do to records that they were not chosen on.

use anyhow::Result;
use serde::Serialize;
use tinysaver_core::risk::{Judged, Stages};
use tinysaver_core::select::{Interval, SplitMix};

use crate::lab::calibration::{Judge, judged};
use crate::lab::records::{ModelInfo, ModelRecords, Records};

/// Draws behind the interval of a drop.
const RESAMPLES: usize = 1000;

/// What thresholds do.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// One a saver; none for always-saver and always-base.
    pub thresholds: Vec<f32>,
    /// Share of frames that do not reach the base.
    pub exit_ratio: f64,
    /// Share of frames that each saver answers.
    pub exit_ratios: Vec<f64>,
    /// Share of right answers; without labels, of answers like the base's.
    pub accuracy: f64,
    /// Always-base less this, in percentage points; negative where this is better.
    pub drop_pp: f64,
    /// Of the drop, by resampling.
    pub drop_pp_95: Option<Interval>,
    /// Multiply-accumulates a frame.
    pub macs: f64,
    /// Share of always-base's.
    pub macs_saved: f64,
    /// Of a frame, where both models have one.
    pub latency_us: Option<f64>,
    /// Of a frame, where both models have one.
    pub energy_joules: Option<f64>,
}

/// Savers and a base on records.
pub struct Test<'a> {
    /// The cheapest first.
    pub savers: Vec<&'a ModelRecords>,
    /// The large model.
    pub base: &'a ModelRecords,
    /// What is right: the labels or, without, the base's answers.
    pub targets: Vec<u32>,
    /// Samples that the base alone has right.
    pub base_right: usize,
}

impl<'a> Test<'a> {
    /// `models` are ids, the base's last. Without labels, or with `ignore_labels`, the base's answers are right.
    ///
    /// # Errors
    /// A model is not in the records, or none is named.
    pub fn new(records: &'a Records, models: &[&str], ignore_labels: bool) -> Result<Self> {
        let mut models = models.iter().map(|id| records.model(id)).collect::<Result<Vec<_>>>()?;
        let base = models.pop().ok_or_else(|| anyhow::anyhow!("no model is named"))?;
        let targets: Vec<u32> = if records.is_labelled() && !ignore_labels {
            records.samples.iter().filter_map(|sample| sample.label).collect()
        } else {
            base.answers().collect()
        };
        let base_right = base.answers().zip(&targets).filter(|(answer, target)| answer == *target).count();
        Ok(Self { savers: models, base, targets, base_right })
    }

    /// All savers' samples as their judges see them.
    ///
    /// # Errors
    /// Logits that a temperature needs are not there.
    pub fn stages(&self, judges: &[Judge]) -> Result<Stages> {
        let rows = self.savers.iter().zip(judges).map(|(saver, judge)| self.judged(saver, *judge));
        Ok(Stages::new(rows.collect::<Result<_>>()?)?)
    }

    /// One saver's samples.
    ///
    /// # Errors
    /// Logits that the temperature needs are not there.
    pub fn judged(&self, saver: &ModelRecords, judge: Judge) -> Result<Vec<Judged>> {
        judged(saver, self.base, judge, &self.targets)
    }

    /// What these thresholds do.
    pub fn figures(&self, stages: &Stages, thresholds: &[f32]) -> Figures {
        let counts = stages.at(thresholds);
        let n = real(stages.samples());
        let drop = (real(counts.counts.harms) - real(counts.counts.helps)) / n;
        let macs = self.spent(&counts.exits, n, |info| Some(macs_of(info))).unwrap_or(0.0);
        let base_macs = macs_of(&self.base.info);
        Figures {
            thresholds: thresholds.to_vec(),
            exit_ratio: real(counts.counts.exits) / n,
            exit_ratios: counts.exits.iter().map(|exits| real(*exits) / n).collect(),
            accuracy: real(self.base_right as u64) / n - drop,
            drop_pp: drop * 100.0,
            drop_pp_95: resampled(counts.counts.harms, counts.counts.helps, n),
            macs,
            macs_saved: if base_macs > 0.0 { 1.0 - macs / base_macs } else { 0.0 },
            latency_us: self.spent(&counts.exits, n, |info| info.latency_us),
            energy_joules: self.spent(&counts.exits, n, |info| info.energy_joules),
        }
    }

    /// Of a frame, on average; `None` where one of the models has no figure.
    fn spent(&self, exits: &[u64], samples: f64, of: impl Fn(&ModelInfo) -> Option<f64>) -> Option<f64> {
        let (mut left, mut total) = (1.0, 0.0);
        for (saver, exits) in self.savers.iter().zip(exits) {
            total += left * of(&saver.info)?;
            left -= real(*exits) / samples;
        }
        Some(total + left.max(0.0) * of(&self.base.info)?)
    }

    /// Always the first saver, and always the base, which does without savers.
    pub fn ends(&self, stages: &Stages) -> (Figures, Figures) {
        let mut thresholds = vec![1.0; self.savers.len()];
        let mut base = self.figures(stages, &thresholds);
        let info = &self.base.info;
        (base.macs, base.macs_saved) = (macs_of(info), 0.0);
        (base.latency_us, base.energy_joules) = (info.latency_us, info.energy_joules);
        // Some scores can be 0, which is not above 0.
        thresholds.first_mut().into_iter().for_each(|first| *first = -1.0);
        let mut saver = self.figures(stages, &thresholds);
        saver.thresholds.clear();
        base.thresholds.clear();
        (saver, base)
    }
}

#[expect(clippy::cast_precision_loss, reason = "operations")]
fn macs_of(info: &ModelInfo) -> f64 {
    info.macs as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn real(count: u64) -> f64 {
    count as f64
}

/// The drop's 95 % interval in percentage points: only harms and helps matter, so these are drawn.
fn resampled(harms: u64, helps: u64, samples: f64) -> Option<Interval> {
    let (changed, mut random) = (real(harms + helps), SplitMix::new(1));
    let harm_share = real(harms) / changed.max(1.0);
    let draw = |random: &mut SplitMix| {
        // Their number is Poisson to a very good approximation: they are few among many.
        let (mut sum, mut left) = (0.0, changed);
        loop {
            left += random.unit().max(f64::MIN_POSITIVE).ln();
            if left <= 0.0 {
                return 100.0 * sum / samples;
            }
            sum += if random.unit() < harm_share { 1.0 } else { -1.0 };
        }
    };
    Interval::of((0..RESAMPLES).map(|_| draw(&mut random)).collect())
}
