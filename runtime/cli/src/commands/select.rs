//! `tinysaver select`: the TinySaver paper's search for a saver, with intervals, in operations and in whatever else is known.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::json;
use tinysaver_core::select::Interval;

use crate::commands::calibrate::write_page;
use crate::commands::import::parse_pair;
use crate::failure::Failure;
use crate::lab::page::pool_page;
use crate::lab::paper_pairs::{PaperPair, paper_pairs};
use crate::lab::parquet_file;
use crate::lab::records::Records;
use crate::lab::selection::{Candidate, Cost, Delta, Options, Search, search_all};

/// What to search.
#[derive(Debug, Clone, clap::Args)]
pub struct SelectArgs {
    /// Records of a pool of models, with labels
    #[arg(value_name = "RECORDS.parquet", required_unless_present = "paper")]
    records: Option<PathBuf>,
    /// The paper's 43 bases and their savers, with published accuracies and operations, instead of records
    #[arg(long, conflicts_with_all = ["records", "html"])]
    paper: bool,
    /// The base, by its id in the records; without, every model is tried as one
    #[arg(long, value_name = "ID")]
    base: Option<String>,
    /// Candidates, by their ids [default: all models that cost less than the base]
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    pool: Vec<String>,
    /// What they are ranked by; the others are shown beside it
    #[arg(long, value_name = "COST", value_enum, default_value = "macs")]
    by: Cost,
    /// Milliseconds of an inference on the board that is meant, instead of those in the records
    #[arg(long, value_name = "ID=MS", value_parser = parse_pair::<f64>)]
    latency_ms: Vec<(String, f64)>,
    /// Joules of an inference on the board that is meant
    #[arg(long, value_name = "ID=J", value_parser = parse_pair::<f64>)]
    energy_joules: Vec<(String, f64)>,
    /// How many candidates are shown for each base, and get an interval
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    /// Draws behind the intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 200)]
    resamples: usize,
    /// Of these draws
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write a plot of the candidates into this file, one HTML page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Searches and shows.
pub fn execute(args: &SelectArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let Some(path) = &args.records else { return show_paper(args, out) };
    let mut records = parquet_file::read(path).map_err(Failure::config)?;
    set_costs(args, &mut records).with_context(|| path.display().to_string()).map_err(Failure::config)?;
    let options = Options {
        base: args.base.clone(),
        pool: args.pool.clone(),
        by: args.by,
        top: args.top,
        resamples: args.resamples,
        seed: args.seed,
    };
    let searches =
        search_all(&options, &records).with_context(|| path.display().to_string()).map_err(Failure::config)?;
    let samples = records.samples.len();
    if let Some(page) = &args.html {
        write_page(page, &pool_page(&format!("{samples} samples of {}", path.display()), &searches))?;
    }
    if args.json {
        writeln!(out, "{}", json!({"samples": samples, "by": args.by, "searches": searches}))?;
        return Ok(());
    }
    for search in &searches {
        show(out, search, samples)?;
    }
    Ok(())
}

fn set_costs(args: &SelectArgs, records: &mut Records) -> Result<()> {
    for (id, milliseconds) in &args.latency_ms {
        records.info_mut(id)?.latency_us = Some(milliseconds * 1e3);
    }
    for (id, joules) in &args.energy_joules {
        records.info_mut(id)?.energy_joules = Some(*joules);
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

/// A value and its interval.
fn with_interval(value: f64, interval: Option<Interval>) -> String {
    let interval = interval.map_or_else(String::new, |Interval { low, high }| format!(" [{low:.3}, {high:.3}]"));
    format!("{value:.3}{interval}")
}

fn show(out: &mut dyn Write, search: &Search, samples: usize) -> std::io::Result<()> {
    writeln!(out, "base {}: accuracy {:.2} %, {samples} samples", search.base, search.accuracy * 100.0)?;
    if search.candidates.is_empty() {
        return writeln!(out, "  no model of the pool costs less");
    }
    writeln!(
        out,
        "  {:24} {:>8} {:>9} {:>10} {:>24} {:>6} {:>24} {:>24}",
        "saver",
        "C_s/C_b",
        "exits",
        "threshold",
        "delta MACs [95 %]",
        "best",
        "delta time [95 %]",
        "delta joules [95 %]"
    )?;
    for candidate in &search.candidates {
        let Candidate { saver, cost_ratio, threshold, .. } = candidate;
        let of = |delta: Option<Delta>| {
            delta.map_or_else(|| "-".to_owned(), |delta| with_interval(delta.value, delta.interval_95))
        };
        writeln!(
            out,
            "  {saver:24} {cost_ratio:>8.4} {:>8.2}% {threshold:>10.3} {:>24} {:>6} {:>24} {:>24}{}",
            candidate.exit_ratio * 100.0,
            of(candidate.macs),
            candidate.best_share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
            of(candidate.latency),
            of(candidate.energy),
            if candidate.enabled { "" } else { "  not worth having" }
        )?;
    }
    Ok(())
}
