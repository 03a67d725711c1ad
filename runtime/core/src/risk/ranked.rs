//! Calibration samples in the order in which a falling threshold lets them exit.

use std::num::NonZeroU32;

/// What is known of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// What the gate judges, in 0..=1.
    pub confidence: f32,
    /// The base is right and the saver wrong; without labels: they disagree.
    pub harm: bool,
    /// The saver is right and the base wrong; without labels: never.
    pub help: bool,
    /// The saver is wrong; without labels: it disagrees with the base.
    pub error: bool,
}

impl Judged {
    /// From what both answered and what is right; without a right answer the base's is taken for it.
    #[must_use]
    pub fn new(confidence: f32, saver: u32, base: u32, label: Option<u32>) -> Self {
        let label = label.unwrap_or(base);
        let (saver_right, base_right) = (saver == label, base == label);
        Self { confidence, harm: base_right && !saver_right, help: saver_right && !base_right, error: !saver_right }
    }
}

/// How many samples exit at a threshold, and what becomes of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The saver answers.
    pub exits: u64,
    /// Of these, the base alone would have been right.
    pub harms: u64,
    /// Of these, the saver alone is right.
    pub helps: u64,
    /// Of these, the saver is wrong.
    pub errors: u64,
}

impl Counts {
    /// Counts one more sample that exits.
    pub fn add(&mut self, judged: Judged) {
        self.exits += 1;
        self.harms += u64::from(judged.harm);
        self.helps += u64::from(judged.help);
        self.errors += u64::from(judged.error);
    }
}

/// Which thresholds are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidates {
    /// Every one at which something changes: 1, the confidences themselves, 0.
    Observed,
    /// 1, then down to 0 in so many equal steps.
    Grid(NonZeroU32),
}

/// The samples cannot be ranked.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum RankError {
    /// There are none.
    #[error("there are no samples")]
    Empty,
    /// A confidence is no number from 0 to 1.
    #[error("sample {index} (from 0): its confidence {confidence} is no number from 0 to 1")]
    NotAConfidence {
        /// Where, from 0.
        index: usize,
        /// What stands there.
        confidence: f32,
    },
    /// Of a cascade's savers, one has fewer samples than another.
    #[error("sample {index} (from 0) is there for one saver and not for another: they must be of the same samples")]
    Missing {
        /// The first that is missing.
        index: usize,
    },
}

/// Samples by falling confidence, added up.
#[derive(Debug, Clone)]
pub struct Ranked {
    samples: u64,
    /// Of each confidence that occurs, falling: it, and what exits at any threshold just below it.
    levels: Vec<(f32, Counts)>,
}

impl Ranked {
    /// Sorts and adds up, once.
    ///
    /// # Errors
    /// No samples, or a confidence that is NaN or outside 0..=1.
    pub fn new(mut samples: Vec<Judged>) -> Result<Self, RankError> {
        if samples.is_empty() {
            return Err(RankError::Empty);
        }
        let bad = samples.iter().enumerate().find(|(_, sample)| !(0.0..=1.0).contains(&sample.confidence));
        if let Some((index, sample)) = bad {
            return Err(RankError::NotAConfidence { index, confidence: sample.confidence });
        }
        samples.sort_unstable_by(|a, b| b.confidence.total_cmp(&a.confidence));
        let mut levels: Vec<(f32, Counts)> = Vec::new();
        let mut counts = Counts::default();
        for sample in &samples {
            counts.add(*sample);
            match levels.last_mut() {
                #[expect(clippy::float_cmp, reason = "equal confidences exit together")]
                Some((confidence, level)) if *confidence == sample.confidence => *level = counts,
                _ => levels.push((sample.confidence, counts)),
            }
        }
        Ok(Self { samples: samples.len() as u64, levels })
    }

    /// How many samples there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What happens at a threshold: those strictly above it exit.
    #[must_use]
    pub fn at(&self, threshold: f32) -> Counts {
        let above = self.levels.partition_point(|(confidence, _)| *confidence > threshold);
        above.checked_sub(1).and_then(|last| self.levels.get(last)).map(|(_, counts)| *counts).unwrap_or_default()
    }

