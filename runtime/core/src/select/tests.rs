use super::*;
use proptest::prelude::*;

/// The paper's code, line by line: for every threshold, both accuracies over what exits.
fn transcription(confidences: &[f32], saver: &[bool], base: &[bool], cost_ratio: f64) -> PaperExit {
    let accuracy = |right: &[bool], exited: &[usize]| {
        let hits = exited.iter().filter(|&&sample| right[sample]).count();
        if exited.is_empty() { 0.0 } else { hits as f64 / exited.len() as f64 }
    };
    let n = confidences.len();
    let (mut threshold, mut exited) = (f64::NAN, Vec::new());
    for step in 0..1000 {
        threshold = 1.0 + f64::from(step) * ((1.0 - 0.001) - 1.0);
        exited = (0..n).filter(|&sample| f64::from(confidences[sample]) > threshold).collect::<Vec<usize>>();
        if accuracy(saver, &exited) < accuracy(base, &exited) {
            break;
        }
    }
    let exit_ratio = exited.len() as f64 / n as f64;
    let delta_cost = exit_ratio * (cost_ratio - 1.0) + (1.0 - exit_ratio) * cost_ratio;
    PaperExit { threshold, exits: exited.len() as u64, samples: n as u64, delta_cost }
}

fn both(confidences: &[f32], saver: &[bool], base: &[bool], cost_ratio: f64) -> (PaperExit, PaperExit) {
    let fast = paper_exit(&SaverSamples::new(confidences, saver).unwrap(), base, cost_ratio).unwrap();
    (fast, transcription(confidences, saver, base, cost_ratio))
}

fn same((fast, slow): (PaperExit, PaperExit)) {
    assert!((fast.delta_cost - slow.delta_cost).abs() < 1e-12, "{fast:?} {slow:?}");
    assert_eq!((fast.threshold, fast.exits, fast.samples), (slow.threshold, slow.exits, slow.samples));
}

#[test]
fn the_walk_is_numpys() {
    assert_eq!(walk_threshold(0), 1.0);
    assert_eq!(walk_threshold(1), 0.999);
    assert!((walk_threshold(999) - 0.001).abs() < 1e-12);
}

#[test]
fn degenerate_records_agree_with_the_transcription() {
    let ramp: Vec<f32> = (0..200u8).map(|i| f32::from(i) / 199.0).collect();
    let (yes, no) = (vec![true; 200], vec![false; 200]);
    for (saver, base) in [(&yes, &yes), (&no, &no), (&yes, &no), (&no, &yes)] {
        same(both(&ramp, saver, base, 0.2));
        for equal in [0.0, 0.001, 0.5, 0.999, 1.0] {
            same(both(&vec![equal; 200], saver, base, 0.2));
        }
    }
    for confidence in [0.0, 0.37, 1.0] {
        for (saver, base) in [(true, true), (true, false), (false, true), (false, false)] {
            same(both(&[confidence], &[saver], &[base], 0.9));
        }
    }
}

#[test]
fn the_row_at_the_crossing_is_taken_and_an_unlucky_first_sample_stops_the_walk() {
    let (fast, _) = both(&[0.99, 0.8, 0.7], &[false, true, true], &[true, true, true], 0.1);
    assert_eq!((fast.exits, fast.is_enabled()), (1, true), "the violating sample itself still exits");
    let (fast, _) = both(&[0.99, 0.8, 0.7], &[true, true, true], &[true, false, true], 0.1);
    assert_eq!(fast.exits, 3);
    assert!((fast.delta_cost + 0.9).abs() < 1e-12);
    let (fast, _) = both(&[1.0, 1.0], &[false, true], &[true, true], 1.2);
    assert!(!fast.is_enabled(), "a saver that costs more than the base");
}

#[test]
fn refuses_what_cannot_be_searched() {
    assert_eq!(SaverSamples::new(&[], &[]).unwrap_err(), SelectError::Empty);
    assert_eq!(SaverSamples::new(&[0.5], &[]).unwrap_err(), SelectError::Lengths { confidences: 1, others: 0 });
    for bad in [f32::NAN, 1.5, -0.5] {
        let error = SaverSamples::new(&[0.1, bad], &[true, true]).unwrap_err();
        assert!(matches!(error, SelectError::NotAConfidence { index: 1, .. }), "{error}");
    }
    let saver = SaverSamples::new(&[0.5], &[true]).unwrap();
    assert!(paper_exit(&saver, &[true, false], 0.5).is_err());
    assert!(bootstrap_delta_costs(&[(&saver, 0.5)], &[], 10, 1).is_err());
}

#[test]
fn resampling_spreads_around_the_value_and_ranks_clear_savers_clearly() {
    let mut random = SplitMix::new(3);
    let confidences: Vec<f32> = (0..2_000).map(|_| random.unit() as f32).collect();
    let base = vec![true; 2_000];
    let right = |from: f64, random: &mut SplitMix| -> Vec<bool> {
        confidences.iter().map(|c| f64::from(*c) > from || random.unit() < 0.5).collect()
    };
    let (good, bad) = (right(0.3, &mut random), right(0.9, &mut random));
    let (good, bad) = (SaverSamples::new(&confidences, &good).unwrap(), SaverSamples::new(&confidences, &bad).unwrap());
    let rows = bootstrap_delta_costs(&[(&good, 0.1), (&bad, 0.1)], &base, 200, 9).unwrap();
    let value = paper_exit(&good, &base, 0.1).unwrap().delta_cost;
    let interval = Interval::of(rows[0].clone()).unwrap();
    assert!(
        interval.low <= value && value <= interval.high + 0.02 && interval.high > interval.low,
        "{interval:?} {value}"
    );
    assert!(rows[0].iter().zip(&rows[1]).all(|(good, bad)| good < bad));
    assert_eq!(rows, bootstrap_delta_costs(&[(&good, 0.1), (&bad, 0.1)], &base, 200, 9).unwrap(), "seeded");
    assert_eq!(Interval::of(Vec::new()), None);
}

proptest! {
    #[test]
    fn random_records_agree_with_the_transcription(
        samples in prop::collection::vec((0u16..=1000, 0u8..10, 0u8..10), 1..60), cost_ratio in 0.01f64..1.5
    ) {
        let confidences: Vec<f32> = samples.iter().map(|sample| f32::from(sample.0) / 1000.0).collect();
        let saver: Vec<bool> = samples.iter().map(|sample| sample.1 > 1).collect();
        let base: Vec<bool> = samples.iter().map(|sample| sample.2 > 0).collect();
        same(both(&confidences, &saver, &base, cost_ratio));
    }
}
