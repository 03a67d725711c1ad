//! What a budget did to a frame as a record of the exit log keeps it, and to many.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::controller::Degradation;
use crate::gate::Threshold;
use crate::record::Record;

/// The budget under which a frame was decided.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FrameBudget {
    /// What could be drawn, in watts.
    pub watts: f64,
    /// What had to be given up for it.
    pub degradation: Degradation,
    /// The threshold of the answer is below the floor that its certificate, or else its operator, sets.
    #[serde(default, skip_serializing_if = "is_false")]
    pub uncertified: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The budget in force between two frames: what records are made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetInForce {
    /// What may be drawn, in watts.
    pub watts: f64,
    /// What has to be given up for it.
    pub degradation: Degradation,
    /// Answers below it are uncertified.
    pub floor: Threshold,
}

impl BudgetInForce {
    /// For a record; `threshold` is that of its answer, if there is one.
    #[must_use]
    pub fn of_frame(&self, threshold: Option<Threshold>) -> FrameBudget {
        let uncertified = threshold.is_some_and(|threshold| threshold < self.floor);
        FrameBudget { watts: self.watts, degradation: self.degradation, uncertified }
    }
}

/// Time and energy under a degradation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DegradationPart {
    /// Records.
    pub frames: u64,
    /// Microseconds, those before each frame included.
    pub wall_us: u64,
    /// Microjoules.
    pub uj: i64,
}

/// Adds up records of one source of energy.
#[derive(Debug, Clone, Default)]
pub(crate) struct BudgetTotals {
    parts: BTreeMap<Degradation, DegradationPart>,
    /// Budget times time, in watt-microseconds.
    allowed_uj: f64,
    uncertified: u64,
}

impl BudgetTotals {
    /// One more record; one without a budget changes nothing. `spent` are its microjoules and microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a mean of some digits")]
    pub(crate) fn add(&mut self, record: &Record, (uj, wall_us): (i64, u64)) {
        let Some(budget) = &record.budget else { return };
        let part = self.parts.entry(budget.degradation).or_default();
        part.frames = part.frames.saturating_add(record.frames());
        part.wall_us = part.wall_us.saturating_add(wall_us);
        part.uj = part.uj.saturating_add(uj);
        self.allowed_uj += budget.watts * wall_us as f64;
        self.uncertified += u64::from(budget.uncertified);
    }

    /// `None` where no record had a budget.
    #[expect(clippy::cast_precision_loss, reason = "a mean of some digits")]
    pub(crate) fn report(&self) -> Option<BudgetReport> {
        let all = self.parts.values().fold(DegradationPart::default(), |all, part| DegradationPart {
            frames: all.frames.saturating_add(part.frames),
            wall_us: all.wall_us.saturating_add(part.wall_us),
            uj: all.uj.saturating_add(part.uj),
        });
        let mean = |uj: f64| (all.wall_us > 0).then(|| uj / all.wall_us as f64);
        (!self.parts.is_empty()).then(|| BudgetReport {
            budget_watts: mean(self.allowed_uj),
            mean_watts: mean(all.uj as f64),
            degradations: self.parts.clone(),
            uncertified: self.uncertified,
        })
    }
}

/// How a budget was kept, by one source of energy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetReport {
    /// What could be drawn, in watts: a mean over time.
    pub budget_watts: Option<f64>,
    /// What was, over the same time.
    pub mean_watts: Option<f64>,
    /// Time at each degradation; one that never was is absent.
    pub degradations: BTreeMap<Degradation, DegradationPart>,
    /// Answers at a threshold below the floor.
    pub uncertified: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::answered;
    use crate::record::{DropReason, Exit, Outcome};

    fn under(degradation: Degradation, uncertified: bool) -> Record {
        let budget = Some(FrameBudget { watts: 4.0, degradation, uncertified });
        Record { budget, ..answered(Exit::Saver) }
    }

    #[test]
    fn a_record_reads_back_with_and_without_a_budget() {
        for (uncertified, text) in [
            (false, r#""budget":{"watts":4.0,"degradation":"slower"}"#),
            (true, r#""budget":{"watts":4.0,"degradation":"slower","uncertified":true}"#),
        ] {
            let record = under(Degradation::Slower, uncertified);
            let line = serde_json::to_string(&record).unwrap();
            assert!(line.contains(text), "{line}");
            assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
        }
        assert!(!serde_json::to_string(&answered(Exit::Saver)).unwrap().contains("budget"));
    }

    #[test]
    fn an_answer_is_uncertified_by_its_own_threshold() {
        let threshold = |value: f32| Threshold::try_from(value).unwrap();
        let force = BudgetInForce { watts: 3.0, degradation: Degradation::Uncertified, floor: threshold(0.6) };
        assert!(force.of_frame(Some(threshold(0.59))).uncertified);
        assert!(!force.of_frame(Some(threshold(0.6))).uncertified && !force.of_frame(None).uncertified);
    }

    #[test]
    fn time_and_energy_add_up_by_degradation() {
        let mut totals = BudgetTotals::default();
        assert_eq!(totals.report(), None);
        totals.add(&answered(Exit::Saver), (1, 1));
        assert_eq!(totals.report(), None, "a run without a budget");
        totals.add(&under(Degradation::None, false), (3_000_000, 1_000_000));
        totals.add(&under(Degradation::Uncertified, true), (5_000_000, 1_000_000));
        let mut lost = under(Degradation::None, false);
        lost.outcome = Outcome::Dropped { reason: DropReason::Superseded, detail: String::new(), frames: 3 };
        totals.add(&lost, (0, 0));
        let report = totals.report().unwrap();
        assert_eq!((report.budget_watts, report.mean_watts, report.uncertified), (Some(4.0), Some(4.0), 1));
        let part = DegradationPart { frames: 4, wall_us: 1_000_000, uj: 3_000_000 };
        assert_eq!(report.degradations.get(&Degradation::None), Some(&part));
    }
}