    /// Thresholds from 1 down to 0, and what exits at each.
    pub fn walk(&self, candidates: Candidates) -> Box<dyn Iterator<Item = (f32, Counts)> + '_> {
        let (observed, steps) = match candidates {
            Candidates::Observed => (self.levels.as_slice(), 0),
            Candidates::Grid(steps) => (&[][..], steps.get()),
        };
        let inner = observed.iter().map(|(confidence, _)| *confidence).filter(|confidence| *confidence < 1.0);
        #[expect(clippy::cast_possible_truncation, reason = "a threshold needs no more than 24 bits")]
        let grid = (1..steps).map(move |step| (f64::from(steps - step) / f64::from(steps)) as f32);
        let thresholds = std::iter::once(1.0).chain(inner).chain(grid).chain(std::iter::once(0.0));
        Box::new(thresholds.map(|threshold| (threshold, self.at(threshold))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(confidence: f32, harm: bool) -> Judged {
        Judged { confidence, harm, help: !harm, error: harm }
    }

    #[test]
    fn what_both_answered_becomes_harm_or_help() {
        let of = |saver, base, label| {
            let Judged { harm, help, error, .. } = Judged::new(0.5, saver, base, label);
            (harm, help, error)
        };
        assert_eq!(of(1, 1, Some(1)), (false, false, false));
        assert_eq!(of(2, 1, Some(1)), (true, false, true));
        assert_eq!(of(1, 2, Some(1)), (false, true, false));
        assert_eq!(of(2, 3, Some(1)), (false, false, true), "both wrong: no harm");
        assert_eq!(of(2, 1, None), (true, false, true), "without labels the base's answer is the label");
        assert_eq!(of(1, 1, None), (false, false, false));
    }

    #[test]
    fn equal_confidences_exit_together_and_one_exits_below_one_only() {
        let ranked = Ranked::new(vec![judged(1.0, false), judged(0.5, true), judged(0.5, false)]).unwrap();
        let exits: Vec<(f32, u64)> = ranked.walk(Candidates::Observed).map(|(t, counts)| (t, counts.exits)).collect();
        assert_eq!(exits, [(1.0, 0), (0.5, 1), (0.0, 3)]);
        let grid = Candidates::Grid(NonZeroU32::new(4).unwrap());
        let exits: Vec<(f32, u64)> = ranked.walk(grid).map(|(t, counts)| (t, counts.exits)).collect();
        assert_eq!(exits, [(1.0, 0), (0.75, 1), (0.5, 1), (0.25, 3), (0.0, 3)]);
    }

    #[test]
    fn refuses_what_cannot_be_ranked() {
        assert_eq!(Ranked::new(Vec::new()).unwrap_err(), RankError::Empty);
        for bad in [f32::NAN, -0.1, 1.1, f32::INFINITY] {
            let error = Ranked::new(vec![judged(0.5, false), judged(bad, false)]).unwrap_err();
            assert!(matches!(error, RankError::NotAConfidence { index: 1, .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_plain_filter(
            samples in prop::collection::vec((0u8..=20, any::<bool>()), 1..60), threshold in 0u8..=20
        ) {
            let samples: Vec<Judged> = samples.iter().map(|(c, harm)| judged(f32::from(*c) / 20.0, *harm)).collect();
            let threshold = f32::from(threshold) / 20.0;
            let mut expected = Counts::default();
            samples.iter().filter(|sample| sample.confidence > threshold).for_each(|sample| expected.add(*sample));
            let ranked = Ranked::new(samples).unwrap();
            prop_assert_eq!(ranked.at(threshold), expected);
            let walked: Vec<(f32, Counts)> = ranked.walk(Candidates::Observed).collect();
            prop_assert!(walked.windows(2).all(|pair| pair[0].0 > pair[1].0 || pair[1].0 == 0.0));
            prop_assert!(walked.windows(2).all(|pair| pair[0].1.exits <= pair[1].1.exits));
        }
    }
}
