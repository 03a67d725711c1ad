//! From records to a policy: fit on some samples, choose the threshold on the others.

use std::collections::HashSet;

use anyhow::{Context, Result, bail, ensure};
use tinysaver_core::fit::{fit_logistic, fit_temperature, negative_log_likelihood};
use tinysaver_core::risk::{Candidates, Choice, Judged, Method, Promise, Ranked, choose};
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

/// What to calibrate and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The tiny model's id.
    pub saver: String,
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
    /// Share of the samples that fits use, if there are any.
    pub fit_share: f64,
    /// Of the split.
    pub seed: u64,
    /// Which thresholds are looked at.
    pub candidates: Candidates,
    /// Take the base's answers for the labels even where there are some.
    pub ignore_labels: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Calibrated {
    /// The threshold and its figures.
    pub choice: Choice,
    /// Fitted or given.
    pub temperature: Temperature,
    /// With its fitted numbers.
    pub score: Score,
    /// Samples that were fitted on.
    pub fitted_on: u64,
    /// Whether labels were used.
    pub labelled: bool,
}

/// Fits what is to be fitted, then chooses the threshold on samples that no fit has seen.
///
/// # Errors
/// A model that is not there, logits that a fit needs and that were not recorded, too few samples.
pub fn calibrate(records: &Records, plan: &Plan) -> Result<Calibrated> {
    let (saver, base) = (records.model(&plan.saver)?, records.model(&plan.base)?);
    ensure!(plan.saver != plan.base, "saver and base are the same model, '{}'", plan.saver);
    let labelled = records.is_labelled() && !plan.ignore_labels;
    let targets: Vec<u32> = if labelled {
        records.samples.iter().filter_map(|sample| sample.label).collect()
    } else {
        base.answers().collect()
    };
    let (fit, rest) = split(records.samples.len(), plan);
    let temperature = match plan.temperature {
        TemperatureChoice::Fixed(temperature) => temperature,
        TemperatureChoice::Fit => fit_on(saver, &fit, &targets)?,
    };
    let distributions = distributions(saver, temperature)?;
    let answers: Vec<u32> = saver.answers().collect();
    let score = match plan.score {
        ScoreKind::MaxSoftmax => Score::MaxSoftmax,
        ScoreKind::Margin => Score::Margin,
        ScoreKind::Entropy => Score::Entropy,
        ScoreKind::Logistic => fit_logistic(&logistic_samples(&fit, &distributions, &answers, &targets)),
    };
    let bases: Vec<u32> = base.answers().collect();
    let mut judged = Vec::with_capacity(rest.len());
    for &row in &rest {
        let of = || Some((distributions.get(row)?, *answers.get(row)?, *bases.get(row)?, *targets.get(row)?));
        let (distribution, saver, base, target) = of().context("a row too few")?;
        let confidence = score.confidence(distribution);
        judged.push(Judged::new(confidence, saver, base, Some(target)));
    }
    let ranked = Ranked::new(judged)?;
    let choice = choose(plan.method, &ranked, plan.promise, plan.candidates)?;
    Ok(Calibrated { choice, temperature, score, fitted_on: fit.len() as u64, labelled })
}

/// Rows to fit on and rows to choose on; nothing is set aside where nothing is fitted. Samples of equal content stay together.
fn split(rows: usize, plan: &Plan) -> (Vec<usize>, Vec<usize>) {
    let fits = plan.temperature == TemperatureChoice::Fit || plan.score == ScoreKind::Logistic;
    let mut order: Vec<usize> = (0..rows).collect();
    if !fits {
        return (Vec::new(), order);
    }
    SplitMix::new(plan.seed).shuffle(&mut order);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share")]
    let share = (rows as f64 * plan.fit_share).round() as usize;
    let rest = order.split_off(share.clamp(1, rows.max(1)).min(rows));
    (order, rest)
}

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

/// Each sample's largest probabilities and entropy at a temperature.
fn distributions(saver: &ModelRecords, temperature: Temperature) -> Result<Vec<Distribution>> {
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

/// Confidences of all samples under a fitted score.
///
/// # Errors
/// Logits that the temperature needs are not there.
pub fn confidences(saver: &ModelRecords, temperature: Temperature, score: Score) -> Result<Vec<f32>> {
    Ok(distributions(saver, temperature)?.iter().map(|distribution| score.confidence(distribution)).collect())
}

/// How many samples of one file are in the other, too.
pub fn shared_samples(one: &Records, other: &Records) -> usize {
    let known: HashSet<u64> = one.samples.iter().map(|sample| sample.content).collect();
    other.samples.iter().filter(|sample| known.contains(&sample.content)).count()
}
