//! The paper's search for a saver over records: in operations, milliseconds or joules, with intervals.

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tinysaver_core::select::{Interval, PaperExit, SaverSamples, bootstrap_delta_costs, paper_exit};

use crate::lab::records::{ModelInfo, ModelRecords, Records};

/// What a saver's cost is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Cost {
    /// Multiply-accumulates, as in the paper
    Macs,
    /// Milliseconds of an inference
    Latency,
    /// Joules of an inference
    Energy,
}

impl Cost {
    /// Of one inference; `None` where nobody said.
    fn of(self, info: &ModelInfo) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "operations")]
        match self {
            Self::Macs => (info.macs > 0).then_some(info.macs as f64),
            Self::Latency => info.latency_us,
            Self::Energy => info.energy_joules,
        }
    }

    fn wanted(self, info: &ModelInfo) -> Result<f64> {
        let (what, flag) = match self {
            Self::Macs => ("operations are", "import --macs"),
            Self::Latency => ("milliseconds are", "--latency-ms"),
            Self::Energy => ("joules are", "--energy-joules"),
        };
        let id = &info.id;
        self.of(info).with_context(|| format!("model '{id}': its {what} not known; name them with {flag} {id}=N"))
    }
}

/// What to search, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The base; none: every model is tried as one.
    pub base: Option<String>,
    /// Candidates; empty: all that cost less than the base.
    pub pool: Vec<String>,
    /// What they are ranked by.
    pub by: Cost,
    /// How many are kept for each base.
    pub top: usize,
    /// Draws behind the intervals.
    pub resamples: usize,
    /// Of these draws.
    pub seed: u64,
}

/// The paper's metric in one kind of cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Delta {
    /// `C_s / C_b`.
    pub cost_ratio: f64,
    /// `C_s / C_b` less the exit ratio.
    pub value: f64,
    /// The middle 95 % under resampling.
    pub interval_95: Option<Interval>,
}

/// A candidate for a base.
#[derive(Debug, Clone, Serialize)]
pub struct Candidate {
    /// Its id.
    pub saver: String,
    /// Where the walk ended.
    pub threshold: f64,
    /// Share that exits there.
    pub exit_ratio: f64,
    /// `C_s / C_b`, in what it is ranked by.
    pub cost_ratio: f64,
    /// `C_s / C_b` less the exit ratio.
    pub delta_cost: f64,
    /// Of the delta cost.
    pub delta_cost_95: Option<Interval>,
    /// Share of draws in which it is the best of those shown.
    pub best_share: Option<f64>,
    /// The same metric in each kind of cost, where both models have figures.
    pub macs: Option<Delta>,
    /// In milliseconds.
    pub latency: Option<Delta>,
    /// In joules.
    pub energy: Option<Delta>,
    /// The paper's condition: the delta cost is below 0.
    pub enabled: bool,
    /// `1 - (accuracy of the base - of the saver)`: what the saver can carry at most.
    pub ratio_upper_bound: f64,
}

/// A base and its best candidates.
#[derive(Debug, Clone, Serialize)]
pub struct Search {
    /// Its id.
    pub base: String,
    /// Share of right answers.
    pub accuracy: f64,
    /// The best first.
    pub candidates: Vec<Candidate>,
}

/// A model, prepared once for all bases.
struct Prepared<'a> {
    info: &'a ModelInfo,
    right: Vec<bool>,
    samples: SaverSamples,
}

impl<'a> Prepared<'a> {
    fn new(model: &'a ModelRecords, records: &Records) -> Result<Self> {
        let labels = records.samples.iter().map(|sample| sample.label);
        let right: Vec<bool> = model.answers().zip(labels).map(|(answer, label)| label == Some(answer)).collect();
        let samples = SaverSamples::new(&model.confidence, &right)?;
        Ok(Self { info: &model.info, right, samples })
    }

