//! What the change gate saved, and what it missed.

use serde::Serialize;

use crate::record::{Answer, Exit, StageMicros};

/// Sums over answered frames.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ReuseTotals {
    reused: u64,
    checked: u64,
    differed: u64,
    classified: u64,
    /// Of the frames that models looked at.
    macs: u128,
    models_us: u128,
}

impl ReuseTotals {
    pub fn add(&mut self, answer: &Answer, stages: &StageMicros) {
        if answer.exit == Exit::Reused {
            self.reused += 1;
            return;
        }
        self.classified += 1;
        self.macs += u128::from(answer.macs);
        self.models_us += u128::from(stages.saver.unwrap_or(0)) + u128::from(stages.base.unwrap_or(0));
        if let Some(check) = answer.reuse_check {
            self.checked += 1;
            self.differed += u64::from(check.differs);
        }
    }

    /// `None` where no answer was given again and none was checked.
    pub fn report(&self) -> Option<ReuseReport> {
        (self.reused + self.checked > 0).then(|| ReuseReport {
            reused: self.reused,
            macs_saved: self.of_reused(self.macs),
            models_us_saved: self.of_reused(self.models_us),
            checked: self.checked,
            differed: self.differed,
        })
    }

    /// What the reused frames would have cost, if each had cost as much as a classified one.
    fn of_reused(&self, cost_of_classified: u128) -> u128 {
        let cost = cost_of_classified.saturating_mul(u128::from(self.reused));
        cost.checked_div(u128::from(self.classified)).unwrap_or(0)
    }
}

/// What reuse amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ReuseReport {
    /// Answers that were given again.
    pub reused: u64,
    /// Multiply-accumulates that this saved: as many a frame as those took that were classified. An estimate.
    pub macs_saved: u128,
    /// Microseconds of both models' inference that this saved; an estimate of the same kind.
    pub models_us_saved: u128,
    /// Frames whose answer could have been given again, and that were classified to see.
    pub checked: u64,
    /// Of those, frames whose answer was another one: what reuse got wrong, or no longer right.
    pub differed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ReuseCheck;
    use crate::record::tests::answered;

    fn totals(frames: &[(Exit, Option<bool>)]) -> ReuseTotals {
        let mut totals = ReuseTotals::default();
        for &(exit, differs) in frames {
            let record = answered(exit);
            let mut answer = record.answer().unwrap().clone();
            answer.reuse_check = differs.map(|differs| ReuseCheck { class: 7, differs });
            let stages = if exit == Exit::Reused { StageMicros::default() } else { record.stages_us };
            totals.add(&answer, &stages);
        }
        totals
    }

    #[test]
    fn without_a_change_gate_there_is_no_report() {
        assert_eq!(totals(&[]).report(), None);
        assert_eq!(totals(&[(Exit::Saver, None), (Exit::BaseLocal, None)]).report(), None);
    }

    #[test]
    fn savings_are_those_of_a_mean_frame_and_misses_are_counted() {
        let (saver, reused) = (Exit::Saver, Exit::Reused);
        let frames =
            [(saver, None), (reused, None), (reused, None), (saver, Some(false)), (reused, None), (saver, Some(true))];
        let expected =
            ReuseReport { reused: 3, macs_saved: 3 * 197, models_us_saved: 3 * 9_000, checked: 2, differed: 1 };
        assert_eq!(totals(&frames).report(), Some(expected));
        let nothing_else = ReuseReport { reused: 1, macs_saved: 0, models_us_saved: 0, checked: 0, differed: 0 };
        assert_eq!(totals(&[(reused, None)]).report(), Some(nothing_else), "a log may begin anywhere");
    }
}
