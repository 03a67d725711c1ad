//! From records to a policy: fit on some samples, choose the threshold on the others.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use tinysaver_core::fit::{fit_logistic, fit_temperature, negative_log_likelihood};
use tinysaver_core::risk::{
    Candidates, Choice, Judged, Method, Promise, Ranked, StagedChoice, Stages, choose, choose_on_path,
};
use tinysaver_core::select::SplitMix;
use tinysaver_core::{Distribution, Prediction, Score, Temperature};

use crate::lab::records::{ModelRecords, Records};

/// Which score the gate shall have; the logistic rule is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ScoreKind {
    /// The largest probability
    MaxSoftmax,
    /// The largest less the second largest probability
    Margin,
    /// 1 less the normalised entropy
    Entropy,
    /// A logistic rule on the two largest probabilities, fitted
    Logistic,
}

/// A temperature, or the wish for one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TemperatureChoice {
    /// This one.
    Fixed(Temperature),
    /// The one with the smallest negative log-likelihood.
    Fit,
}

/// Which samples a temperature, a logistic rule or a path of thresholds is made on; never those that certify.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FitOn {
    /// A share of them, drawn with this seed.
    Share(f64, u64),
    /// So many at the end: records of their own, which were added there.
    Last(usize),
}

/// What to calibrate and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Ids of the savers, the cheapest first; one, unless it is a cascade of more than two models.
    pub savers: Vec<String>,
    /// The large model's id.
    pub base: String,
    /// How the threshold is chosen.
    pub method: Method,
    /// What is promised.
    pub promise: Promise,
    /// What the gate judges.
    pub score: ScoreKind,
    /// What divides the saver's logits.
    pub temperature: TemperatureChoice,
    /// Samples that fits use, if there are any.
    pub fit_on: FitOn,
    /// Which thresholds are looked at.
    pub candidates: Candidates,
    /// Take the base's answers for the labels even where there are some.
    pub ignore_labels: bool,
}

impl Plan {
    /// The only saver.
    ///
    /// # Errors
    /// There are several.
    pub fn saver(&self) -> Result<&str> {
        match self.savers.as_slice() {
            [saver] => Ok(saver),
            _ => bail!("one saver is wanted, not {}", self.savers.len()),
        }
    }

    /// All models, the base last.
    pub fn models(&self) -> Vec<&str> {
        self.savers.iter().chain([&self.base]).map(String::as_str).collect()
    }
}

/// What a saver's answer is judged by, with its fitted numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judge {
    /// Divides the saver's logits.
    pub temperature: Temperature,
    /// What is compared with the threshold.
    pub score: Score,
}

/// What came of it.
#[derive(Debug)]
pub struct Calibrated {
    /// The threshold and its figures.
    pub choice: Choice,
    /// Fitted or given.
    pub judge: Judge,
    /// Samples that were fitted on.
    pub fitted_on: u64,
    /// Whether labels were used.
    pub labelled: bool,
}

/// What came of it for several savers.
#[derive(Debug)]
pub struct StagedCalibrated {
    /// Their thresholds and what these do.
    pub choice: StagedChoice,
    /// One a saver.
    pub judges: Vec<Judge>,
}

/// The samples, split, with what is taken for right.
struct Material {
    labelled: bool,
    targets: Vec<u32>,
    fit: Vec<usize>,
    rest: Vec<usize>,
}

impl Material {
    fn new(records: &Records, plan: &Plan) -> Result<Self> {
        let base = records.model(&plan.base)?;
        if let Some(saver) = plan.savers.iter().find(|saver| **saver == plan.base) {
            bail!("saver and base are the same model, '{saver}'");
        }
        let labelled = records.is_labelled() && !plan.ignore_labels;
        let targets: Vec<u32> = if labelled {
            records.samples.iter().filter_map(|sample| sample.label).collect()
        } else {
            base.answers().collect()
        };
        let (fit, rest) = split(records.samples.len(), plan);
        Ok(Self { labelled, targets, fit, rest })
    }

