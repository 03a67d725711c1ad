//! What the plots show, as numbers.

use tinysaver_core::risk::{Candidates, Counts, Judged, Ranked, upper_bound};

use crate::lab::evaluation::Test;

/// A line of more points is no smoother on a screen.
const MOST_POINTS: usize = 300;

/// Places of a line.
pub(super) type Curve = Vec<(f64, f64)>;

/// Of the reliability plot.
const BINS: usize = 10;

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn real(count: u64) -> f64 {
    count as f64
}

/// What exits at falling thresholds, thinned out to as many as a screen shows; the last one stays.
fn walk(ranked: &Ranked) -> Vec<(f64, Counts)> {
    let all: Vec<(f64, Counts)> = ranked.walk(Candidates::Observed).map(|(t, counts)| (f64::from(t), counts)).collect();
    let step = all.len().div_ceil(MOST_POINTS).max(1);
    let last = all.len().saturating_sub(1);
    all.into_iter()
        .enumerate()
        .filter(|(index, _)| index % step == 0 || *index == last)
        .map(|(_, point)| point)
        .collect()
}

/// Operations as a share of always-base, and accuracy, at every threshold.
pub(super) fn accuracy_curve(test: &Test, ranked: &Ranked) -> Curve {
    let macs = |macs: u64| real(macs);
    let Some(saver) = test.savers.first() else { return Vec::new() };
    let (saver, base, n) = (macs(saver.info.macs), macs(test.base.info.macs).max(1.0), real(ranked.samples()));
    let of = |counts: Counts| {
        let drop = (real(counts.harms) - real(counts.helps)) / n;
        ((saver + (1.0 - real(counts.exits) / n) * base) / base, real(test.base_right as u64) / n - drop)
    };
    walk(ranked).into_iter().map(|(_, counts)| of(counts)).collect()
}

/// Harms and their upper bound, as shares of all samples, by threshold.
pub(super) fn harm_curves(ranked: &Ranked, delta: f64) -> (Curve, Curve) {
    let n = ranked.samples();
    let of = |(threshold, counts): (f64, Counts)| {
        ((threshold, real(counts.harms) / real(n)), (threshold, upper_bound(counts.harms, n, delta)))
    };
    walk(ranked).into_iter().map(of).unzip()
}

/// Share that exits, and how many of these are wrong. The first few say nothing yet.
pub(super) fn risk_coverage(ranked: &Ranked) -> Curve {
    let n = real(ranked.samples());
    let enough = |counts: &Counts| real(counts.exits) >= (n / 100.0).max(1.0);
    let exits = walk(ranked).into_iter().map(|(_, counts)| counts).filter(enough);
    exits.map(|counts| (real(counts.exits) / n, real(counts.errors) / real(counts.exits))).collect()
}

/// How often a model is right at each confidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reliability {
    /// Of each bin: samples, mean confidence, share of right answers.
    pub(super) bins: Vec<(u64, f64, f64)>,
    /// Expected calibration error: the bins' mean distance of confidence and accuracy.
    pub(super) error: f64,
}

impl Reliability {
    pub(super) fn of(judged: &[Judged]) -> Self {
        let mut sums = [(0u64, 0.0f64, 0u64); BINS];
        for sample in judged {
            if let Some((count, confidence, right)) = sums.get_mut(bin_of(sample.confidence, BINS)) {
                *count += 1;
                *confidence += f64::from(sample.confidence);
                *right += u64::from(!sample.error);
            }
        }
        let bins = sums.map(|(count, confidence, right)| {
            let samples = real(count.max(1));
            (count, confidence / samples, real(right) / samples)
        });
        let all = real((judged.len() as u64).max(1));
        let error = bins.iter().map(|(count, confidence, right)| real(*count) / all * (confidence - right).abs()).sum();
        Self { bins: bins.to_vec(), error }
    }
}

/// Which of equal parts of 0..=1 a confidence lies in; 1 in the last.
pub(super) fn bin_of(confidence: f32, bins: usize) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a bin")]
    let bin = (confidence * bins as f32) as usize;
    bin.min(bins.saturating_sub(1))
}
