//! `tinysaver select`: the TinySaver paper's search for a saver, with intervals, in operations and in whatever else is known.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::json;
use tinysaver_core::select::{Interval, PaperExit, SaverSamples, bootstrap_delta_costs, paper_exit};

use crate::failure::Failure;
use crate::lab::paper_pairs::{PaperPair, paper_pairs};
use crate::lab::parquet_file;
use crate::lab::records::{ModelInfo, ModelRecords, Records};

/// What to search.
#[derive(Debug, Clone, clap::Args)]
pub struct SelectArgs {
    /// Records of a pool of models, with labels
    #[arg(value_name = "RECORDS.parquet", required_unless_present = "paper")]
    records: Option<PathBuf>,
    /// The paper's 43 bases and their savers, with published accuracies and operations, instead of records
    #[arg(long, conflicts_with = "records")]
    paper: bool,
    /// The base, by its id in the records; without, every model is tried as one
    #[arg(long, value_name = "ID")]
    base: Option<String>,
    /// Candidates, by their ids [default: all models that cost less than the base]
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    pool: Vec<String>,
    /// How many candidates are shown for each base, and get an interval
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// Draws behind the intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 200)]
    resamples: usize,
    /// Of these draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// A candidate for a base.
#[derive(Debug, Clone, Serialize)]
struct Candidate {
    saver: String,
    threshold: f64,
    exit_ratio: f64,
    /// `C_s / C_b`, in multiply-accumulates.
    cost_ratio: f64,
    /// `C_s / C_b` less the exit ratio.
    delta_cost: f64,
    delta_cost_95: Option<Interval>,
    /// Share of draws in which it is the best of those shown.
    best_share: Option<f64>,
    /// The same metric in milliseconds and joules, where both models have figures.
    delta_latency: Option<f64>,
    delta_energy: Option<f64>,
    enabled: bool,
    /// `1 - (accuracy of the base - of the saver)`: what the saver can carry at most.
    ratio_upper_bound: f64,
}

/// A base and its best candidates.
#[derive(Debug, Clone, Serialize)]
struct Search {
    base: String,
    accuracy: f64,
    candidates: Vec<Candidate>,
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

/// Searches and shows.
pub fn execute(args: &SelectArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let Some(path) = &args.records else { return show_paper(args, out) };
    let records = parquet_file::read(path).map_err(Failure::config)?;
    let name = || path.display().to_string();
    let searches = search_all(args, &records).with_context(name).map_err(Failure::config)?;
    if args.json {
        writeln!(out, "{}", json!({"samples": records.samples.len(), "searches": searches}))?;
        return Ok(());
    }
    for search in &searches {
        show(out, search, records.samples.len())?;
    }
    Ok(())
}

fn show_paper(args: &SelectArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let pairs = paper_pairs()?;
    if args.json {
        writeln!(out, "{}", json!({"pairs": pairs}))?;
        return Ok(());
    }
    writeln!(out, "{:22} {:24} {:>8} {:>8} {:>12}", "base", "saver", "C_s/C_b", "EE <=", "delta cost >=")?;
    for pair in &pairs {
        let or_none = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        let PaperPair { base, saver, ratio_upper_bound, .. } = pair;
        writeln!(
            out,
            "{base:22} {saver:24} {:>8} {ratio_upper_bound:>8.3} {:>12}",
            or_none(pair.cost_ratio),
            or_none(pair.lowest_delta_cost())
        )?;
    }
    writeln!(
        out,
        "EE is the exit ratio, at most 1 - (accuracy of the base - of the saver); published by timm, at 224 pixels"
    )?;
    Ok(())
}

fn search_all(args: &SelectArgs, records: &Records) -> Result<Vec<Search>> {
    if !records.is_labelled() {
        bail!("select needs labels: the paper's rule compares accuracies; record with right classes");
    }
    let prepared: Vec<Prepared> =
        records.models.iter().map(|model| Prepared::new(model, records)).collect::<Result<_>>()?;
    for id in args.base.iter().chain(&args.pool) {
        records.model(id)?;
    }
    let in_pool = |model: &Prepared| args.pool.is_empty() || args.pool.contains(&model.info.id);
    let is_base = |model: &&Prepared| args.base.as_ref().is_none_or(|base| *base == model.info.id);
    let bases: Vec<&Prepared> = prepared.iter().filter(is_base).collect();
    let one = |base: &&Prepared| {
        let pool: Vec<&Prepared> = prepared
            .iter()
            .filter(|saver| in_pool(saver) && saver.info.id != base.info.id && saver.info.macs < base.info.macs)
            .collect();
        search(args, base, &pool)
    };
    // Two halves, because boards and workstations have at least two cores.
    let halves = bases.split_at(bases.len() / 2);
    let all = |bases: &[&Prepared]| bases.iter().map(one).collect::<Result<Vec<Search>>>();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| all(halves.1));
        let mut searches = all(halves.0)?;
        searches.extend(other.join().map_err(|_| anyhow::anyhow!("a thread failed"))??);
        Ok(searches)
    })
}

