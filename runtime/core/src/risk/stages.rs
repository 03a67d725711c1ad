//! Cascades of more than two models: each saver has a threshold of its own, and a frame leaves at the first saver that is sure.
//!
//! There is no order of several thresholds that is right in itself, so one is made on samples that are used for nothing else:
//! a *path*, from thresholds that let nothing exit to ever cheaper ones. Along a path that is fixed beforehand, Learn then
//! Test needs no correction, whatever the path is.

use crate::risk::rules::DropBound;
use crate::risk::{Counts, Judged, Method, Promise, RankError, Refusal, samples_needed, upper_bound};

/// Thresholds of each saver that a path is made of, quantiles of its confidences; with more savers fewer, because all
/// combinations are looked at.
fn grid_size(savers: usize) -> usize {
    match savers {
        0..=2 => 96,
        3 => 32,
        _ => 12,
    }
}

/// Steps between two places of a path: what a promise allows mostly lies between two of them.
const BETWEEN: u16 = 8;

/// Samples as each saver judges them, against the same base.
#[derive(Debug, Clone)]
pub struct Stages {
    samples: usize,
    savers: Vec<Vec<Judged>>,
}

/// What thresholds do to samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedCounts {
    /// Samples that each saver answers.
    pub exits: Vec<u64>,
    /// Of all savers together.
    pub counts: Counts,
}

/// Thresholds, one a saver, and what the samples say of them.
#[derive(Debug, Clone, PartialEq)]
pub struct StagedChoice {
    /// A frame exits at the first saver whose confidence is above its own.
    pub thresholds: Vec<f32>,
    /// Samples that they were chosen on.
    pub samples: u64,
    /// What they do to them.
    pub counts: StagedCounts,
    /// What the method bounds.
    pub bound: f64,
}

/// Several thresholds cannot be chosen so.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum StagesError {
    /// There are too few samples.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The method knows one threshold only.
    #[error("{0} chooses one threshold only; several are chosen by rcps, ltt or sweep")]
    Method(&'static str),
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples lie far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

impl Stages {
    /// From a list of samples for each saver, the cheapest first.
    ///
    /// # Errors
    /// No samples, lists of different lengths (the first sample that is missing is named), or no confidence.
    pub fn new(savers: Vec<Vec<Judged>>) -> Result<Self, RankError> {
        let samples = savers.first().map_or(0, Vec::len);
        if samples == 0 {
            return Err(RankError::Empty);
        }
        for saver in &savers {
            if saver.len() != samples {
                return Err(RankError::Missing { index: saver.len().min(samples) });
            }
            let bad = saver.iter().enumerate().find(|(_, sample)| !(0.0..=1.0).contains(&sample.confidence));
            if let Some((index, sample)) = bad {
                return Err(RankError::NotAConfidence { index, confidence: sample.confidence });
            }
        }
        Ok(Self { samples, savers })
    }

    /// How many samples there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples as u64
    }

    /// What happens to each sample: the saver that answers it, and how that judges; `None` for the base.
    pub fn outcomes<'a>(&'a self, thresholds: &'a [f32]) -> impl Iterator<Item = Option<(usize, Judged)>> + 'a {
        (0..self.samples).map(move |row| {
            self.savers.iter().zip(thresholds).enumerate().find_map(|(stage, (saver, threshold))| {
                saver.get(row).filter(|sample| sample.confidence > *threshold).map(|sample| (stage, *sample))
            })
        })
    }

    /// What thresholds do.
    #[must_use]
    pub fn at(&self, thresholds: &[f32]) -> StagedCounts {
        let mut all = StagedCounts { exits: vec![0; self.savers.len()], counts: Counts::default() };
        for (stage, judged) in self.outcomes(thresholds).flatten() {
            if let Some(exits) = all.exits.get_mut(stage) {
                *exits += 1;
            }
            all.counts.add(judged);
        }
        all
    }

    /// Thresholds from those that let nothing exit to ever cheaper ones, each the cheapest for its drop on these samples.
    /// `costs` are the savers', the base's last.
    #[must_use]
    pub fn path(&self, costs: &[f64]) -> Vec<Vec<f32>> {
        let grids: Vec<Vec<f32>> = self.savers.iter().map(|saver| grid(saver, grid_size(self.savers.len()))).collect();
        let mut search = Search { stages: self, grids: &grids, costs, found: Vec::new() };
        search.descend(&mut Vec::new(), &(0..self.samples).collect::<Vec<_>>(), Place { net: 0, cost: 0.0 });
        let mut found = search.found;
        found.sort_by(|a, b| a.0.net.cmp(&b.0.net).then(a.0.cost.total_cmp(&b.0.cost)));
        let (mut cheapest, mut path) = (f64::INFINITY, vec![vec![1.0; self.savers.len()]]);
        for (place, thresholds) in found {
            // Fewer harms than helps promise nothing that none would not.
            if place.cost < cheapest {
                cheapest = place.cost;
                extend(&mut path, &thresholds);
            }
        }
        path
    }
}

