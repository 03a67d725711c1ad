//! Exact bounds on a probability from counts (Clopper and Pearson, 1934), by summing the binomial distribution itself.

/// Below this share of the sum, further terms change no digit that a double holds.
const NEGLIGIBLE: f64 = 1e-18;

/// Halvings of an interval within 0..=1 after which a double cannot tell its ends apart.
const HALVINGS: u32 = 64;

#[expect(clippy::cast_precision_loss, reason = "counts of samples lie far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// `P(X <= k)` for X binomial with `n` trials of probability `p`.
#[must_use]
pub fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n || p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    // Away from the mode the terms only shrink, so the sum may stop when they no longer count.
    if real(k) <= real(n) * p {
        let odds = (1.0 - p) / p;
        sum_terms(pmf(k, n, p), (1..=k).rev().map(|j| odds * real(j) / real(n - j + 1)))
    } else {
        let odds = p / (1.0 - p);
        1.0 - sum_terms(pmf(k + 1, n, p), (k + 1..n).map(|j| odds * real(n - j) / real(j + 1)))
    }
}

/// `first * (1 + r0 + r0 r1 + ...)`.
fn sum_terms(first: f64, ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut term, mut sum) = (first, first);
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term <= NEGLIGIBLE * sum {
            break;
        }
    }
    sum.min(1.0)
}

fn pmf(k: u64, n: u64, p: f64) -> f64 {
    let ways = libm::lgamma(real(n) + 1.0) - libm::lgamma(real(k) + 1.0) - libm::lgamma(real(n - k) + 1.0);
    libm::exp(ways + real(k) * libm::log(p) + real(n - k) * libm::log1p(-p))
}

/// The largest probability that `k` of `n` is still compatible with: `sup { p : P(X <= k) > delta }`, which the true one
/// exceeds with probability at most `delta`. 1 where there are no samples.
#[must_use]
pub fn upper_bound(k: u64, n: u64, delta: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    let (mut low, mut high) = (real(k) / real(n), 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if binomial_cdf(k, n, middle) > delta { low = middle } else { high = middle }
    }
    high
}

/// The smallest probability that `k` of `n` is still compatible with; the true one lies below with probability at most
/// `delta`. 0 where nothing was seen.
#[must_use]
pub fn lower_bound(k: u64, n: u64, delta: f64) -> f64 {
    if k == 0 { 0.0 } else { (1.0 - upper_bound(n.saturating_sub(k), n, delta)).max(0.0) }
}

/// How many harms among `n` samples still prove a rate of at most `epsilon` with probability `1 - delta`; `None` where
/// not even none does.
#[must_use]
pub fn most_harms(n: u64, epsilon: f64, delta: f64) -> Option<u64> {
    let proves = |k: u64| k < n && binomial_cdf(k, n, epsilon) <= delta;
    if !proves(0) {
        return None;
    }
    let (mut good, mut bad) = (0, n);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if proves(middle) { good = middle } else { bad = middle }
    }
    Some(good)
}

/// How many samples without a single harm prove a rate of at most `epsilon`: `ln delta / ln(1 - epsilon)`, rounded up.
#[must_use]
pub fn samples_needed(epsilon: f64, delta: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
    let needed = libm::ceil(libm::log(delta) / libm::log1p(-epsilon)) as u64;
    needed.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// (k, n, upper, lower) at delta = 0.05, summed with 40 digits by Python's `decimal`.
    const REFERENCE: [(u64, u64, f64, f64); 6] = [
        (0, 299, 0.0099691467929, 0.0),
        (1, 10, 0.394163302437, 0.00511619689182),
        (3, 50, 0.147837176364, 0.0165518591892),
        (16, 5000, 0.00485620142674, 0.00200818890426),
        (223, 50000, 0.00498215819302, 0.00398128811382),
        (460, 500, 0.939061930168, 0.897132461037),
    ];

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{got} is not {expected}");
    }

    #[test]
    fn bounds_of_the_literature() {
        for (k, n, upper, lower) in REFERENCE {
            near(upper_bound(k, n, 0.05), upper);
            near(lower_bound(k, n, 0.05), lower);
        }
        assert_eq!((upper_bound(5, 5, 0.05), lower_bound(0, 5, 0.05), upper_bound(0, 0, 0.05)), (1.0, 0.0, 1.0));
    }

    #[test]
    fn the_most_harms_of_the_literature() {
        let table = [
            (500, [None, None, Some(1)]),
            (1_000, [None, Some(1), Some(4)]),
            (2_000, [None, Some(4), Some(12)]),
            (5_000, [Some(1), Some(16), Some(38)]),
            (10_000, [Some(4), Some(38), Some(83)]),
            (50_000, [Some(38), Some(223), Some(463)]),
        ];
        for (n, expected) in table {
            assert_eq!([0.001, 0.005, 0.01].map(|epsilon| most_harms(n, epsilon, 0.05)), expected, "n = {n}");
        }
        let needed = [0.01, 0.005, 0.001, 0.000_5, 0.000_1].map(|epsilon| samples_needed(epsilon, 0.05));
        assert_eq!(needed, [299, 598, 2_995, 5_990, 29_956]);
    }

    #[test]
    fn small_ones_by_hand() {
        // Two coins: 1/4, 3/4, 1.
        for (k, expected) in [(0, 0.25), (1, 0.75), (2, 1.0)] {
            near(binomial_cdf(k, 2, 0.5), expected);
        }
        // Three trials of 0.1: 0.729, 0.972, 0.999.
        for (k, expected) in [(0, 0.729), (1, 0.972), (2, 0.999)] {
            near(binomial_cdf(k, 3, 0.1), expected);
        }
    }

    proptest! {
        #[test]
        fn the_distribution_is_one(n in 1u64..3_000, share in 0.0f64..1.0, p in 0.001f64..0.999) {
            let k = (share * real(n)) as u64;
            let cdf = binomial_cdf(k, n, p);
            prop_assert!((0.0..=1.0).contains(&cdf));
            // X <= k is n - X >= n - k, counted from the other side.
            let other = if k >= n { 1.0 } else { 1.0 - binomial_cdf(n - k - 1, n, 1.0 - p) };
            prop_assert!((cdf - other).abs() < 1e-9, "{cdf} {other}");
            prop_assert!(binomial_cdf(k + 1, n, p) >= cdf - 1e-12);
        }

        #[test]
        fn the_bound_is_where_the_distribution_crosses_delta(n in 2u64..20_000, share in 0.0f64..0.99, delta in 0.001f64..0.5) {
            let k = ((share * real(n)) as u64).min(n - 1);
            let upper = upper_bound(k, n, delta);
            prop_assert!(upper >= real(k) / real(n));
            prop_assert!((binomial_cdf(k, n, upper) - delta).abs() < 1e-6 * delta.max(1e-3) + 1e-9);
            prop_assert!(lower_bound(k, n, delta) <= real(k) / real(n) + 1e-12);
        }

        #[test]
        fn the_most_harms_are_those_whose_bound_fits(n in 1u64..5_000, epsilon in 0.001f64..0.3, delta in 0.01f64..0.2) {
            let fits = |k: u64| upper_bound(k, n, delta) <= epsilon;
            match most_harms(n, epsilon, delta) {
                Some(k) => prop_assert!(fits(k) && !fits(k + 1)),
                None => prop_assert!(!fits(0) && n < samples_needed(epsilon, delta)),
            }
        }
    }
}