    /// Fits what is to be fitted.
    fn judge(&self, plan: &Plan, saver: &ModelRecords) -> Result<Judge> {
        let temperature = match plan.temperature {
            TemperatureChoice::Fixed(temperature) => temperature,
            TemperatureChoice::Fit => fit_on(saver, &self.fit, &self.targets)?,
        };
        let score = match plan.score {
            ScoreKind::MaxSoftmax => Score::MaxSoftmax,
            ScoreKind::Margin => Score::Margin,
            ScoreKind::Entropy => Score::Entropy,
            ScoreKind::Logistic => {
                let (distributions, answers) =
                    (distributions(saver, temperature)?, saver.answers().collect::<Vec<_>>());
                fit_logistic(&logistic_samples(&self.fit, &distributions, &answers, &self.targets))
            }
        };
        Ok(Judge { temperature, score })
    }
}

/// Every sample of a saver beside the base, judged by what is right.
///
/// # Errors
/// Logits that the temperature needs are not there.
pub fn judged(saver: &ModelRecords, base: &ModelRecords, judge: Judge, targets: &[u32]) -> Result<Vec<Judged>> {
    let distributions = distributions(saver, judge.temperature)?;
    let rows = distributions.iter().zip(saver.answers()).zip(base.answers()).zip(targets);
    let of = |(((distribution, saver), base), target): (((&Distribution, u32), u32), &u32)| {
        Judged::new(judge.score.confidence(distribution), saver, base, Some(*target))
    };
    Ok(rows.map(of).collect())
}

fn rows_of(all: &[Judged], rows: &[usize]) -> Vec<Judged> {
    rows.iter().filter_map(|row| all.get(*row).copied()).collect()
}

/// Fits what is to be fitted, then chooses the threshold on samples that no fit has seen.
///
/// # Errors
/// A model that is not there, logits that a fit needs and that were not recorded, too few samples.
pub fn calibrate(records: &Records, plan: &Plan) -> Result<Calibrated> {
    let (saver, material) = (records.model(plan.saver()?)?, Material::new(records, plan)?);
    let judge = material.judge(plan, saver)?;
    let all = judged(saver, records.model(&plan.base)?, judge, &material.targets)?;
    let ranked = Ranked::new(rows_of(&all, &material.rest))?;
    let choice = choose(plan.method, &ranked, plan.promise, plan.candidates)?;
    Ok(Calibrated { choice, judge, fitted_on: material.fit.len() as u64, labelled: material.labelled })
}

