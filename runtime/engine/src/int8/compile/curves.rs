//! Sigmoid and tanh by the rational approximations that ONNX Runtime and Eigen use, every product fused with its sum:
//! the same bits on every platform, which the exponentials of the platforms' own libraries do not give.

/// Odd numerator coefficients, highest first, and even denominator coefficients.
struct Rational {
    /// Beyond this the curve is flat in f32.
    limit: f32,
    odd: &'static [f32],
    even: &'static [f32],
}

const LOGISTIC: Rational = Rational {
    limit: 18.0,
    odd: &[4.370_31e-11, 1.156_273_2e-7, 6.085_749e-5, 8.513_771e-3, 2.482_879_5e-1],
    even: &[6.102_473_7e-13, 5.761_021_4e-9, 6.291_068e-6, 1.701_988_2e-3, 1.168_176_5e-1, 9.931_519e-1],
};

const TANH: Rational = Rational {
    limit: 9.0,
    odd: &[
        -2.760_768_4e-16,
        2.000_188e-13,
        -8.604_672e-11,
        5.122_297_3e-8,
        1.485_722_35e-5,
        6.372_619_5e-4,
        4.893_524_6e-3,
    ],
    even: &[1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_7e-3, 4.893_525e-3],
};

impl Rational {
    fn at(&self, x: f32) -> f32 {
        let x = x.max(-self.limit).min(self.limit);
        let square = x * x;
        let along = |coefficients: &[f32]| coefficients.iter().fold(0.0f32, |sum, &next| sum.mul_add(square, next));
        along(self.odd) * x / along(self.even)
    }
}

/// `1 / (1 + exp(-x))`.
pub fn logistic(x: f32) -> f32 {
    (LOGISTIC.at(x) + 0.5).clamp(0.0, 1.0)
}

/// The hyperbolic tangent.
pub fn tanh(x: f32) -> f32 {
    TANH.at(x).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_approximations_are_close() {
        for index in -2000..=2000 {
            let x = index as f32 / 100.0;
            let exact = f64::from(x);
            assert!((f64::from(logistic(x)) - 1.0 / (1.0 + (-exact).exp())).abs() < 2e-7, "{x}");
            assert!((f64::from(tanh(x)) - exact.tanh()).abs() < 5e-7, "{x}");
        }
    }
}
