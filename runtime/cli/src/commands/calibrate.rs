//! `tinysaver calibrate`: a threshold with a promise, as a policy that `run` uses.

use std::fs;
use std::io::Write;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tinysaver_core::risk::{Candidates, Method, Promise, Refusal};
use tinysaver_core::{Temperature, Threshold};

use crate::failure::Failure;
use crate::lab::calibration::{
    Calibrated, FitOn, Plan, ScoreKind, TemperatureChoice, calibrate, repeated_samples, shared_samples,
};
use crate::lab::evaluation::Test;
use crate::lab::page::{Page, Point};
use crate::lab::parquet_file;
use crate::lab::records::Records;
use crate::policy::{Certificate, POLICY_SCHEMA, PolicyFile, PolicyModel};

/// What to calibrate and how.
#[derive(Debug, Clone, clap::Args)]
pub struct CalibrateArgs {
    /// Records of calibration samples, by `tinysaver record` or `tinysaver import`
    #[arg(value_name = "RECORDS.parquet")]
    records: PathBuf,
    #[command(flatten)]
    pub plan: PlanArgs,
    /// Write the policy into this file; without, it is only shown
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the plots of these samples into this file, one HTML page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// How a threshold is chosen.
#[derive(Debug, Clone, clap::Args)]
pub struct PlanArgs {
    /// The saver, by its id in the records
    #[arg(long, value_name = "ID")]
    saver: Option<String>,
    /// The base, by its id in the records
    #[arg(long, value_name = "ID")]
    base: Option<String>,
    /// rcps, ltt, sgr, crc (in expectation only) or sweep (not a guarantee)
    #[arg(long, value_name = "NAME", default_value = "rcps", value_parser = parse_method)]
    method: Method,
    /// The drop in accuracy that is allowed, in percentage points of all frames; for sgr, wrong among accepted answers
    #[arg(long, value_name = "PP", default_value_t = 0.5)]
    epsilon_pp: f64,
    /// The probability with which the promise may break
    #[arg(long, value_name = "P", default_value_t = 0.05)]
    delta: f64,
    /// What the gate judges
    #[arg(long, value_name = "NAME", value_enum, default_value = "max_softmax")]
    score: ScoreKind,
    /// Divides the saver's logits: a number, or `fit` (needs records with logits)
    #[arg(long, value_name = "T", default_value = "1", value_parser = parse_temperature)]
    temperature: TemperatureChoice,
    /// Share of the samples that fits use; the threshold is chosen on the rest
    #[arg(long, value_name = "SHARE", default_value_t = 0.2, value_parser = parse_share, conflicts_with = "fit_records")]
    fit_share: f64,
    /// Records of other samples for fits; the threshold is chosen on all of the calibration samples then
    #[arg(long, value_name = "FILE.parquet")]
    fit_records: Option<PathBuf>,
    /// Seed of that split
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Look only at thresholds from 1 to 0 in so many steps [default: at all that make a difference]
    #[arg(long, value_name = "N")]
    grid: Option<NonZeroU32>,
    /// Take the base's answers for the labels, even where there are some
    #[arg(long)]
    ignore_labels: bool,
}

impl PlanArgs {
    /// What these ask for.
    ///
    /// # Errors
    /// No saver or base is named, or an epsilon or delta that can mean nothing.
    pub fn plan(&self) -> Result<Plan> {
        let saver = self.saver.clone().context("no saver: name it with --saver, by its id in the records")?;
        self.plan_of(vec![saver], self.base.clone().context("no base: name it with --base, by its id in the records")?)
    }