    fn accuracy(&self) -> f64 {
        share(self.right.iter().filter(|right| **right).count(), self.right.len())
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// Searches for each base, on two threads: boards and workstations have at least two cores.
///
/// # Errors
/// No labels, a model that is not in the records, or costs that are not known.
pub fn search_all(options: &Options, records: &Records) -> Result<Vec<Search>> {
    if !records.is_labelled() {
        bail!("select needs labels: the paper's rule compares accuracies; record with right classes");
    }
    for id in options.base.iter().chain(&options.pool) {
        records.model(id)?;
    }
    ensure!(options.resamples < 100_000, "--resamples {}: fewer than 100,000 are wanted", options.resamples);
    let prepared: Vec<Prepared> =
        records.models.iter().map(|model| Prepared::new(model, records)).collect::<Result<_>>()?;
    let is_base = |model: &&Prepared| options.base.as_ref().is_none_or(|base| *base == model.info.id);
    let bases: Vec<&Prepared> = prepared.iter().filter(is_base).collect();
    let halves = bases.split_at(bases.len() / 2);
    let all = |bases: &[&Prepared]| {
        bases.iter().map(|base| search(options, base, &prepared)).collect::<Result<Vec<Search>>>()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| all(halves.1));
        let mut searches = all(halves.0)?;
        searches.extend(other.join().map_err(|_| anyhow::anyhow!("a thread failed"))??);
        Ok(searches)
    })
}

fn search(options: &Options, base: &Prepared, models: &[Prepared]) -> Result<Search> {
    let base_cost = options.by.wanted(base.info)?;
    let mut found = Vec::new();
    for saver in models.iter().filter(|saver| saver.info.id != base.info.id) {
        if !options.pool.is_empty() && !options.pool.contains(&saver.info.id) {
            continue;
        }
        let cost = options.by.wanted(saver.info)?;
        // As in the paper's code, one that costs as much is no candidate.
        if cost < base_cost {
            let exit = paper_exit(&saver.samples, &base.right, cost / base_cost)?;
            found.push((saver, cost / base_cost, exit));
        }
    }
    found.sort_by(|a, b| a.2.delta_cost.total_cmp(&b.2.delta_cost));
    found.truncate(options.top);
    let savers: Vec<(&SaverSamples, f64)> = found.iter().map(|(saver, ratio, _)| (&saver.samples, *ratio)).collect();
    let draws = bootstrap_delta_costs(&savers, &base.right, options.resamples, options.seed)?;
    let best = best_shares(&draws, options.resamples);
    let rows = found.iter().zip(draws).zip(best);
    let candidates = rows.map(|(((saver, cost_ratio, exit), draws), best_share)| {
        candidate(saver, base, (*cost_ratio, exit), Interval::of(draws), best_share)
    });
    Ok(Search { base: base.info.id.clone(), accuracy: base.accuracy(), candidates: candidates.collect() })
}

fn candidate(
    saver: &Prepared,
    base: &Prepared,
    (cost_ratio, exit): (f64, &PaperExit),
    delta_cost_95: Option<Interval>,
    best_share: Option<f64>,
) -> Candidate {
    // Every draw's exit ratio is the same in all kinds of cost, so the interval only moves.
    let delta = |cost: Cost| {
        let other = cost.of(saver.info)? / cost.of(base.info)?;
        let moved =
            |Interval { low, high }| Interval { low: low + other - cost_ratio, high: high + other - cost_ratio };
        let value = other - exit.exit_ratio();
        Some(Delta { cost_ratio: other, value, interval_95: delta_cost_95.map(moved) })
    };
    Candidate {
        saver: saver.info.id.clone(),
        threshold: exit.threshold,
        exit_ratio: exit.exit_ratio(),
        cost_ratio,
        delta_cost: exit.delta_cost,
        delta_cost_95,
        best_share,
        macs: delta(Cost::Macs),
        latency: delta(Cost::Latency),
        energy: delta(Cost::Energy),
        enabled: exit.is_enabled(),
        ratio_upper_bound: 1.0 - (base.accuracy() - saver.accuracy()),
    }
}

/// In which share of the draws each saver (row) has the smallest cost.
fn best_shares(draws: &[Vec<f64>], resamples: usize) -> Vec<Option<f64>> {
    let mut wins = vec![0usize; draws.len()];
    for draw in 0..resamples {
        let of = |row: &Vec<f64>| row.get(draw).copied().unwrap_or(f64::INFINITY);
        let best = draws.iter().enumerate().min_by(|a, b| of(a.1).total_cmp(&of(b.1)));
        if let Some(count) = best.and_then(|(row, _)| wins.get_mut(row)) {
            *count += 1;
        }
    }
    wins.into_iter().map(|wins| (resamples > 0).then(|| share(wins, resamples))).collect()
}
