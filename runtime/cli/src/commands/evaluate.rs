//! `tinysaver evaluate`: what policies do on records that they were not made with.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;
use tinysaver_core::risk::{Candidates, Judged, Method, Promise, Ranked, choose};
use tinysaver_core::select::{Interval, SplitMix};

use crate::commands::calibrate::PlanArgs;
use crate::failure::Failure;
use crate::lab::calibration::{calibrate, confidences, shared_samples};
use crate::lab::parquet_file;
use crate::lab::records::{ModelRecords, Records};
use crate::policy::PolicyFile;

/// The drops of the paper's tables, in percentage points.
const DROPS_PP: [f64; 4] = [0.01, 0.1, 0.5, 1.0];

/// Draws behind the interval of a drop.
const RESAMPLES: usize = 1000;

/// What to evaluate.
#[derive(Debug, Clone, clap::Args)]
pub struct EvaluateArgs {
    /// Records of samples that nothing was chosen on
    #[arg(value_name = "TEST.parquet")]
    records: PathBuf,
    /// A policy that `calibrate` wrote
    #[arg(long, value_name = "FILE", conflicts_with = "calibration")]
    policy: Option<PathBuf>,
    /// The paper's drops 0.01, 0.1, 0.5 and 1 pp, certified on these records and, beside that, swept on the test records
    #[arg(long, value_name = "CALIBRATION.parquet", required_unless_present = "policy")]
    calibration: Option<PathBuf>,
    #[command(flatten)]
    plan: PlanArgs,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// What a threshold does.
#[derive(Debug, Clone, Serialize)]
struct Figures {
    threshold: f32,
    exit_ratio: f64,
    accuracy: f64,
    /// Always-base less this, in percentage points; negative where this is better.
    drop_pp: f64,
    /// Of the drop, by resampling.
    drop_pp_95: Option<Interval>,
    macs: f64,
    /// Share of always-base's.
    macs_saved: f64,
    latency_us: Option<f64>,
    energy_joules: Option<f64>,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
struct Row {
    drop_pp: f64,
    how: &'static str,
    figures: Option<Figures>,
    /// Why there is none.
    refused: Option<String>,
}

/// A pair on test records.
struct Test<'a> {
    saver: &'a ModelRecords,
    base: &'a ModelRecords,
    answers: Vec<(u32, u32, Option<u32>)>,
    labelled: bool,
}

impl<'a> Test<'a> {
    fn new(records: &'a Records, saver: &str, base: &str) -> Result<Self> {
        let (saver, base) = (records.model(saver)?, records.model(base)?);
        let labels = records.samples.iter().map(|sample| sample.label);
        let answers = saver.answers().zip(base.answers()).zip(labels).map(|((s, b), label)| (s, b, label)).collect();
        Ok(Self { saver, base, answers, labelled: records.is_labelled() })
    }

    fn judged(&self, confidences: &[f32]) -> Vec<Judged> {
        let rows = confidences.iter().zip(&self.answers);
        rows.map(|(confidence, (saver, base, label))| {
            Judged::new(*confidence, *saver, *base, label.filter(|_| self.labelled))
        })
        .collect()
    }