    /// The same for these models.
    ///
    /// # Errors
    /// An epsilon or delta that can mean nothing.
    pub fn plan_of(&self, savers: Vec<String>, base: String) -> Result<Plan> {
        Ok(Plan {
            savers,
            base,
            method: self.method,
            promise: Promise::new(self.epsilon_pp / 100.0, self.delta)?,
            score: self.score,
            temperature: self.temperature,
            fit_on: FitOn::Share(self.fit_share, self.seed),
            candidates: self.grid.map_or(Candidates::Observed, Candidates::Grid),
            ignore_labels: self.ignore_labels,
        })
    }
}

impl PlanArgs {
    /// Reads calibration records and adds those for fits, if they are records of their own; the plan learns of it.
    ///
    /// # Errors
    /// A file that cannot be read, of other models, or with samples that are in both.
    pub fn read_records(&self, path: &Path, plan: &mut Plan) -> Result<Records> {
        let mut records = parquet_file::read(path)?;
        let Some(fit_path) = &self.fit_records else { return Ok(records) };
        let fit = parquet_file::read(fit_path)?;
        let shared = shared_samples(&records, &fit);
        ensure!(
            shared == 0,
            "{}: {shared} of its samples are in {}, too: what was fitted on them says nothing of them",
            fit_path.display(),
            path.display()
        );
        plan.fit_on = FitOn::Last(fit.samples.len());
        records.append(fit).with_context(|| fit_path.display().to_string())?;
        Ok(records)
    }
}

/// A method by its name.
///
/// # Errors
/// There is none of that name.
pub fn parse_method(name: &str) -> Result<Method, String> {
    Method::ALL
        .into_iter()
        .find(|method| method.name() == name)
        .ok_or_else(|| format!("no such method; there are {}", Method::ALL.map(Method::name).join(", ")))
}

fn parse_temperature(text: &str) -> Result<TemperatureChoice, String> {
    if text == "fit" {
        return Ok(TemperatureChoice::Fit);
    }
    let number: f64 = text.parse().map_err(|_| "neither a number nor `fit`".to_owned())?;
    Temperature::try_from(number).map(TemperatureChoice::Fixed).map_err(|error| error.to_string())
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err("it must lie between 0 and 1".to_owned()) }
}

