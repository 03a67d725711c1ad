//! `tinysaver evaluate`: what policies do on records that they were not made with.

use std::io::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::json;
use tinysaver_core::risk::{Candidates, Method, Promise, Ranked, Refusal, Stages, StagesError, choose, choose_on_path};
use tinysaver_core::select::Interval;
use tinysaver_core::{Score, Temperature};

use crate::commands::calibrate::{PlanArgs, write_page};
use crate::failure::Failure;
use crate::lab::calibration::{Judge, Plan, calibrate, calibrate_stages, costs, shared_samples};
use crate::lab::evaluation::{Figures, Test};
use crate::lab::page::{Page, Point};
use crate::lab::parquet_file;
use crate::lab::records::Records;
use crate::policy::{PolicyFile, PolicyModel};

/// The drops of the paper's tables, in percentage points.
const DROPS_PP: [f64; 4] = [0.01, 0.1, 0.5, 1.0];

/// The paper's sweep looks at 1,001 thresholds.
const SWEEP_STEPS: u32 = 1000;

/// The paper's judge: the largest probability as it is.
const PLAIN: Judge = Judge { temperature: Temperature::ONE, score: Score::MaxSoftmax };

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
    /// A cascade of three or four models, the cheapest first and the base last, instead of --saver and --base
    #[arg(long, value_name = "ID,ID,ID", value_delimiter = ',', num_args = 1, conflicts_with_all = ["policy", "saver", "base"])]
    stages: Vec<String>,
    #[command(flatten)]
    plan: PlanArgs,
    /// Write the plots of the test samples into this file, one HTML page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
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

/// The table, and what its plots need.
struct Report {
    models: Vec<String>,
    rows: Vec<Row>,
    always_saver: Figures,
    always_base: Figures,
    judge: Judge,
    promise: Option<(Method, Promise)>,
    /// Whether labels say what is right, and not the base.
    labelled: bool,
}

/// Evaluates and shows.
pub fn execute(args: &EvaluateArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let test = parquet_file::read(&args.records).map_err(Failure::config)?;
    let report = match (&args.policy, &args.calibration) {
        (Some(path), _) => with_policy(path, &test),
        (None, Some(path)) => with_calibration(args, path, &test),
        (None, None) => Err(anyhow::anyhow!("neither --policy nor --calibration")),
    };
    let report = report.map_err(Failure::config)?;
    if let Some(path) = &args.html {
        write_page(path, &page(&report, &test, &args.records)?)?;
    }
    if args.json {
        let Report { models, rows, always_saver, always_base, .. } = &report;
        let object = json!({"models": models, "samples": test.samples.len(), "labelled": report.labelled, "rows": rows,
            "always_saver": always_saver, "always_base": always_base});
        writeln!(out, "{object}")?;
        return Ok(());
    }
    show(out, &report, &test)?;
    Ok(())
}

fn show(out: &mut dyn Write, report: &Report, test: &Records) -> std::io::Result<()> {
    let truth = if report.labelled { "" } else { ", judged by the base's answers (no labels)" };
    writeln!(out, "{}, {} test samples{truth}", report.models.join(" / "), test.samples.len())?;
    writeln!(
        out,
        "{:22} {:>20} {:>8} {:>9} {:>23} {:>12} {:>8}",
        "", "threshold", "exits", "accuracy", "drop pp [95 %]", "MAC/frame", "saved"
    )?;
    for row in &report.rows {
        let name = if row.how == "policy" { "policy".to_owned() } else { format!("{} pp, {}", row.drop_pp, row.how) };
        match (&row.figures, &row.refused) {
            (Some(figures), _) => line(out, &name, figures)?,
            (None, why) => writeln!(out, "{name:22} refused: {}", why.as_deref().unwrap_or(""))?,
        }
    }
    line(out, "always saver", &report.always_saver)?;
    line(out, "always base", &report.always_base)
}

