use super::*;
use crate::risk::lower_bound;
use crate::select::SplitMix;
use proptest::prelude::*;

const COSTS: [f64; 3] = [1.0, 10.0, 100.0];

fn judged(confidence: f32, harm: bool) -> Judged {
    Judged { confidence, harm, help: false, error: harm }
}

/// Two savers of independent confidences; the second does a third of the first's harm.
fn draw(random: &mut SplitMix, n: usize) -> Stages {
    let saver = |random: &mut SplitMix, share: f64| -> Judged {
        let confidence = random.unit();
        judged(confidence as f32, random.unit() < share * (1.0 - confidence) * (1.0 - confidence))
    };
    let rows: Vec<(Judged, Judged)> = (0..n).map(|_| (saver(random, 0.3), saver(random, 0.1))).collect();
    let (first, second) = rows.into_iter().unzip();
    Stages::new(vec![first, second]).unwrap()
}

/// The true rate of harms: of those that exit at the first saver, and of the others at the second.
fn true_harms(thresholds: &[f32]) -> f64 {
    let [first, second] = [thresholds[0], thresholds[1]].map(f64::from);
    0.1 * (1.0 - first).powi(3) + first * (0.1 / 3.0) * (1.0 - second).powi(3)
}

#[test]
fn a_frame_leaves_at_the_first_saver_that_is_sure() {
    let stages = Stages::new(vec![
        vec![judged(0.9, false), judged(0.5, true), judged(0.1, true)],
        vec![judged(0.2, true), judged(0.9, true), judged(0.1, false)],
    ])
    .unwrap();
    let at = stages.at(&[0.5, 0.5]);
    assert_eq!((at.exits, at.counts.harms, at.counts.exits), (vec![1, 1], 1, 2), "0.5 is not above 0.5");
    assert_eq!(stages.at(&[0.0, 0.0]).exits, [3, 0]);
    assert_eq!(total_cost(&[1, 1], 3, &COSTS), 3.0 + 20.0 + 100.0);
    assert_eq!(total_cost(&[0, 0], 3, &COSTS), 333.0);
}

#[test]
fn what_cannot_be_judged_is_refused() {
    assert_eq!(Stages::new(Vec::new()).unwrap_err(), RankError::Empty);
    let one = vec![judged(0.5, false)];
    assert_eq!(Stages::new(vec![one.clone(), Vec::new()]).unwrap_err(), RankError::Missing { index: 0 });
    assert!(Stages::new(vec![one.clone(), vec![judged(f32::NAN, false)]]).is_err());
    let stages = Stages::new(vec![one.clone(), one]).unwrap();
    let (path, promise) = (stages.path(&COSTS), Promise::new(0.01, 0.05).unwrap());
    let refused = |method| choose_on_path(method, &stages, &path, &COSTS, promise).unwrap_err();
    assert_eq!(refused(Method::Rcps), StagesError::Refused(Refusal { samples: 1, needed: 299 }));
    assert_eq!(refused(Method::LearnThenTest), StagesError::Refused(Refusal { samples: 1, needed: 368 }));
    assert!(refused(Method::Sgr).to_string().contains("sgr chooses one threshold only"));
    assert!(refused(Method::ConformalRiskControl).to_string().contains("crc chooses one threshold only"));
}

#[test]
fn the_path_begins_where_nothing_exits_and_becomes_cheaper() {
    let stages = draw(&mut SplitMix::new(8), 500);
    let path = stages.path(&COSTS);
    assert_eq!(path[0], [1.0, 1.0]);
    let places: Vec<f64> =
        path.iter().step_by(usize::from(BETWEEN)).map(|at| total_cost(&stages.at(at).exits, 500, &COSTS)).collect();
    assert!(places.len() > 5 && places.windows(2).skip(1).all(|pair| pair[1] < pair[0]), "{places:?}");
}

#[test]
fn the_sweep_takes_the_cheapest_that_keeps_within_epsilon_on_these_samples() {
    let stages = draw(&mut SplitMix::new(4), 1_000);
    let path = stages.path(&COSTS);
    let choice = choose_on_path(Method::Sweep, &stages, &path, &COSTS, Promise::new(0.01, 0.05).unwrap()).unwrap();
    let cost = |thresholds: &Vec<f32>| total_cost(&stages.at(thresholds).exits, 1_000, &COSTS);
    let allowed = path.iter().filter(|thresholds| stages.at(thresholds).counts.harms <= 10);
    assert_eq!(cost(&choice.thresholds), allowed.map(cost).fold(f64::INFINITY, f64::min));
    assert!(choice.bound <= 0.01 && choice.bound > 0.005, "{}", choice.bound);
}

#[test]
fn three_stages_are_cheaper_than_two_and_their_promise_breaks_as_seldom_as_promised() {
    const REPEATS: u64 = 500;
    let (promise, mut random) = (Promise::new(0.01, 0.05).unwrap(), SplitMix::new(99));
    let (mut broken, mut spent, mut spent_by_two) = (0, 0.0, 0.0);
    for _ in 0..REPEATS {
        let path = draw(&mut random, 500).path(&COSTS);
        let stages = draw(&mut random, 2_000);
        let choice = choose_on_path(Method::Rcps, &stages, &path, &COSTS, promise).unwrap();
        assert!(choice.bound <= 0.01);
        broken += u64::from(true_harms(&choice.thresholds) > 0.01);
        spent += total_cost(&choice.counts.exits, choice.samples, &COSTS);
        let two: Vec<Vec<f32>> = (0..=100u8).map(|step| vec![1.0 - f32::from(step) / 100.0, 1.0]).collect();
        let two = choose_on_path(Method::Rcps, &stages, &two, &COSTS, promise).unwrap();
        spent_by_two += total_cost(&[two.counts.exits[0]], 2_000, &[1.0, 100.0]);
    }
    let low = lower_bound(broken, REPEATS, 0.025);
    assert!(low <= 0.05 && broken > 0, "{broken} of {REPEATS}");
    assert!(spent < 0.9 * spent_by_two, "{spent} {spent_by_two}");
}

/// Confidence in tenths and harm, of two savers.
type Row = (u8, bool, u8, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn counts_are_those_of_a_plain_loop(
        rows in prop::collection::vec((0u8..=10, any::<bool>(), 0u8..=10, any::<bool>()), 1..40), first in 0u8..=10, second in 0u8..=10
    ) {
        let tenth = |value: u8| f32::from(value) / 10.0;
        let column = |pick: fn(&Row) -> (u8, bool)| -> Vec<Judged> {
            rows.iter().map(pick).map(|(confidence, harm)| judged(tenth(confidence), harm)).collect()
        };
        let stages = Stages::new(vec![column(|row| (row.0, row.1)), column(|row| (row.2, row.3))]).unwrap();
        let (mut exits, mut harms) = ([0, 0], 0);
        for (a, a_harm, b, b_harm) in &rows {
            if *a > first {
                exits[0] += 1;
                harms += u64::from(*a_harm);
            } else if *b > second {
                exits[1] += 1;
                harms += u64::from(*b_harm);
            }
        }
        let at = stages.at(&[tenth(first), tenth(second)]);
        prop_assert_eq!((at.exits, at.counts.harms), (exits.to_vec(), harms));
    }
}