/// The same for several savers: the path of thresholds is made on the samples that fits use.
///
/// # Errors
/// As [`calibrate`], or operations that are not known.
pub fn calibrate_stages(records: &Records, plan: &Plan) -> Result<StagedCalibrated> {
    let (material, costs) = (Material::new(records, plan)?, costs(records, plan)?);
    let base = records.model(&plan.base)?;
    let (mut judges, mut for_path, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for saver in &plan.savers {
        let saver = records.model(saver)?;
        let judge = material.judge(plan, saver)?;
        let all = judged(saver, base, judge, &material.targets)?;
        for_path.push(rows_of(&all, &material.fit));
        rest.push(rows_of(&all, &material.rest));
        judges.push(judge);
    }
    let path = Stages::new(for_path)?.path(&costs);
    let choice = choose_on_path(plan.method, &Stages::new(rest)?, &path, &costs, plan.promise)?;
    Ok(StagedCalibrated { choice, judges })
}

/// Multiply-accumulates of each model, the base's last.
///
/// # Errors
/// They are not known.
pub fn costs(records: &Records, plan: &Plan) -> Result<Vec<f64>> {
    let of = |id: &str| {
        let macs = records.model(id)?.info.macs;
        ensure!(macs > 0, "model '{id}': its operations are not known; import it with --macs {id}=N");
        #[expect(clippy::cast_precision_loss, reason = "operations")]
        let macs = macs as f64;
        Ok(macs)
    };
    plan.models().into_iter().map(of).collect()
}

/// Rows to fit on and rows to choose on; nothing is set aside where nothing is fitted.
fn split(rows: usize, plan: &Plan) -> (Vec<usize>, Vec<usize>) {
    let fits = plan.temperature == TemperatureChoice::Fit || plan.score == ScoreKind::Logistic || plan.savers.len() > 1;
    let mut order: Vec<usize> = (0..rows).collect();
    if !fits {
        if let FitOn::Last(count) = plan.fit_on {
            order.truncate(rows.saturating_sub(count));
        }
        return (Vec::new(), order);
    }
    let (share, seed) = match plan.fit_on {
        FitOn::Share(share, seed) => (share, seed),
        FitOn::Last(count) => {
            let fit = order.split_off(rows.saturating_sub(count));
            return (fit, order);
        }
    };
    SplitMix::new(seed).shuffle(&mut order);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
    let share = (rows as f64 * share).round() as usize;
    let rest = order.split_off(share.clamp(1, rows.max(1)).min(rows));
    (order, rest)
}

/// The temperature of a saver that its answers on these rows ask for.
///
/// # Errors
/// No logits were recorded.
fn fit_on(saver: &ModelRecords, rows: &[usize], targets: &[u32]) -> Result<Temperature> {
    let classes = saver.info.classes;
    if saver.logits.is_empty() {
        bail!(
            "a temperature can be fitted on logits only, and the records hold none of '{}': record with --logits, or name \
             a temperature (--temperature 1 changes nothing)",
            saver.info.id
        );
    }
    let halves = rows.split_at(rows.len() / 2);
    let part = |rows: &[usize], inverse: f32| -> f64 {
        rows.iter()
            .filter_map(|row| Some((saver.logits.get(row * classes..(row + 1) * classes)?, *targets.get(*row)?)))
            .map(|(logits, target)| negative_log_likelihood(logits, target as usize, inverse))
            .sum()
    };
    Ok(fit_temperature(|inverse| {
        #[expect(clippy::cast_possible_truncation, reason = "a temperature to seven digits")]
        let inverse = inverse as f32;
        std::thread::scope(|scope| {
            let other = scope.spawn(|| part(halves.1, inverse));
            // A thread that panicked has no sum; the other half decides then.
            part(halves.0, inverse) + other.join().unwrap_or(0.0)
        })
    }))
}

/// The temperature that all of a model's answers ask for, to be shown.
///
/// # Errors
/// No logits were recorded.
pub fn best_temperature(saver: &ModelRecords, targets: &[u32]) -> Result<Temperature> {
    fit_on(saver, &(0..targets.len()).collect::<Vec<_>>(), targets)
}

/// Each sample's largest probabilities and entropy at a temperature.
///
/// # Errors
/// Another temperature than 1 needs logits, and none were recorded.
pub fn distributions(saver: &ModelRecords, temperature: Temperature) -> Result<Vec<Distribution>> {
    if temperature == Temperature::ONE {
        let rows = saver.confidence.iter().zip(&saver.second).zip(&saver.entropy).zip(saver.answers());
        let of = |(((confidence, second), entropy), class): (((&f32, &f32), &f32), u32)| Distribution {
            first: Prediction { class: class as usize, probability: *confidence },
            second: *second,
            entropy: *entropy,
            classes: saver.info.classes,
        };
        return Ok(rows.map(of).collect());
    }
    let rows = saver.logit_rows().with_context(|| {
        format!(
            "the records hold no logits of '{}', which another temperature than 1 needs: record with --logits",
            saver.info.id
        )
    })?;
    let rows: Vec<&[f32]> = rows.collect();
    let halves = rows.split_at(rows.len() / 2);
    let of = |rows: &[&[f32]]| -> Result<Vec<Distribution>, tinysaver_core::ConfidenceError> {
        rows.iter().map(|row| Distribution::of(row, temperature)).collect()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| of(halves.1));
        let mut all = of(halves.0)?;
        all.extend(other.join().map_err(|_| anyhow::anyhow!("a thread failed"))??);
        Ok(all)
    })
}

fn logistic_samples(
    rows: &[usize],
    distributions: &[Distribution],
    answers: &[u32],
    targets: &[u32],
) -> Vec<(f32, f32, bool)> {
    let of = |row: &usize| {
        let distribution = distributions.get(*row)?;
        Some((distribution.first.probability, distribution.second, answers.get(*row)? == targets.get(*row)?))
    };
    rows.iter().filter_map(of).collect()
}

/// How many samples have been there before, in the same file.
pub fn repeated_samples(records: &Records) -> usize {
    let mut known = HashSet::new();
    records.samples.iter().filter(|sample| !known.insert(sample.content)).count()
}

/// How many samples of one file are in the other, too.
pub fn shared_samples(one: &Records, other: &Records) -> usize {
    let known: HashSet<u64> = one.samples.iter().map(|sample| sample.content).collect();
    other.samples.iter().filter(|sample| known.contains(&sample.content)).count()
}