fn line(out: &mut dyn Write, name: &str, figures: &Figures) -> std::io::Result<()> {
    let Figures { exit_ratio, accuracy, drop_pp, drop_pp_95, macs, macs_saved, .. } = figures;
    let thresholds: Vec<String> = figures.thresholds.iter().map(|threshold| format!("{threshold:.6}")).collect();
    let thresholds = if thresholds.is_empty() { "-".to_owned() } else { thresholds.join("/") };
    let interval = drop_pp_95.map_or_else(String::new, |Interval { low, high }| format!(" [{low:.2}, {high:.2}]"));
    let drop = format!("{drop_pp:.3}{interval}");
    let spent = [
        figures.latency_us.map(|us| format!("  {:.3} ms", us / 1e3)),
        figures.energy_joules.map(|joules| format!("  {joules:.4} J")),
    ];
    writeln!(
        out,
        "{name:22} {thresholds:>20} {:>7.2}% {:>8.2}% {drop:>23} {macs:>12.0} {:>7.2}%{}",
        exit_ratio * 100.0,
        accuracy * 100.0,
        macs_saved * 100.0,
        spent.into_iter().flatten().collect::<String>()
    )
}

fn with_policy(path: &Path, records: &Records) -> Result<Report> {
    let policy = PolicyFile::read(path)?;
    let models = [policy.saver.id.clone(), policy.base.id.clone()];
    let test = Test::new(records, &models.each_ref().map(String::as_str), !policy.certificate.labelled)?;
    let saver = test.savers.first().context("no saver")?;
    if is_nameless(&policy.saver, &saver.info.sha256) && is_nameless(&policy.base, &test.base.info.sha256) {
        log::warn!("neither policy nor records say which model files they are of: only the names are compared");
    } else {
        let of = |model: &PolicyModel, sha256: &str| (model.id.clone(), sha256.to_owned());
        let ((saver, saver_hash), (base, base_hash)) =
            (of(&policy.saver, &saver.info.sha256), of(&policy.base, &test.base.info.sha256));
        policy.check_models(path, (&saver, &saver_hash), (&base, &base_hash))?;
    }
    if policy.certificate.data_sha256 == records.data_hash() {
        log::warn!(
            "these are the very samples that the policy was made with: their drop says nothing of other samples"
        );
    }
    let judge = Judge { temperature: policy.temperature, score: policy.score };
    let stages = test.stages(&[judge])?;
    let epsilon = policy.certificate.epsilon;
    let figures = test.figures(&stages, &[policy.threshold.value()]);
    let rows = vec![Row { drop_pp: epsilon * 100.0, how: "policy", figures: Some(figures), refused: None }];
    let (always_saver, always_base) = test.ends(&stages);
    let promise = Some((policy.certificate.method, Promise::new(epsilon, policy.certificate.delta)?));
    let labelled = records.is_labelled() && policy.certificate.labelled;
    Ok(Report { models: models.to_vec(), rows, always_saver, always_base, judge, promise, labelled })
}

fn is_nameless(model: &PolicyModel, sha256: &str) -> bool {
    model.sha256.is_empty() && sha256.is_empty()
}

fn with_calibration(args: &EvaluateArgs, path: &Path, records: &Records) -> Result<Report> {
    let mut plan = match args.stages.split_last() {
        None => args.plan.plan()?,
        Some((base, savers)) if !savers.is_empty() => args.plan.plan_of(savers.to_vec(), base.clone())?,
        Some(_) => bail!("--stages wants at least a saver and a base"),
    };
    let calibration = args.plan.read_records(path, &mut plan)?;
    let shared = shared_samples(&calibration, records);
    if shared > 0 {
        log::warn!(
            "{shared} of {} test samples are calibration samples, too ({} and {}): drops are better than they will be",
            records.samples.len(),
            path.display(),
            args.records.display()
        );
    }
    let test = Test::new(records, &plan.models(), plan.ignore_labels)?;
    let plain = test.stages(&vec![PLAIN; plan.savers.len()])?;
    let (mut rows, mut judge) = (Vec::new(), PLAIN);
    let mut drops = DROPS_PP.to_vec();
    let asked = plan.promise.epsilon() * 100.0;
    if !drops.iter().any(|drop| (drop - asked).abs() < 1e-9) {
        drops.push(asked);
    }
    for drop_pp in drops {
        let plan = Plan { promise: Promise::new(drop_pp / 100.0, plan.promise.delta())?, ..plan.clone() };
        let how = if plan.method.is_certificate() { "certified" } else { "calibrated" };
        let row = match certified(&calibration, &plan, &test) {
            Ok((figures, of)) => {
                judge = of;
                Row { drop_pp, how, figures: Some(figures), refused: None }
            }
            Err(error) => match refusal(&error) {
                Some(refused) => Row { drop_pp, how, figures: None, refused: Some(refused.to_string()) },
                None => return Err(error.context(path.display().to_string())),
            },
        };
        rows.push(row);
        let swept = swept(records, &plan, &test, &plain)?;
        rows.push(Row { drop_pp, how: "test-swept", figures: Some(swept), refused: None });
    }
    let (always_saver, always_base) = test.ends(&plain);
    let models = plan.models().into_iter().map(str::to_owned).collect();
    let (promise, labelled) = (Some((plan.method, plan.promise)), records.is_labelled() && !plan.ignore_labels);
    Ok(Report { models, rows, always_saver, always_base, judge, promise, labelled })
}

