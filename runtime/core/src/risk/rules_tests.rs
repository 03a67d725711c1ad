use super::*;
use crate::risk::Judged;
use crate::select::SplitMix;
use proptest::prelude::*;

fn promise(epsilon: f64, delta: f64) -> Promise {
    Promise::new(epsilon, delta).unwrap()
}

fn judged(confidence: f32, harm: bool, help: bool) -> Judged {
    Judged { confidence, harm, help, error: harm }
}

/// `n` samples of falling confidence, harms at these places.
fn with_harms(n: usize, harms: &[usize]) -> Ranked {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand samples")]
    let confidence = |place: usize| 1.0 - (place + 1) as f32 / (n + 2) as f32;
    let samples = (0..n).map(|place| judged(confidence(place), harms.contains(&place), false)).collect();
    Ranked::new(samples).unwrap()
}

#[test]
fn rcps_goes_down_to_the_first_harm_too_many() {
    // 1,000 samples at 0.5 pp allow one harm, at 1 pp four.
    let ranked = with_harms(1_000, &[100, 300, 500, 700, 900]);
    let choice = choose(Method::Rcps, &ranked, promise(0.005, 0.05), Candidates::Observed).unwrap();
    assert_eq!((choice.counts.exits, choice.counts.harms), (300, 1));
    assert!(choice.bound <= 0.005 && choice.bound > 0.0047, "{}", choice.bound);
    let choice = choose(Method::Rcps, &ranked, promise(0.01, 0.05), Candidates::Observed).unwrap();
    assert_eq!((choice.counts.exits, choice.counts.harms), (900, 4));
    assert_eq!(ranked.at(choice.threshold.value()), choice.counts, "the gate sees what was counted");
    let none = choose(Method::Rcps, &with_harms(1_000, &[]), promise(0.01, 0.05), Candidates::Observed).unwrap();
    assert_eq!((none.threshold.value(), none.counts.exits), (0.0, 1_000));
}

#[test]
fn too_few_samples_are_refused_with_the_number_that_is_needed() {
    let ranked = with_harms(500, &[]);
    let refused = |method, epsilon| choose(method, &ranked, promise(epsilon, 0.05), Candidates::Observed).unwrap_err();
    assert_eq!(refused(Method::Rcps, 0.005), Refusal { samples: 500, needed: 598 });
    assert_eq!(refused(Method::Rcps, 0.001), Refusal { samples: 500, needed: 2_995 });
    assert_eq!(refused(Method::LearnThenTest, 0.005).needed, 736, "each half of the bound has half of delta");
    assert_eq!(refused(Method::ConformalRiskControl, 0.001), Refusal { samples: 500, needed: 999 });
    assert!(refused(Method::Sgr, 0.001).needed > 2_995, "each step has a share of delta");
    assert!(choose(Method::Sweep, &ranked, promise(0.001, 0.05), Candidates::Observed).is_ok(), "it promises nothing");
    for (epsilon, delta) in [(0.0, 0.05), (1.0, 0.05), (0.01, 0.0), (0.01, 1.0), (f64::NAN, 0.05), (0.01, f64::NAN)] {
        assert!(Promise::new(epsilon, delta).is_err());
    }
    assert_eq!(with_harms(598, &[]).samples(), 598);
    assert!(choose(Method::Rcps, &with_harms(598, &[]), promise(0.005, 0.05), Candidates::Observed).is_ok());
}

#[test]
fn helps_are_credited_by_learn_then_test_only() {
    let samples: Vec<Judged> =
        (0..10_000u16).map(|i| judged(1.0 - f32::from(i) / 20_000.0, i % 100 == 0, i % 50 == 1)).collect();
    let ranked = Ranked::new(samples).unwrap();
    let of = |method| choose(method, &ranked, promise(0.005, 0.05), Candidates::Observed).unwrap();
    assert_eq!(of(Method::Rcps).counts.harms, 38);
    assert_eq!(of(Method::LearnThenTest).counts.exits, 10_000, "twice as many helps as harms");
    assert_eq!(of(Method::Sweep).counts.exits, 10_000);
}

#[test]
fn sgr_bounds_the_accepted_answers() {
    // Errors from place 2,000 on, every tenth.
    let samples =
        (0..4_000u16).map(|i| judged(1.0 - f32::from(i) / 8_000.0, i > 2_000 && i % 10 == 0, false)).collect();
    let choice =
        choose(Method::Sgr, &Ranked::new(samples).unwrap(), promise(0.02, 0.05), Candidates::Observed).unwrap();
    assert!(choice.bound <= 0.02 && (2_100..2_700).contains(&choice.counts.exits), "{choice:?}");
}