fn search(args: &SelectArgs, base: &Prepared, pool: &[&Prepared]) -> Result<Search> {
    if base.info.macs == 0 {
        bail!("model '{}': its operations are not known; import it with --macs {}=N", base.info.id, base.info.id);
    }
    let mut found = Vec::new();
    for saver in pool {
        let cost_ratio = ratio(saver.info.macs, base.info.macs);
        found.push((*saver, cost_ratio, paper_exit(&saver.samples, &base.right, cost_ratio)?));
    }
    found.sort_by(|a, b| a.2.delta_cost.total_cmp(&b.2.delta_cost));
    found.truncate(args.top);
    let savers: Vec<(&SaverSamples, f64)> = found.iter().map(|(saver, ratio, _)| (&saver.samples, *ratio)).collect();
    let draws = bootstrap_delta_costs(&savers, &base.right, args.resamples, args.seed)?;
    let best = best_shares(&draws, args.resamples);
    let rows = found.iter().zip(draws).zip(best);
    let candidates = rows.map(|(((saver, cost_ratio, exit), draws), best_share)| {
        candidate(saver, base, *cost_ratio, exit, Interval::of(draws), best_share)
    });
    Ok(Search { base: base.info.id.clone(), accuracy: base.accuracy(), candidates: candidates.collect() })
}

fn candidate(
    saver: &Prepared,
    base: &Prepared,
    cost_ratio: f64,
    exit: &PaperExit,
    delta_cost_95: Option<Interval>,
    best_share: Option<f64>,
) -> Candidate {
    let delta = |saver: Option<f64>, base: Option<f64>| Some(saver? / base? - exit.exit_ratio());
    Candidate {
        saver: saver.info.id.clone(),
        threshold: exit.threshold,
        exit_ratio: exit.exit_ratio(),
        cost_ratio,
        delta_cost: exit.delta_cost,
        delta_cost_95,
        best_share,
        delta_latency: delta(saver.info.latency_us, base.info.latency_us),
        delta_energy: delta(saver.info.energy_joules, base.info.energy_joules),
        enabled: exit.is_enabled(),
        ratio_upper_bound: 1.0 - (base.accuracy() - saver.accuracy()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "operations")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
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

fn show(out: &mut dyn Write, search: &Search, samples: usize) -> std::io::Result<()> {
    writeln!(out, "base {}: accuracy {:.2} %, {samples} samples", search.base, search.accuracy * 100.0)?;
    if search.candidates.is_empty() {
        return writeln!(out, "  no model of the pool costs less");
    }
    writeln!(
        out,
        "  {:28} {:>8} {:>9} {:>10} {:>26} {:>6} {:>9} {:>9}",
        "saver", "C_s/C_b", "exits", "threshold", "delta cost [95 %]", "best", "in time", "in joules"
    )?;
    for candidate in &search.candidates {
        let interval = candidate
            .delta_cost_95
            .map_or_else(String::new, |Interval { low, high }| format!(" [{low:.3}, {high:.3}]"));
        let or_none = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"));
        writeln!(
            out,
            "  {:28} {:>8.4} {:>8.2}% {:>10.3} {:>26} {:>6} {:>9} {:>9}{}",
            candidate.saver,
            candidate.cost_ratio,
            candidate.exit_ratio * 100.0,
            candidate.threshold,
            format!("{:.4}{interval}", candidate.delta_cost),
            candidate.best_share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
            or_none(candidate.delta_latency),
            or_none(candidate.delta_energy),
            if candidate.enabled { "" } else { "  not worth having" }
        )?;
    }
    Ok(())
}
