//! The five ways to a threshold.

use crate::gate::Threshold;
use crate::risk::{
    Candidates, Choice, Counts, Method, Promise, Ranked, Refusal, lower_bound, most_harms, samples_needed, upper_bound,
};

#[expect(clippy::cast_precision_loss, reason = "counts of samples lie far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Chooses a threshold on ranked calibration samples.
///
/// # Errors
/// There are too few samples for this promise, whatever they say.
pub fn choose(method: Method, ranked: &Ranked, promise: Promise, candidates: Candidates) -> Result<Choice, Refusal> {
    match method {
        Method::Rcps => rcps(ranked, promise, candidates),
        Method::LearnThenTest => learn_then_test(ranked, promise, candidates),
        Method::Sgr => sgr(ranked, promise),
        Method::ConformalRiskControl => conformal(ranked, promise, candidates),
        Method::Sweep => Ok(sweep(ranked, promise, candidates)),
    }
}

fn refuse(ranked: &Ranked, epsilon: f64, delta: f64) -> Refusal {
    Refusal { samples: ranked.samples(), needed: samples_needed(epsilon, delta) }
}

/// The lowest threshold before the first that does not pass.
fn walk_down(
    ranked: &Ranked,
    candidates: Candidates,
    mut passes: impl FnMut(&Counts) -> bool,
) -> Option<(f32, Counts)> {
    ranked.walk(candidates).take_while(|(_, counts)| passes(counts)).last()
}

fn choice(ranked: &Ranked, (threshold, counts): (f32, Counts), bound: f64) -> Choice {
    // Confidences lie in 0..=1, so the thresholds between them do, too.
    let threshold = Threshold::try_from(threshold).unwrap_or(Threshold::ALWAYS_BASE);
    Choice { threshold, samples: ranked.samples(), counts, bound }
}

/// Harms only grow as the threshold falls, so no correction for looking at many thresholds is due.
fn rcps(ranked: &Ranked, promise: Promise, candidates: Candidates) -> Result<Choice, Refusal> {
    let (n, epsilon, delta) = (ranked.samples(), promise.epsilon(), promise.delta());
    let refusal = || refuse(ranked, epsilon, delta);
    let most = most_harms(n, epsilon, delta).ok_or_else(refusal)?;
    let found = walk_down(ranked, candidates, |counts| counts.harms <= most).ok_or_else(refusal)?;
    Ok(choice(ranked, found, upper_bound(found.1.harms, n, delta)))
}

/// The drop is at most an upper bound of harms less a lower bound of helps, each wrong with probability delta / 2. It is
/// tested from 1 downwards, a sequence that is fixed beforehand, so the first threshold that deserves to be refused is let
/// pass with probability delta at most. What the drop's test says changes at the observed confidences only, so walking over
/// these is walking over all thresholds.
fn learn_then_test(ranked: &Ranked, promise: Promise, candidates: Candidates) -> Result<Choice, Refusal> {
    let mut drop = DropBound::new(ranked.samples(), promise.delta());
    let found = walk_down(ranked, candidates, |counts| drop.of(counts) <= promise.epsilon());
    let found = found.ok_or_else(|| refuse(ranked, promise.epsilon(), promise.delta() / 2.0))?;
    Ok(choice(ranked, found, drop.of(&found.1)))
}

/// An upper bound on the drop, which remembers the last counts: most thresholds change neither.
pub(super) struct DropBound {
    samples: u64,
    half: f64,
    harms: (u64, f64),
    helps: (u64, f64),
}

impl DropBound {
    pub(super) fn new(samples: u64, delta: f64) -> Self {
        let half = delta / 2.0;
        Self { samples, half, harms: (0, upper_bound(0, samples, half)), helps: (0, 0.0) }
    }

    pub(super) fn of(&mut self, counts: &Counts) -> f64 {
        if self.harms.0 != counts.harms {
            self.harms = (counts.harms, upper_bound(counts.harms, self.samples, self.half));
        }
        if self.helps.0 != counts.helps {
            self.helps = (counts.helps, lower_bound(counts.helps, self.samples, self.half));
        }
        self.harms.1 - self.helps.1
    }
}

/// A binary search over the number of accepted samples; every step may be wrong with a share of delta.
fn sgr(ranked: &Ranked, promise: Promise) -> Result<Choice, Refusal> {
    let levels: Vec<(f32, Counts)> = ranked.walk(Candidates::Observed).filter(|(_, counts)| counts.exits > 0).collect();
    let steps = u64::BITS - ranked.samples().saturating_sub(1).leading_zeros();
    let delta = promise.delta() / f64::from(steps.max(1));
    let (mut low, mut high, mut best) = (0, levels.len(), None);
    while low < high {
        let middle = usize::midpoint(low, high);
        let Some((threshold, counts)) = levels.get(middle).copied() else { break };
        let bound = upper_bound(counts.errors, counts.exits, delta);
        if bound <= promise.epsilon() {
            best = Some((threshold, counts, bound));
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    match best {
        Some((threshold, counts, bound)) => Ok(choice(ranked, (threshold, counts), bound)),
        None if ranked.samples() < samples_needed(promise.epsilon(), delta) => {
            Err(refuse(ranked, promise.epsilon(), delta))
        }
        None => Ok(choice(ranked, (1.0, Counts::default()), 0.0)),
    }
}

fn conformal(ranked: &Ranked, promise: Promise, candidates: Candidates) -> Result<Choice, Refusal> {
    let risk = |counts: &Counts| (real(counts.harms) + 1.0) / (real(ranked.samples()) + 1.0);
    let found = walk_down(ranked, candidates, |counts| risk(counts) <= promise.epsilon());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
    let needed = || libm::ceil(1.0 / promise.epsilon() - 1.0) as u64;
    let found = found.ok_or_else(|| Refusal { samples: ranked.samples(), needed: needed() })?;
    Ok(choice(ranked, found, risk(&found.1)))
}

/// The drop on these samples is no monotone function of the threshold: the lowest one that keeps within epsilon wins.
fn sweep(ranked: &Ranked, promise: Promise, candidates: Candidates) -> Choice {
    let drop = |counts: &Counts| (real(counts.harms) - real(counts.helps)) / real(ranked.samples());
    let found = ranked.walk(candidates).filter(|(_, counts)| drop(counts) <= promise.epsilon()).last();
    let found = found.unwrap_or((1.0, Counts::default()));
    choice(ranked, found, drop(&found.1))
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
