//! The gate: the saver's answer is the answer iff its confidence lies strictly above the threshold.

use serde::{Deserialize, Serialize};

use crate::confidence::{ConfidenceError, Prediction, Temperature, top1};
use crate::score::{Distribution, Score};

/// What a confidence must exceed for the saver to answer; in `0..=1`. At 1 every frame escalates, because a
/// confidence is never above 1; at 0 none does.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct Threshold(f32);

impl Threshold {
    /// Every frame escalates.
    pub const ALWAYS_BASE: Self = Self(1.0);

    /// The plain number.
    #[must_use]
    pub fn value(self) -> f32 {
        self.0
    }
}

impl TryFrom<f32> for Threshold {
    type Error = ThresholdError;

    fn try_from(value: f32) -> Result<Self, Self::Error> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(ThresholdError(value)) }
    }
}

impl From<Threshold> for f32 {
    fn from(threshold: Threshold) -> Self {
        threshold.0
    }
}

/// The number is no threshold.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no threshold: it must lie between 0 (the saver always answers) and 1 (the base always answers)")]
pub struct ThresholdError(f32);

/// What the gate says of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// What the saver said.
    pub saver: Prediction,
    /// What was compared with the threshold: the saver's probability unless the gate has another score.
    pub confidence: f32,
    /// Whether the saver's answer stands; if not, the frame escalates to the base.
    pub exits: bool,
}

/// A threshold and what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gate {
    /// The limit.
    pub threshold: Threshold,
    /// Applied to the saver's logits.
    pub temperature: Temperature,
    /// What the confidence is.
    pub score: Score,
}

impl Gate {
    /// Judges the saver's logits: exit iff confidence > threshold (strict, as the paper's Algorithm 1 has it).
    ///
    /// # Errors
    /// Logits that are empty or not finite.
    pub fn decide(&self, saver_logits: &[f32]) -> Result<Decision, ConfidenceError> {
        let (saver, confidence) = if self.score == Score::MaxSoftmax {
            let saver = top1(saver_logits, self.temperature)?;
            (saver, saver.probability)
        } else {
            let distribution = Distribution::of(saver_logits, self.temperature)?;
            (distribution.first, self.score.confidence(&distribution))
        };
        Ok(Decision { saver, confidence, exits: self.exits(confidence) })
    }

    /// Whether a confidence that was computed before is above the threshold.
    #[must_use]
    pub fn exits(&self, confidence: f32) -> bool {
        confidence > self.threshold.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gate(threshold: f32) -> Gate {
        Gate {
            threshold: Threshold::try_from(threshold).unwrap(),
            temperature: Temperature::ONE,
            score: Score::MaxSoftmax,
        }
    }

    #[test]
    fn strictly_above() {
        // Two equal logits give a confidence of exactly one half.
        let half = [0.0f32, 0.0];
        assert!(!gate(0.5).decide(&half).unwrap().exits, "a confidence equal to the threshold escalates");
        assert!(gate(0.499_999).decide(&half).unwrap().exits);
    }

    #[test]
    fn the_ends_mean_always() {
        for logits in [[0.0f32, 90.0], [5.0, 5.0], [1.0, -1.0]] {
            assert!(gate(0.0).decide(&logits).unwrap().exits, "at 0 the saver always answers");
            assert!(!gate(1.0).decide(&logits).unwrap().exits, "at 1 the base always answers");
        }
    }

    #[test]
    fn refuses_impossible_thresholds() {
        for bad in [-0.1, 1.1, f32::NAN, f32::INFINITY] {
            assert!(Threshold::try_from(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_higher_threshold_never_lets_more_exit(
            logits in prop::collection::vec(-20.0f32..20.0, 1..20), low in 0.0f32..1.0, high in 0.0f32..1.0
        ) {
            let (low, high) = (low.min(high), low.max(high));
            prop_assert!(gate(low).decide(&logits).unwrap().exits || !gate(high).decide(&logits).unwrap().exits);
        }
    }
}