/// Calibrates, shows what came of it and writes the policy.
pub fn execute(args: &CalibrateArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let mut plan = args.plan.plan().map_err(Failure::config)?;
    let records = args.plan.read_records(&args.records, &mut plan).map_err(Failure::config)?;
    let name = || args.records.display().to_string();
    warn_of_repeated(&records, &args.records);
    let calibrated = calibrate(&records, &plan).map_err(|error| {
        // That the data support no promise is an answer; all else is a wish that these records cannot fulfil.
        let refused = error.is::<Refusal>();
        let error = error.context(name());
        if refused { Failure::Run(error) } else { Failure::config(error) }
    })?;
    let policy = policy_of(&records, &plan, &calibrated).with_context(name)?;
    if let Some(path) = &args.out {
        fs::write(path, text_of(&policy)?).with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    if let Some(path) = &args.html {
        write_page(path, &page(args, &plan, &records, &calibrated)?)?;
    }
    if args.json {
        writeln!(out, "{}", json!(policy))?;
        return Ok(());
    }
    show(out, &policy, &calibrated)?;
    if let Some(path) = &args.out {
        writeln!(out, "policy {}: use it with `tinysaver run --policy {}`", path.display(), path.display())?;
    }
    Ok(())
}

/// A sample that is there twice says nothing new, and the bounds count it as if it did.
fn warn_of_repeated(records: &Records, path: &Path) {
    let repeated = repeated_samples(records);
    if repeated > 0 {
        log::warn!(
            "{}: {repeated} of {} samples repeat another one; the promise needs samples that are independent of each other",
            path.display(),
            records.samples.len()
        );
    }
}

fn policy_of(records: &Records, plan: &Plan, calibrated: &Calibrated) -> Result<PolicyFile> {
    let model = |id: &str| -> Result<PolicyModel> {
        let info = &records.model(id)?.info;
        Ok(PolicyModel { id: info.id.clone(), sha256: info.sha256.clone() })
    };
    let choice = &calibrated.choice;
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    let exit_ratio = choice.counts.exits as f64 / choice.samples.max(1) as f64;
    Ok(PolicyFile {
        schema: POLICY_SCHEMA,
        threshold: choice.threshold,
        temperature: calibrated.judge.temperature,
        score: calibrated.judge.score,
        saver: model(plan.saver()?)?,
        base: model(&plan.base)?,
        certificate: Certificate {
            method: plan.method,
            promises: plan.method.promises().to_owned(),
            epsilon: plan.promise.epsilon(),
            delta: plan.promise.delta(),
            samples: choice.samples,
            fitted_on: calibrated.fitted_on,
            labelled: calibrated.labelled,
            exits: choice.counts.exits,
            harms: choice.counts.harms,
            helps: choice.counts.helps,
            bound: choice.bound,
            expected_exit_ratio: exit_ratio,
            data_sha256: records.data_hash(),
        },
    })
}

/// Writes a page.
///
/// # Errors
/// The file cannot be written.
pub fn write_page(path: &Path, page: &str) -> Result<()> {
    fs::write(path, page).with_context(|| format!("{}: cannot be written", path.display()))
}

fn page(args: &CalibrateArgs, plan: &Plan, records: &Records, calibrated: &Calibrated) -> Result<String> {
    let test = Test::new(records, &plan.models(), !calibrated.labelled)?;
    let threshold = calibrated.choice.threshold.value();
    let figures = test.figures(&test.stages(&[calibrated.judge])?, &[threshold]);
    let name = format!("{} at {} pp", plan.method.name(), plan.promise.epsilon() * 100.0);
    let title = format!(
        "{} on {} calibration samples of {}",
        plan.models().join(" / "),
        records.samples.len(),
        args.records.display()
    );
    Page {
        title,
        test: &test,
        judge: calibrated.judge,
        threshold: Some(threshold),
        promise: Some((plan.method, plan.promise)),
        points: vec![Point { name, is_swept: plan.method == Method::Sweep, figures: &figures }],
    }
    .render()
}

fn text_of(policy: &PolicyFile) -> Result<String> {
    let head = "# Written by `tinysaver calibrate`; docs/calibration.md says what it promises and what it does not.\n";
    Ok(format!("{head}{}", toml::to_string(policy)?))
}

fn show(out: &mut dyn Write, policy: &PolicyFile, calibrated: &Calibrated) -> std::io::Result<()> {
    let Certificate { method, epsilon, delta, samples, exits, harms, helps, bound, .. } = &policy.certificate;
    let truth = if calibrated.labelled { "labels" } else { "the base's answers (no labels)" };
    writeln!(out, "pair       {} / {}", policy.saver.id, policy.base.id)?;
    writeln!(
        out,
        "method     {}: {}; epsilon {:.3} pp, delta {delta}",
        method.name(),
        method.promises(),
        epsilon * 100.0
    )?;
    writeln!(out, "samples    {samples} for the threshold, {} for fits, judged by {truth}", calibrated.fitted_on)?;
    writeln!(
        out,
        "gate       {} > {} at temperature {:.4}",
        policy.score.name(),
        policy.threshold.value(),
        policy.temperature.value()
    )?;
    let exit_ratio = policy.certificate.expected_exit_ratio * 100.0;
    writeln!(out, "expected   {exit_ratio:.2} % of frames exit ({exits}; harms {harms}, helps {helps})")?;
    writeln!(out, "bound      {:.4} pp", bound * 100.0)?;
    if policy.threshold == Threshold::ALWAYS_BASE || *exits == 0 {
        writeln!(
            out,
            "note       no sample exits: this saver cannot keep the promise on this data, every frame goes to the base"
        )?;
    }
    if !method.is_certificate() {
        writeln!(out, "note       {}: about every second such threshold breaks it on new data", method.promises())?;
    }
    Ok(())
}
