//! From logits to a calibrated top-1 probability: softmax after division by a temperature (Guo et al., 2017).
//!
//! The result is the same on every platform to the last bit: fixed order of summation, `libm` exponentials.

use serde::{Deserialize, Serialize};

/// The divisor of the logits before softmax; 1 leaves them as they are, above 1 makes a model less sure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Temperature(f64);

impl Temperature {
    /// No change to the logits.
    pub const ONE: Self = Self(1.0);

    /// The plain number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Temperature {
    type Error = TemperatureError;

    fn try_from(value: f64) -> Result<Self, Self::Error> {
        if value.is_finite() && value > 0.0 { Ok(Self(value)) } else { Err(TemperatureError(value)) }
    }
}

impl From<Temperature> for f64 {
    fn from(temperature: Temperature) -> Self {
        temperature.0
    }
}

/// The number is no temperature.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no temperature: it must be a finite number above 0 (1 changes nothing)")]
pub struct TemperatureError(f64);

/// What one model says of one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prediction {
    /// Index of the largest logit; of several equal ones the first, because quantised logits do tie.
    pub class: usize,
    /// Softmax probability of that class after temperature, in (0, 1].
    pub probability: f32,
}

/// The logits say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfidenceError {
    /// There is no class to choose from.
    #[error("the model gave no logits")]
    Empty,
    /// A NaN or an infinity stands among the logits.
    #[error("logit {index} is not a finite number")]
    NotFinite {
        /// Where the first one stands.
        index: usize,
    },
}

/// Top-1 class and its probability: `1 / sum_i exp((l_i - l_max) / T)`.
///
/// # Errors
/// Empty logits, or logits that hold NaN or an infinity: no class is better than another then.
pub fn top1(logits: &[f32], temperature: Temperature) -> Result<Prediction, ConfidenceError> {
    if let Some(index) = logits.iter().position(|logit| !logit.is_finite()) {
        return Err(ConfidenceError::NotFinite { index });
    }
    let mut best = logits.iter().copied().enumerate();
    let first = best.next().ok_or(ConfidenceError::Empty)?;
    let (class, largest) = best.fold(first, |best, next| if next.1 > best.1 { next } else { best });
    let total: f64 =
        logits.iter().map(|&logit| libm::exp((f64::from(logit) - f64::from(largest)) / temperature.value())).sum();
    #[expect(clippy::cast_possible_truncation, reason = "a probability needs no more than 24 bits")]
    let probability = (1.0 / total) as f32;
    Ok(Prediction { class, probability })
}

/// How far from 1 the sum of probabilities may be: a thousand floats, rounded.
const PROBABILITY_TOLERANCE: f64 = 1e-3;

/// Top-1 of what another program's model says, which may be logits or probabilities: numbers in 0..=1 that add up to 1 are
/// probabilities, and no logits of a trained classifier do that.
///
/// # Errors
/// As [`top1`].
pub fn top1_of_scores(scores: &[f32]) -> Result<Prediction, ConfidenceError> {
    let of_logits = top1(scores, Temperature::ONE)?;
    let total: f64 = scores.iter().map(|&score| f64::from(score)).sum();
    let are_probabilities =
        scores.iter().all(|score| (0.0..=1.0).contains(score)) && (total - 1.0).abs() <= PROBABILITY_TOLERANCE;
    let largest = scores.get(of_logits.class).copied().unwrap_or_default();
    Ok(if are_probabilities { Prediction { probability: largest, ..of_logits } } else { of_logits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn temperature(value: f64) -> Temperature {
        Temperature::try_from(value).unwrap()
    }

    #[test]
    fn known_values() {
        let cases: [(&[f32], f64, usize, f32); 6] = [
            (&[0.0], 1.0, 0, 1.0),
            (&[0.0, 0.0], 1.0, 0, 0.5),
            (&[1.0, 2.0, 3.0], 1.0, 2, 0.665_240_96),
            (&[1.0, 2.0, 3.0], 2.0, 2, 0.506_480_4),
            (&[3.0, 1.0, 3.0], 1.0, 0, 0.468_310_53),
            (&[-1000.0, 1000.0], 1.0, 1, 1.0),
        ];
        for (logits, t, class, probability) in cases {
            let got = top1(logits, temperature(t)).unwrap();
            assert_eq!(got.class, class, "{logits:?}");
            assert!(
                (got.probability - probability).abs() < 1e-6,
                "{logits:?}: {} is not {probability}",
                got.probability
            );
        }
    }

    #[test]
    fn the_bits_are_pinned() {
        // The same literal must come out on x86-64, aarch64 and armv7: replay depends on it.
        let got = top1(&[0.25, -3.5, 7.125, 6.0, 5.875], temperature(1.3)).unwrap();
        assert_eq!(got.probability.to_bits(), 0x3f0d_8d41, "{}", got.probability);
    }

    #[test]
    fn says_nothing_of_nothing() {
        assert_eq!(top1(&[], Temperature::ONE), Err(ConfidenceError::Empty));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(top1(&[0.0, bad], Temperature::ONE), Err(ConfidenceError::NotFinite { index: 1 }));
        }
    }

    #[test]
    fn probabilities_are_told_from_logits() {
        let of = |scores: &[f32]| top1_of_scores(scores).unwrap();
        assert_eq!(of(&[0.25, 0.75]), Prediction { class: 1, probability: 0.75 });
        assert_eq!(of(&[1.0]), Prediction { class: 0, probability: 1.0 });
        assert_eq!(of(&[1.0, 2.0, 3.0]), top1(&[1.0, 2.0, 3.0], Temperature::ONE).unwrap());
        assert_eq!(of(&[0.5, 0.75]), top1(&[0.5, 0.75], Temperature::ONE).unwrap(), "they do not add up to 1");
        assert_eq!(of(&[-0.5, 1.5]), top1(&[-0.5, 1.5], Temperature::ONE).unwrap());
        assert!(top1_of_scores(&[]).is_err() && top1_of_scores(&[f32::NAN]).is_err());
    }

    #[test]
    fn refuses_impossible_temperatures() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Temperature::try_from(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_probability_is_one(logits in prop::collection::vec(-80.0f32..80.0, 1..50), t in 0.05f64..20.0) {
            let got = top1(&logits, temperature(t)).unwrap();
            prop_assert!(got.probability > 0.0 && got.probability <= 1.0);
            #[expect(clippy::cast_precision_loss, reason = "fewer than 50 classes")]
            let uniform = 1.0 / logits.len() as f32;
            prop_assert!(got.probability >= uniform * (1.0 - 1e-6), "the top class has at least its share");
            prop_assert!(logits.iter().all(|&logit| logit <= logits[got.class]));
        }

        #[test]
        fn adding_a_constant_changes_nothing_but_rounding(
            logits in prop::collection::vec(-20.0f32..20.0, 2..20), shift in -8i8..8
        ) {
            let moved: Vec<f32> = logits.iter().map(|logit| logit + f32::from(shift)).collect();
            let (a, b) = (top1(&logits, Temperature::ONE).unwrap(), top1(&moved, Temperature::ONE).unwrap());
            prop_assert!((a.probability - b.probability).abs() < 1e-4);
        }

        #[test]
        fn hotter_is_less_sure(logits in prop::collection::vec(-20.0f32..20.0, 2..20), t in 0.1f64..5.0, more in 0.1f64..5.0) {
            let cool = top1(&logits, temperature(t)).unwrap();
            let hot = top1(&logits, temperature(t + more)).unwrap();
            prop_assert!(hot.probability <= cool.probability + 1e-6);
            prop_assert_eq!(hot.class, cool.class);
        }
    }
}