    fn figures(&self, confidences: &[f32], threshold: f32) -> Figures {
        let judged = self.judged(confidences);
        let drops: Vec<i8> = judged
            .iter()
            .map(|sample| if sample.confidence > threshold { i8::from(sample.harm) - i8::from(sample.help) } else { 0 })
            .collect();
        let n = real(judged.len().max(1));
        let exits = real(judged.iter().filter(|sample| sample.confidence > threshold).count());
        let base_right = real(
            self.answers
                .iter()
                .filter(|(_, base, label)| label.filter(|_| self.labelled).unwrap_or(*base) == *base)
                .count(),
        );
        let drop = drops.iter().map(|drop| f64::from(*drop)).sum::<f64>() / n;
        let mixed = |saver: f64, base: f64| saver + (1.0 - exits / n) * base;
        let (saver, base) = (&self.saver.info, &self.base.info);
        #[expect(clippy::cast_precision_loss, reason = "operations")]
        let (saver_macs, base_macs) = (saver.macs as f64, base.macs as f64);
        let macs = mixed(saver_macs, base_macs);
        Figures {
            threshold,
            exit_ratio: exits / n,
            accuracy: base_right / n - drop,
            drop_pp: drop * 100.0,
            drop_pp_95: resampled(&drops),
            macs,
            macs_saved: if base_macs > 0.0 { 1.0 - macs / base_macs } else { 0.0 },
            latency_us: saver.latency_us.zip(base.latency_us).map(|(saver, base)| mixed(saver, base)),
            energy_joules: saver.energy_joules.zip(base.energy_joules).map(|(saver, base)| mixed(saver, base)),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn real(count: usize) -> f64 {
    count as f64
}

/// The drop's 95 % interval in percentage points: only how many harms and helps there are matters, so these are drawn.
fn resampled(drops: &[i8]) -> Option<Interval> {
    let changing: Vec<i8> = drops.iter().copied().filter(|drop| *drop != 0).collect();
    let (n, mut random) = (drops.len(), SplitMix::new(1));
    let rate = real(changing.len()) / real(n.max(1));
    let draw = |random: &mut SplitMix| {
        // The number of changed answers is Poisson to a very good approximation: they are few among many.
        let (mut sum, mut left) = (0.0, rate * real(n));
        while left > 0.0 && !changing.is_empty() {
            left += random.unit().max(f64::MIN_POSITIVE).ln();
            if left > 0.0 {
                sum += f64::from(changing.get(random.below(changing.len())).copied().unwrap_or(0));
            }
        }
        100.0 * sum / real(n.max(1))
    };
    Interval::of((0..RESAMPLES).map(|_| draw(&mut random)).collect())
}

/// Evaluates and shows.
pub fn execute(args: &EvaluateArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let test = parquet_file::read(&args.records).map_err(Failure::config)?;
    let report = match (&args.policy, &args.calibration) {
        (Some(path), _) => with_policy(path, &test),
        (None, Some(path)) => with_calibration(args, path, &test),
        (None, None) => Err(anyhow::anyhow!("neither --policy nor --calibration")),
    };
    let (pair, rows, ends) = report.map_err(Failure::config)?;
    if args.json {
        let object = json!({"saver": pair.0, "base": pair.1, "samples": test.samples.len(), "rows": rows,
            "always_saver": ends.0, "always_base": ends.1});
        writeln!(out, "{object}")?;
        return Ok(());
    }
    writeln!(out, "{} / {}, {} test samples", pair.0, pair.1, test.samples.len())?;
    writeln!(
        out,
        "{:28} {:>10} {:>7} {:>9} {:>24} {:>12} {:>8}",
        "", "threshold", "exits", "accuracy", "drop pp [95 %]", "MAC/frame", "saved"
    )?;
    let line = |out: &mut dyn Write, name: &str, figures: &Figures| {
        let Figures { threshold, exit_ratio, accuracy, drop_pp, drop_pp_95, macs, macs_saved, .. } = figures;
        let interval = drop_pp_95.map_or_else(String::new, |Interval { low, high }| format!(" [{low:.2}, {high:.2}]"));
        let drop = format!("{drop_pp:.3}{interval}");
        let times = [
            figures.latency_us.map(|us| format!("  {:.3} ms", us / 1e3)),
            figures.energy_joules.map(|j| format!("  {j:.4} J")),
        ];
        writeln!(
            out,
            "{name:28} {threshold:>10.6} {:>6.2}% {:>8.2}% {drop:>24} {macs:>12.0} {:>7.2}%{}",
            exit_ratio * 100.0,
            accuracy * 100.0,
            macs_saved * 100.0,
            times.into_iter().flatten().collect::<String>()
        )
    };
    for row in &rows {
        let name = if row.how == "policy" { "policy".to_owned() } else { format!("{} pp, {}", row.drop_pp, row.how) };
        match (&row.figures, &row.refused) {
            (Some(figures), _) => line(out, &name, figures)?,
            (None, why) => writeln!(out, "{name:28} refused: {}", why.as_deref().unwrap_or(""))?,
        }
    }
    line(out, "always saver", &ends.0)?;
    line(out, "always base", &ends.1)?;
    Ok(())
}

type Report = ((String, String), Vec<Row>, (Figures, Figures));

fn ends(test: &Test, confidences: &[f32]) -> (Figures, Figures) {
    let saver = test.figures(confidences, -1.0);
    let mut base = test.figures(confidences, 1.0);
    // Always-base does not run the saver.
    let info = &test.base.info;
    #[expect(clippy::cast_precision_loss, reason = "operations")]
    let macs = info.macs as f64;
    (base.macs, base.macs_saved, base.latency_us, base.energy_joules) =
        (macs, 0.0, info.latency_us, info.energy_joules);
    (saver, base)
}

fn with_policy(path: &std::path::Path, records: &Records) -> Result<Report> {
    let policy = PolicyFile::read(path)?;
    let test = Test::new(records, &policy.saver.id, &policy.base.id)?;
    let hashes = (test.saver.info.sha256.as_str(), test.base.info.sha256.as_str());
    policy.check_models(path, (&policy.saver.id, hashes.0), (&policy.base.id, hashes.1))?;
    if policy.certificate.data_sha256 == records.data_hash() {
        log::warn!(
            "these are the very samples that the policy was made with: their drop says nothing of other samples"
        );
    }
    let confidences = confidences(test.saver, policy.temperature, policy.score)?;
    let figures = test.figures(&confidences, policy.threshold.value());
    let row = Row { drop_pp: policy.certificate.epsilon * 100.0, how: "policy", figures: Some(figures), refused: None };
    let ends = ends(&test, &confidences);
    Ok(((policy.saver.id, policy.base.id), vec![row], ends))
}

fn with_calibration(args: &EvaluateArgs, path: &std::path::Path, records: &Records) -> Result<Report> {
    let calibration = parquet_file::read(path)?;
    let shared = shared_samples(&calibration, records);
    if shared > 0 {
        log::warn!(
            "{shared} of {} test samples are calibration samples, too ({} and {}): drops are better than they will be",
            records.samples.len(),
            path.display(),
            args.records.display()
        );
    }
    let mut plan = args.plan.plan()?;
    let test = Test::new(records, &plan.saver, &plan.base)?;
    let (mut rows, mut of_ends) = (Vec::new(), None);
    for drop_pp in DROPS_PP {
        plan.promise = Promise::new(drop_pp / 100.0, plan.promise.delta())?;
        let certified = calibrate(&calibration, &plan);
        let (figures, refused) = match certified {
            Ok(certified) => {
                let confidences = confidences(test.saver, certified.temperature, certified.score)?;
                of_ends.get_or_insert_with(|| ends(&test, &confidences));
                (Some(test.figures(&confidences, certified.choice.threshold.value())), None)
            }
            Err(error) if error.is::<tinysaver_core::risk::Refusal>() => (None, Some(error.to_string())),
            Err(error) => return Err(error.context(path.display().to_string())),
        };
        let how = if plan.method.is_certificate() { "certified" } else { "calibrated" };
        rows.push(Row { drop_pp, how, figures, refused });
        let plain = &test.saver.confidence;
        let ranked = Ranked::new(test.judged(plain))?;
        let grid = Candidates::Grid(std::num::NonZeroU32::new(1000).context("no grid")?);
        let swept = choose(Method::Sweep, &ranked, plan.promise, grid)?;
        of_ends.get_or_insert_with(|| ends(&test, plain));
        rows.push(Row {
            drop_pp,
            how: "test-swept",
            figures: Some(test.figures(plain, swept.threshold.value())),
            refused: None,
        });
    }
    let ends = of_ends.context("no rows")?;
    Ok(((plan.saver, plan.base), rows, ends))
}