proptest! {
    #[test]
    fn a_certified_threshold_keeps_its_bound_and_is_the_lowest(
        samples in prop::collection::vec((0u8..=50, 0u8..20), 40..300), epsilon in 0.02f64..0.4, delta in 0.02f64..0.3
    ) {
        let samples = samples.iter().map(|(c, kind)| judged(f32::from(*c) / 50.0, *kind == 0, *kind == 1)).collect();
        let ranked = Ranked::new(samples).unwrap();
        let promise = promise(epsilon, delta);
        for method in [Method::Rcps, Method::LearnThenTest, Method::ConformalRiskControl] {
            let Ok(choice) = choose(method, &ranked, promise, Candidates::Observed) else { continue };
            prop_assert!(choice.bound <= epsilon + 1e-12);
            prop_assert_eq!(ranked.at(choice.threshold.value()), choice.counts);
            if method == Method::Rcps {
                // Straight from the definition: every threshold of the walk above it passes, the next one does not.
                for (threshold, counts) in ranked.walk(Candidates::Observed) {
                    let passes = upper_bound(counts.harms, ranked.samples(), delta) <= epsilon;
                    prop_assert_eq!(passes, threshold >= choice.threshold.value(), "{}", threshold);
                }
            }
        }
    }

    #[test]
    fn a_coarser_grid_never_promises_more(samples in prop::collection::vec((0u8..=50, 0u8..20), 100..300)) {
        let samples = samples.iter().map(|(c, kind)| judged(f32::from(*c) / 50.0, *kind == 0, false)).collect();
        let ranked = Ranked::new(samples).unwrap();
        let of = |candidates| choose(Method::Rcps, &ranked, promise(0.1, 0.05), candidates).unwrap().counts.exits;
        prop_assert!(of(Candidates::Grid(10.try_into().unwrap())) <= of(Candidates::Observed));
    }
}

/// The saver of the simulations in the literature survey: confidence uniform, harm with probability 0.3 (1 - c)^2; and a
/// third as many helps.
fn draw(random: &mut SplitMix, n: usize) -> Ranked {
    let sample = |random: &mut SplitMix| {
        let confidence = random.unit();
        let harm_rate = 0.3 * (1.0 - confidence) * (1.0 - confidence);
        let dice = random.unit();
        judged(confidence as f32, dice < harm_rate, dice > 1.0 - harm_rate / 3.0)
    };
    Ranked::new((0..n).map(|_| sample(random)).collect()).unwrap()
}

/// True rate of harms above a threshold: the integral of 0.3 (1 - c)^2.
fn true_harms(threshold: f64) -> f64 {
    0.1 * (1.0 - threshold).powi(3)
}

/// Share of calibration sets on which the method breaks its promise, and the end of the 95 % interval that lies nearer to 0.
fn broken(method: Method, true_risk: fn(f64) -> f64, repeats: u32) -> (f64, f64) {
    let (promise, mut random) = (promise(0.005, 0.05), SplitMix::new(20_240_317));
    let breaks = |random: &mut SplitMix| {
        let choice = choose(method, &draw(random, 4_000), promise, Candidates::Observed).unwrap();
        true_risk(f64::from(choice.threshold.value())) > promise.epsilon()
    };
    let broken = (0..repeats).filter(|_| breaks(&mut random)).count() as u64;
    (broken as f64 / f64::from(repeats), lower_bound(broken, u64::from(repeats), 0.025))
}

#[test]
fn the_promise_breaks_as_seldom_as_promised_and_without_one_every_second_time() {
    const REPEATS: u32 = 2_000;
    let net = |threshold| true_harms(threshold) * (2.0 / 3.0);
    for (method, risk) in [(Method::Rcps, true_harms as fn(f64) -> f64), (Method::LearnThenTest, net)] {
        let (rate, low) = broken(method, risk, REPEATS);
        assert!(low <= 0.05, "{method:?}: the promise breaks at {rate}, at least {low}");
        assert!(rate > 0.001, "{method:?}: {rate}: never broken is a bound that is far too wide");
    }
    let (sweep, _) = broken(Method::Sweep, net, REPEATS);
    let (conformal, _) = broken(Method::ConformalRiskControl, true_harms, REPEATS);
    assert!((0.4..0.75).contains(&sweep), "{sweep}");
    assert!((0.3..0.6).contains(&conformal), "{conformal}");
}