/// That the samples are too few is an answer.
fn refusal(error: &anyhow::Error) -> Option<Refusal> {
    let of_stages = |error: &StagesError| match error {
        StagesError::Refused(refusal) => Some(*refusal),
        StagesError::Method(_) => None,
    };
    error.downcast_ref::<Refusal>().copied().or_else(|| error.downcast_ref::<StagesError>().and_then(of_stages))
}

/// What thresholds that were chosen on the calibration samples do to the test samples; and the first saver's judge.
fn certified(calibration: &Records, plan: &Plan, test: &Test) -> Result<(Figures, Judge)> {
    let (judges, thresholds) = if plan.savers.len() == 1 {
        let made = calibrate(calibration, plan)?;
        (vec![made.judge], vec![made.choice.threshold.value()])
    } else {
        let made = calibrate_stages(calibration, plan)?;
        (made.judges, made.choice.thresholds)
    };
    let first = judges.first().copied().context("no saver")?;
    Ok((test.figures(&test.stages(&judges)?, &thresholds), first))
}

/// The paper's way: chosen on the very samples that it is judged on.
fn swept(records: &Records, plan: &Plan, test: &Test, plain: &Stages) -> Result<Figures> {
    if let [saver] = test.savers.as_slice() {
        let ranked = Ranked::new(test.judged(saver, PLAIN)?)?;
        let grid = Candidates::Grid(NonZeroU32::new(SWEEP_STEPS).context("no grid")?);
        let swept = choose(Method::Sweep, &ranked, plan.promise, grid)?;
        return Ok(test.figures(plain, &[swept.threshold.value()]));
    }
    let costs = costs(records, plan)?;
    let swept = choose_on_path(Method::Sweep, plain, &plain.path(&costs), &costs, plan.promise)?;
    Ok(test.figures(plain, &swept.thresholds))
}

/// The plots of the first saver and the base; of more models, what they do together is shown as points.
fn page(report: &Report, records: &Records, path: &Path) -> Result<String> {
    let ids: Vec<&str> = report.models.iter().map(String::as_str).collect();
    let (saver, base) = (ids.first().copied().unwrap_or(""), ids.last().copied().unwrap_or(""));
    let test = Test::new(records, &[saver, base], !report.labelled)?;
    let mut points = Vec::new();
    for row in &report.rows {
        let Some(figures) = &row.figures else { continue };
        let name = format!("{} pp, {}", row.drop_pp, row.how);
        points.push(Point { name, is_swept: row.how == "test-swept", figures });
    }
    let chosen = |row: &&Row| {
        row.how != "test-swept"
            && report.promise.is_none_or(|(_, promise)| (row.drop_pp - promise.epsilon() * 100.0).abs() < 1e-9)
    };
    let figures = report.rows.iter().find(chosen).and_then(|row| row.figures.as_ref());
    let threshold = figures.and_then(|figures| figures.thresholds.first()).copied();
    let title = format!("{} on {} test samples of {}", ids.join(" / "), records.samples.len(), path.display());
    Page { title, test: &test, judge: report.judge, threshold, promise: report.promise, points }.render()
}
