//! The TinySaver paper's search for a saver (arXiv 2403.17726, `exit_estimation.py` of its code), and how sure its ranking is.
//!
//! For a base and each cheaper model, the threshold falls from 1 in steps of 0.001 until the saver is less often right than
//! the base on the samples that exit. The share that exits there, less the saver's cost as a share of the base's, is what
//! the pair saves: `delta cost = C_s / C_b - exit ratio`. The smallest wins; below 0 it is worth having.

mod bootstrap;
mod random;

pub use bootstrap::{Interval, bootstrap_delta_costs};
pub use random::SplitMix;

/// Steps in which the threshold falls.
pub const STEPS: usize = 1000;

/// Threshold number `step` of the walk: 1, 0.999, ... 0.001. The numbers are those of numpy's `arange(1, 0, -0.001)`, whose
/// step is the difference of its first two, not -0.001.
#[must_use]
pub fn walk_threshold(step: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 1000")]
    let step = step as f64;
    1.0 + step * ((1.0 + -0.001) - 1.0)
}

/// A saver's samples by the step of the walk at which they exit; made once for all bases.
#[derive(Debug, Clone)]
pub struct SaverSamples {
    /// Of each sample, the first step at which it exits; [`STEPS`] for one that never does.
    steps: Vec<u16>,
    right: Vec<bool>,
}

/// What cannot be searched.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// There are no samples.
    #[error("there are no samples")]
    Empty,
    /// Two lists belong together and are not equally long.
    #[error("{confidences} confidences, but {others} right-or-wrong marks: they must be of the same samples")]
    Lengths {
        /// Of the saver.
        confidences: usize,
        /// Of saver or base.
        others: usize,
    },
    /// A confidence is no number from 0 to 1.
    #[error("sample {index} (from 0): its confidence {confidence} is no number from 0 to 1")]
    NotAConfidence {
        /// Where, from 0.
        index: usize,
        /// What stands there.
        confidence: f32,
    },
}

impl SaverSamples {
    /// From the saver's confidences and whether it is right.
    ///
    /// # Errors
    /// No samples, lists of different lengths, or a confidence that is NaN or outside 0..=1.
    pub fn new(confidences: &[f32], right: &[bool]) -> Result<Self, SelectError> {
        if confidences.is_empty() {
            return Err(SelectError::Empty);
        }
        check_lengths(confidences.len(), right.len())?;
        let bad = confidences.iter().position(|confidence| !(0.0..=1.0).contains(confidence));
        if let Some((index, confidence)) = bad.and_then(|index| Some((index, *confidences.get(index)?))) {
            return Err(SelectError::NotAConfidence { index, confidence });
        }
        let steps = confidences.iter().map(|confidence| exit_step(f64::from(*confidence))).collect();
        Ok(Self { steps, right: right.to_vec() })
    }

    fn cells(&self, base_right: &[bool]) -> Vec<Cell> {
        let mut cells = vec![Cell::default(); STEPS];
        for ((step, saver), base) in self.steps.iter().zip(&self.right).zip(base_right) {
            if let Some(cell) = cells.get_mut(usize::from(*step)) {
                cell.exits += 1;
                cell.lead += i64::from(*saver) - i64::from(*base);
            }
        }
        cells
    }
}

fn check_lengths(confidences: usize, others: usize) -> Result<(), SelectError> {
    if confidences == others { Ok(()) } else { Err(SelectError::Lengths { confidences, others }) }
}

/// The first step whose threshold lies strictly below the confidence.
fn exit_step(confidence: f64) -> u16 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a confidence lies in 0..=1")]
    let mut step = ((1.0 - confidence) * 1000.0) as usize;
    step = step.saturating_sub(1);
    while step < STEPS && confidence <= walk_threshold(step) {
        step += 1;
    }
    u16::try_from(step).unwrap_or(u16::MAX)
}

/// Samples that begin to exit at one step.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    exits: u64,
    /// How many of them the saver has right more than the base.
    lead: i64,
}

/// Where the walk ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaperExit {
    /// The first threshold at which the saver falls below the base on what exits, or the last one of the walk.
    pub threshold: f64,
    /// Samples that exit there.
    pub exits: u64,
    /// Of so many.
    pub samples: u64,
    /// `C_s / C_b` less the exit ratio: below 0, the saver is worth having.
    pub delta_cost: f64,
}

impl PaperExit {
    /// Share of samples that exit.
    #[must_use]
    pub fn exit_ratio(&self) -> f64 {
        ratio(self.exits, self.samples)
    }

    /// The paper's condition.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.delta_cost < 0.0
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples lie far below 2^53")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Walks down for one base. `cost_ratio` is `C_s / C_b`, in operations, milliseconds or joules.
///
/// # Errors
/// The base's marks are not as many as the saver's samples.
pub fn paper_exit(saver: &SaverSamples, base_right: &[bool], cost_ratio: f64) -> Result<PaperExit, SelectError> {
    check_lengths(saver.steps.len(), base_right.len())?;
    Ok(walk(&saver.cells(base_right), saver.steps.len() as u64, cost_ratio))
}

fn walk(cells: &[Cell], samples: u64, cost_ratio: f64) -> PaperExit {
    let (mut exits, mut lead, mut last) = (0, 0, 0);
    for (step, cell) in cells.iter().enumerate() {
        exits += cell.exits;
        lead += cell.lead;
        last = step;
        // Both accuracies have the same divisor, so they compare as the counts do; of nothing, both are 0.
        if lead < 0 {
            break;
        }
    }
    PaperExit { threshold: walk_threshold(last), exits, samples, delta_cost: cost_ratio - ratio(exits, samples) }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
