//! What calibration fits before a threshold is chosen: a temperature and the logistic rule. Both look at labels, so the
//! threshold's promise holds only on samples that the fit has not seen.

use crate::confidence::Temperature;
use crate::score::Score;

/// Temperatures that are looked at.
const RANGE: (f64, f64) = (0.05, 20.0);

/// The golden ratio's part of an interval.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// The temperature with the smallest mean of `-ln p(label)`, by golden-section search over its logarithm (the mean is
/// convex in 1/T, so there is one valley). `loss` gives it for `1/T`.
pub fn fit_temperature(mut loss: impl FnMut(f64) -> f64) -> Temperature {
    let (mut low, mut high) = (libm::log(RANGE.0), libm::log(RANGE.1));
    let mut at = |log: f64| loss(libm::exp(-log));
    let (mut left, mut right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
    let (mut of_left, mut of_right) = (at(left), at(right));
    // To a thousandth: more would be noise of the samples.
    while high - low > 1e-3 {
        if of_left <= of_right {
            (high, right, of_right) = (right, left, of_left);
            left = high - GOLDEN * (high - low);
            of_left = at(left);
        } else {
            (low, left, of_left) = (left, right, of_right);
            right = low + GOLDEN * (high - low);
            of_right = at(right);
        }
    }
    Temperature::try_from(libm::exp(f64::midpoint(low, high))).unwrap_or(Temperature::ONE)
}

/// `-ln p(label)` of one sample's logits, divided by a temperature of `1 / inverse`. A label that is no class costs nothing.
#[must_use]
pub fn negative_log_likelihood(logits: &[f32], label: usize, inverse: f32) -> f64 {
    let Some(of_label) = logits.get(label) else { return 0.0 };
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Eight sums side by side: that is what vector registers hold, and a fixed order of addition.
    let (blocks, rest) = logits.as_chunks::<8>();
    let mut sums = [0.0f32; 8];
    for block in blocks {
        for (sum, logit) in sums.iter_mut().zip(block) {
            *sum += exp_of_negative((logit - largest) * inverse);
        }
    }
    let rest: f32 = rest.iter().map(|logit| exp_of_negative((logit - largest) * inverse)).sum();
    let total: f64 = sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(rest);
    libm::log(total) - f64::from((of_label - largest) * inverse)
}

/// `exp(x)` for `x <= 0` to seven digits, in steps that compilers turn into vector instructions: a power of two times a
/// polynomial of what is left.
fn exp_of_negative(x: f32) -> f32 {
    let x = x.max(-87.0);
    // Adding and taking away this number rounds to a whole one.
    const ROUND: f32 = 12_582_912.0;
    let power = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let rest = x - power * 0.693_359_4 + power * 2.121_944_4e-4;
    let polynomial = 1.0
        + rest
            * (1.0
                + rest
                    * (0.5
                        + rest * (0.166_666_67 + rest * (0.041_666_67 + rest * (0.008_333_33 + rest * 0.001_388_9)))));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from -126 to 0, so from 1 to 127")]
    let scale = f32::from_bits(((power + 127.0) as u32) << 23);
    polynomial * scale
}

/// The logistic rule on the two largest probabilities that best tells right answers from wrong ones: Newton's method on the
/// likelihood, with a little weight decay, without which answers that are all right would have no best rule.
#[must_use]
pub fn fit_logistic(samples: &[(f32, f32, bool)]) -> Score {
    const DECAY: f64 = 1e-3;
    let mut weights = [0.0f64; 3];
    for _ in 0..50 {
        let mut gradient = weights.map(|weight| DECAY * weight);
        let mut hessian = [[DECAY, 0.0, 0.0], [0.0, DECAY, 0.0], [0.0, 0.0, DECAY]];
        for (first, second, right) in samples {
            let inputs = [1.0, f64::from(*first), f64::from(*second)];
            let power: f64 = inputs.iter().zip(&weights).map(|(input, weight)| input * weight).sum();
            let probability = 1.0 / (1.0 + libm::exp(-power));
            let (error, curve) = (probability - f64::from(u8::from(*right)), probability * (1.0 - probability));
            for ((slope, row), input) in gradient.iter_mut().zip(&mut hessian).zip(inputs) {
                *slope += error * input;
                row.iter_mut().zip(inputs).for_each(|(cell, other)| *cell += curve * input * other);
            }
        }
        let step = solve(hessian, gradient);
        weights.iter_mut().zip(step).for_each(|(weight, step)| *weight -= step);
        if step.iter().all(|step| step.abs() < 1e-9) {
            break;
        }
    }
    let [bias, top1, top2] = weights;
    Score::Logistic { bias, top1, top2 }
}

/// Solves a symmetric, positive definite system by Cramer's rule.
fn solve([[a, b, c], [_, d, e], [_, _, f]]: [[f64; 3]; 3], [x, y, z]: [f64; 3]) -> [f64; 3] {
    let (aa, bb, cc) = (d * f - e * e, c * e - b * f, b * e - c * d);
    let (dd, ee, ff) = (a * f - c * c, b * c - a * e, a * d - b * b);
    let determinant = a * aa + b * bb + c * cc;
    [
        (aa * x + bb * y + cc * z) / determinant,
        (bb * x + dd * y + ee * z) / determinant,
        (cc * x + ee * y + ff * z) / determinant,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::SplitMix;

    #[test]
    fn the_fast_exponential_is_one() {
        for step in 0..=8_700u16 {
            let x = -f32::from(step) / 100.0;
            let (got, expected) = (f64::from(exp_of_negative(x)), libm::exp(f64::from(x)));
            assert!((got - expected).abs() <= 3e-7 * expected, "{x}: {got} {expected}");
        }
        assert!(exp_of_negative(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn the_likelihood_is_the_softmaxs() {
        let logits: Vec<f32> = (0..19u8).map(|i| f32::from(i * 7 % 19) / 3.0).collect();
        for inverse in [0.25f32, 1.0, 3.0] {
            let weights: Vec<f64> = logits.iter().map(|logit| libm::exp(f64::from(logit * inverse))).collect();
            for label in [0usize, 7, 18] {
                let expected = -libm::log(weights[label] / weights.iter().sum::<f64>());
                let got = negative_log_likelihood(&logits, label, inverse);
                assert!((got - expected).abs() < 1e-5 * expected.max(1.0), "{got} {expected}");
            }
        }
        assert_eq!(negative_log_likelihood(&logits, 19, 1.0), 0.0);
    }

    #[test]
    fn an_overconfident_model_gets_the_temperature_that_was_put_in() {
        // Labels are drawn from the softmax of logits, of which the model shows a multiple.
        let mut random = SplitMix::new(11);
        for factor in [0.5f32, 1.0, 2.5] {
            let samples: Vec<(Vec<f32>, usize)> = (0..4_000)
                .map(|_| {
                    let logits: Vec<f32> = (0..5).map(|_| (random.unit() * 4.0) as f32).collect();
                    let total: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit))).sum();
                    let mut left = random.unit() * total;
                    let label = logits.iter().position(|logit| {
                        left -= libm::exp(f64::from(*logit));
                        left < 0.0
                    });
                    (logits.iter().map(|logit| logit * factor).collect(), label.unwrap_or(4))
                })
                .collect();
            let loss = |inverse: f64| {
                samples.iter().map(|(logits, label)| negative_log_likelihood(logits, *label, inverse as f32)).sum()
            };
            let fitted = fit_temperature(loss).value();
            assert!((fitted / f64::from(factor) - 1.0).abs() < 0.1, "{fitted} for {factor}");
        }
    }

    #[test]
    fn the_logistic_rule_comes_back() {
        let mut random = SplitMix::new(5);
        let samples: Vec<(f32, f32, bool)> = (0..20_000)
            .map(|_| {
                let first = 0.3 + 0.7 * random.unit();
                let second = (1.0 - first) * random.unit();
                let power = -3.0 + 6.0 * first - 2.0 * second;
                (first as f32, second as f32, random.unit() < 1.0 / (1.0 + libm::exp(-power)))
            })
            .collect();
        let Score::Logistic { bias, top1, top2 } = fit_logistic(&samples) else { panic!() };
        assert!(
            (bias + 3.0).abs() < 0.4 && (top1 - 6.0).abs() < 0.5 && (top2 + 2.0).abs() < 0.6,
            "{bias} {top1} {top2}"
        );
        let Score::Logistic { bias, top1, top2 } = fit_logistic(&[(0.9, 0.05, true); 50]) else { panic!() };
        assert!([bias, top1, top2].iter().all(|weight| weight.is_finite()), "all right");
        assert!(fit_logistic(&[]) == Score::Logistic { bias: 0.0, top1: 0.0, top2: 0.0 });
    }
}
