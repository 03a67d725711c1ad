//! The last confidences, for which share of frames a threshold would escalate and the reverse.

use crate::gate::Threshold;

/// How many are looked back on.
const KEPT: usize = 256;
/// Fewer say nothing.
const ENOUGH: usize = 32;

/// A ring of confidences; allocates nothing.
#[derive(Debug, Clone)]
pub(super) struct RecentConfidences {
    ring: [f32; KEPT],
    seen: usize,
}

impl RecentConfidences {
    pub(super) fn new() -> Self {
        Self { ring: [0.0; KEPT], seen: 0 }
    }

    pub(super) fn add(&mut self, confidence: f32) {
        if confidence.is_finite()
            && let Some(place) = self.ring.get_mut(self.seen % KEPT)
        {
            *place = confidence.clamp(0.0, 1.0);
            self.seen += 1;
        }
    }

    fn kept(&self) -> &[f32] {
        self.ring.get(..self.seen.min(KEPT)).unwrap_or_default()
    }

    /// The share of frames that a threshold escalates; `None` while there are too few.
    #[expect(clippy::cast_precision_loss, reason = "at most 256")]
    pub(super) fn escalated(&self, threshold: Threshold) -> Option<f64> {
        let kept = self.kept();
        if kept.len() < ENOUGH {
            return None;
        }
        let below = kept.iter().filter(|confidence| **confidence <= threshold.value()).count();
        Some(below as f64 / kept.len() as f64)
    }

    /// The threshold that escalates so large a share; `None` while there are too few confidences.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "at most 256"
    )]
    pub(super) fn threshold(&self, share: f64) -> Option<Threshold> {
        let kept = self.kept();
        if kept.len() < ENOUGH {
            return None;
        }
        let rank = (share.clamp(0.0, 1.0) * kept.len() as f64).round() as usize;
        if rank == 0 {
            return Threshold::try_from(0.0).ok();
        }
        if rank >= kept.len() {
            return Some(Threshold::ALWAYS_BASE);
        }
        let mut sorted = self.ring;
        let sorted = sorted.get_mut(..kept.len())?;
        let (_, value, _) = sorted.select_nth_unstable_by(rank - 1, f32::total_cmp);
        Threshold::try_from(*value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_thresholds_are_each_others_reverse() {
        let mut recent = RecentConfidences::new();
        for n in 0..200u16 {
            assert_eq!(recent.threshold(0.5).is_some(), usize::from(n) >= ENOUGH);
            recent.add(f32::from(n * 7 % 200) / 200.0);
        }
        for share in [0.1, 0.25, 0.5, 0.9] {
            let threshold = recent.threshold(share).unwrap();
            assert!((recent.escalated(threshold).unwrap() - share).abs() < 0.006, "{share}: {threshold:?}");
        }
        assert_eq!((recent.threshold(0.0).unwrap().value(), recent.threshold(1.0).unwrap().value()), (0.0, 1.0));
        for _ in 0..1000 {
            recent.add(0.9);
        }
        recent.add(f32::NAN);
        assert_eq!(recent.escalated(Threshold::try_from(0.89).unwrap()), Some(0.0), "the past is forgotten");
    }
}
