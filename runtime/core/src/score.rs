//! What a gate may judge a saver's answer by. All are numbers from 0 to 1, and more is surer.

use serde::{Deserialize, Serialize};

use crate::confidence::{ConfidenceError, Prediction, Temperature, top1};

/// What the gate compares with its threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Score {
    /// The largest probability (the TinySaver paper's).
    #[default]
    MaxSoftmax,
    /// The largest less the second largest probability.
    Margin,
    /// 1 less the entropy as a share of the largest possible one, `ln(classes)`.
    Entropy,
    /// `1 / (1 + exp(-(bias + top1 p1 + top2 p2)))` of the two largest probabilities (EE-HI, arXiv 2407.11061).
    Logistic {
        /// Added.
        bias: f64,
        /// Times the largest probability.
        top1: f64,
        /// Times the second largest.
        top2: f64,
    },
}

/// What the scores need of a model's answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distribution {
    /// The answer and its probability.
    pub first: Prediction,
    /// The second largest probability; 0 where there is one class.
    pub second: f32,
    /// In nats.
    pub entropy: f32,
    /// How many classes there are.
    pub classes: usize,
}

impl Distribution {
    /// Of a model's logits. The first probability has the bits of [`top1`].
    ///
    /// # Errors
    /// As [`top1`].
    pub fn of(logits: &[f32], temperature: Temperature) -> Result<Self, ConfidenceError> {
        let first = top1(logits, temperature)?;
        let largest = logits.get(first.class).copied().map_or(0.0, f64::from);
        let scaled = |logit: f32| (f64::from(logit) - largest) / temperature.value();
        let (mut total, mut weighted, mut second) = (0.0, 0.0, f64::NEG_INFINITY);
        for (class, &logit) in logits.iter().enumerate() {
            let power = scaled(logit);
            let weight = libm::exp(power);
            total += weight;
            if weight > 0.0 {
                weighted += power * weight;
            }
            if class != first.class {
                second = power.max(second);
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "a probability needs no more than 24 bits")]
        let (second, entropy) =
            ((libm::exp(second) / total) as f32, (libm::log(total) - weighted / total).max(0.0) as f32);
        Ok(Self { first, second, entropy, classes: logits.len() })
    }
}

impl Score {
    /// How sure that is.
    #[must_use]
    pub fn confidence(&self, of: &Distribution) -> f32 {
        match *self {
            Self::MaxSoftmax => of.first.probability,
            Self::Margin => of.first.probability - of.second,
            Self::Entropy if of.classes < 2 => 1.0,
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "a share")]
            Self::Entropy => (1.0 - f64::from(of.entropy) / libm::log(of.classes as f64)).clamp(0.0, 1.0) as f32,
            Self::Logistic { bias, top1, top2 } => {
                let power = bias + top1 * f64::from(of.first.probability) + top2 * f64::from(of.second);
                #[expect(clippy::cast_possible_truncation, reason = "a probability needs no more than 24 bits")]
                let probability = (1.0 / (1.0 + libm::exp(-power))) as f32;
                probability
            }
        }
    }

    /// The name that the command line takes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::MaxSoftmax => "max_softmax",
            Self::Margin => "margin",
            Self::Entropy => "entropy",
            Self::Logistic { .. } => "logistic",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        let of = Distribution::of(&[1.0, 3.0, 2.0], Temperature::ONE).unwrap();
        assert_eq!((of.first.class, of.classes), (1, 3));
        let near = |got: f32, expected: f32| assert!((got - expected).abs() < 1e-6, "{got} {expected}");
        near(of.second, 0.244_728_47);
        near(of.entropy, 0.832_395_5);
        near(Score::Margin.confidence(&of), 0.665_240_96 - 0.244_728_47);
        near(Score::Entropy.confidence(&of), 1.0 - 0.832_395_5 / 1.098_612_3);
        let rule = Score::Logistic { bias: -4.633_913_51, top1: 5.936_583_49, top2: -3.041_970_74 };
        near(rule.confidence(&of), 0.193_237_1);
        let one = Distribution::of(&[4.0], Temperature::ONE).unwrap();
        assert_eq!((one.second, Score::Entropy.confidence(&one), Score::Margin.confidence(&one)), (0.0, 1.0, 1.0));
    }

    proptest! {
        #[test]
        fn every_score_is_a_confidence(logits in prop::collection::vec(-90.0f32..90.0, 1..40), t in 0.05f64..20.0) {
            let of = Distribution::of(&logits, Temperature::try_from(t).unwrap()).unwrap();
            prop_assert_eq!(of.first, top1(&logits, Temperature::try_from(t).unwrap()).unwrap());
            for score in [Score::MaxSoftmax, Score::Margin, Score::Entropy, Score::Logistic { bias: -4.0, top1: 6.0, top2: -3.0 }] {
                prop_assert!((0.0..=1.0).contains(&score.confidence(&of)), "{:?}", score);
            }
        }
    }
}