/// Adds a place and the steps to it.
fn extend(path: &mut Vec<Vec<f32>>, to: &[f32]) {
    let from = path.last().cloned().unwrap_or_default();
    for step in 1..=BETWEEN {
        let share = f32::from(step) / f32::from(BETWEEN);
        path.push(from.iter().zip(to).map(|(from, to)| from + share * (to - from)).collect());
    }
}

/// Quantiles of the confidences, falling, with both ends.
fn grid(saver: &[Judged], size: usize) -> Vec<f32> {
    let mut confidences: Vec<f32> = saver.iter().map(|sample| sample.confidence).collect();
    confidences.sort_unstable_by(|a, b| b.total_cmp(a));
    let inner = (0..size).filter_map(|step| confidences.get(step * confidences.len() / size).copied());
    let mut all: Vec<f32> = std::iter::once(1.0).chain(inner).chain(std::iter::once(0.0)).collect();
    all.dedup();
    all
}

/// Harms less helps so far, and what was spent.
#[derive(Debug, Clone, Copy)]
struct Place {
    net: i64,
    cost: f64,
}

/// All combinations of the grids.
struct Search<'a> {
    stages: &'a Stages,
    grids: &'a [Vec<f32>],
    costs: &'a [f64],
    found: Vec<(Place, Vec<f32>)>,
}

impl Search<'_> {
    /// `rows` have reached the stage after those that have a threshold already.
    fn descend(&mut self, thresholds: &mut Vec<f32>, rows: &[usize], place: Place) {
        let stage = thresholds.len();
        let (Some(saver), Some(grid)) = (self.stages.savers.get(stage), self.grids.get(stage)) else { return };
        let mut sorted: Vec<(usize, Judged)> = rows.iter().filter_map(|row| Some((*row, *saver.get(*row)?))).collect();
        sorted.sort_by(|a, b| b.1.confidence.total_cmp(&a.1.confidence));
        let cost_of = |stage: usize, rows: usize| real(rows as u64) * self.costs.get(stage).copied().unwrap_or(0.0);
        let (cost, is_last) = (place.cost + cost_of(stage, rows.len()), stage + 1 == self.stages.savers.len());
        let (mut exits, mut net) = (0, place.net);
        for threshold in grid {
            while let Some((_, judged)) = sorted.get(exits).filter(|(_, judged)| judged.confidence > *threshold) {
                net += i64::from(judged.harm) - i64::from(judged.help);
                exits += 1;
            }
            thresholds.push(*threshold);
            if is_last {
                let cost = cost + cost_of(stage + 1, sorted.len() - exits);
                self.found.push((Place { net, cost }, thresholds.clone()));
            } else {
                let left: Vec<usize> = sorted.iter().skip(exits).map(|(row, _)| *row).collect();
                self.descend(thresholds, &left, Place { net, cost });
            }
            thresholds.pop();
        }
    }
}

/// Chooses thresholds along a path that was made on other samples: the cheapest of those before the first that fails. The
/// sweep, which promises nothing, takes the cheapest that does not fail, on whatever samples the path was made.
///
/// # Errors
/// There are too few samples, or the method cannot choose several thresholds.
pub fn choose_on_path(
    method: Method,
    stages: &Stages,
    path: &[Vec<f32>],
    costs: &[f64],
    promise: Promise,
) -> Result<StagedChoice, StagesError> {
    let (n, delta) = (stages.samples(), promise.delta());
    let mut drop = DropBound::new(n, delta);
    let mut bound_of = |counts: &Counts| match method {
        Method::Rcps => Ok(upper_bound(counts.harms, n, delta)),
        Method::LearnThenTest => Ok(drop.of(counts)),
        Method::Sweep => Ok((real(counts.harms) - real(counts.helps)) / real(n)),
        other => Err(StagesError::Method(other.name())),
    };
    let mut best: Option<(f64, StagedChoice)> = None;
    for thresholds in path {
        let counts = stages.at(thresholds);
        let bound = bound_of(&counts.counts)?;
        if bound > promise.epsilon() {
            if method == Method::Sweep {
                continue;
            }
            break;
        }
        let cost = total_cost(&counts.exits, n, costs);
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, StagedChoice { thresholds: thresholds.clone(), samples: n, counts, bound }));
        }
    }
    let share = if method == Method::LearnThenTest { delta / 2.0 } else { delta };
    let refusal = || Refusal { samples: n, needed: samples_needed(promise.epsilon(), share) };
    best.map(|(_, choice)| choice).ok_or_else(|| refusal().into())
}

/// What samples cost when so many leave at each saver; `costs` are the savers', the base's last.
#[must_use]
pub fn total_cost(exits: &[u64], samples: u64, costs: &[f64]) -> f64 {
    let mut left = samples;
    let mut total = 0.0;
    for (stage, cost) in costs.iter().enumerate() {
        total += real(left) * cost;
        left = left.saturating_sub(exits.get(stage).copied().unwrap_or(0));
    }
    total
}

#[cfg(test)]
#[path = "stages_tests.rs"]
mod tests;
