//! Energy of many records, per source. Sources are never added to each other.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::FrameEnergy;
use super::source::EnergySource;
use super::stage::{EnergyStage, StageEnergy};
use crate::record::{Exit, Record};
use crate::spend::{BudgetReport, BudgetTotals};

/// One account's sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EnergyPart {
    /// Frames behind it; 0 of what is between frames.
    pub frames: u64,
    /// Microseconds.
    pub wall_us: u64,
    /// Microjoules.
    pub uj: i64,
    /// Microjoules above idling; `None` where a part of it is not known.
    pub above_idle_uj: Option<i64>,
}

impl EnergyPart {
    fn known_zero() -> Self {
        Self { above_idle_uj: Some(0), ..Self::default() }
    }

    // A log from elsewhere may say anything: sums saturate.
    fn add(&mut self, frames: u64, wall_us: u64, uj: i64, above_idle_uj: Option<i64>) {
        self.frames = self.frames.saturating_add(frames);
        self.wall_us = self.wall_us.saturating_add(wall_us);
        self.uj = self.uj.saturating_add(uj);
        self.above_idle_uj = self.above_idle_uj.zip(above_idle_uj).map(|(mine, more)| mine.saturating_add(more));
    }

    fn plus(mut self, other: &Self) -> Self {
        self.add(other.frames, other.wall_us, other.uj, other.above_idle_uj);
        self
    }

    /// In joules.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub fn joules(&self) -> f64 {
        self.uj as f64 / 1e6
    }

    /// Mean millijoules of a frame.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub fn millijoules_per_frame(&self) -> Option<f64> {
        (self.frames > 0).then(|| self.uj as f64 / 1e3 / self.frames as f64)
    }

    /// The same above idling.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub fn above_idle_millijoules_per_frame(&self) -> Option<f64> {
        let uj = self.above_idle_uj?;
        (self.frames > 0).then(|| uj as f64 / 1e3 / self.frames as f64)
    }

    /// Mean watts.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    pub fn watts(&self) -> Option<f64> {
        (self.wall_us > 0).then(|| self.uj as f64 / self.wall_us as f64)
    }
}

/// Sums of one source.
#[derive(Debug, Clone, Default)]
struct OfSource {
    exits: BTreeMap<Exit, EnergyPart>,
    dropped: Option<EnergyPart>,
    stages: BTreeMap<(Exit, EnergyStage), EnergyPart>,
    idle: EnergyPart,
    waiting: EnergyPart,
    sinks: EnergyPart,
    /// Of frames that the base answered within its own interval, what it would have cost without the saver.
    base_alone: EnergyPart,
    /// Of frames that the saver looked at, what they would have cost without any base.
    saver_alone: EnergyPart,
    budget: BudgetTotals,
}

/// Adds records up, per source.
#[derive(Debug, Clone, Default)]
pub struct EnergyTotals(BTreeMap<EnergySource, OfSource>);

impl EnergyTotals {
    /// One more record; without energy it changes nothing.
    pub fn add(&mut self, record: &Record) {
        let Some(energy) = &record.energy else { return };
        let totals = self.between(energy);
        totals.budget.add(record, energy.total());
        let part = match record.answer() {
            Some(answer) => totals.exits.entry(answer.exit).or_insert_with(EnergyPart::known_zero),
            None => totals.dropped.get_or_insert_with(EnergyPart::known_zero),
        };
        part.add(record.frames(), energy.energy_wall_us, energy.energy_uj, energy.energy_above_idle_uj);
        if let Some(answer) = record.answer() {
            for (stage, spent) in energy.energy_stages.iter().filter(|(stage, _)| stage.is_of_frame()) {
                let part = totals.stages.entry((answer.exit, stage)).or_insert_with(EnergyPart::known_zero);
                part.add(1, spent.us, spent.uj, spent.above_idle_uj);
            }
        }
        if let Some(base) = base_alone(record, energy) {
            totals.base_alone = totals.base_alone.plus(&base);
        }
        if let Some(saver) = saver_alone(record, energy) {
            totals.saver_alone = totals.saver_alone.plus(&saver);
        }
    }

    /// What was spent after the last frame.
    pub fn add_rest(&mut self, rest: &FrameEnergy) {
        self.between(rest);
    }

    fn between(&mut self, energy: &FrameEnergy) -> &mut OfSource {
        if !self.0.contains_key(&energy.energy_source) {
            self.0.insert(energy.energy_source.clone(), OfSource::default());
        }
        let totals = self.0.entry(energy.energy_source.clone()).or_default();
        totals.idle.add(0, energy.energy_idle_us, energy.energy_idle_uj, None);
        totals.waiting.add(0, energy.energy_waiting_us, energy.energy_waiting_uj, None);
        if let Some(sinks) = energy.energy_stages.get(EnergyStage::Sinks) {
            totals.sinks.add(0, sinks.us, sinks.uj, None);
        }
        totals
    }

    /// One report a source, measured ones first.
    #[must_use]
    pub fn reports(&self) -> Vec<EnergyReport> {
        self.0.iter().map(|(source, totals)| totals.report(source)).collect()
    }
}

/// The base's part of a frame's energy, by its share of the time: everything but the saver's inference. `None` where the
/// base was not asked on this board, or on another thread beside other frames' work.
fn base_alone(record: &Record, energy: &FrameEnergy) -> Option<EnergyPart> {
    let is_local = record.answer()?.exit == Exit::BaseLocal;
    let (base_us, saver_us) = (record.stages_us.base?, record.stages_us.saver?);
    if !is_local || base_us.saturating_add(saver_us) > energy.energy_wall_us {
        return None;
    }
    let rest_us = energy.energy_wall_us - saver_us;
    let part = |uj: i64| {
        let scaled = i128::from(uj) * i128::from(rest_us) / i128::from(energy.energy_wall_us.max(1));
        i64::try_from(scaled).unwrap_or(i64::MAX)
    };
    let above_idle_uj = energy.energy_above_idle_uj.map(part);
    Some(EnergyPart { frames: 1, wall_us: rest_us, uj: part(energy.energy_uj), above_idle_uj })
}

/// What the frame cost without coding and sending it, and without the base on this board. `None` where the saver did not
/// look at it, or where the record does not say what the base's part was.
fn saver_alone(record: &Record, energy: &FrameEnergy) -> Option<EnergyPart> {
    let exit = record.answer()?.exit;
    let of_base = |stage: EnergyStage| energy.energy_stages.get(stage).copied().unwrap_or_default();
    let is_split = !energy.energy_stages.is_empty() && exit != Exit::Reused;
    if exit != Exit::Saver && !is_split {
        return None;
    }
    let mut part = EnergyPart { frames: 1, ..EnergyPart::known_zero() };
    part.add(0, energy.energy_wall_us, energy.energy_uj, energy.energy_above_idle_uj);
    for stage in [EnergyStage::Encode, EnergyStage::Transmit, EnergyStage::BaseLocal] {
        let StageEnergy { us, uj, above_idle_uj, .. } = of_base(stage);
        part.wall_us = part.wall_us.saturating_sub(us);
        part.uj = part.uj.saturating_sub(uj);
        part.above_idle_uj = part.above_idle_uj.map(|all| all.saturating_sub(above_idle_uj.unwrap_or(0)));
    }
    Some(part)
}

impl OfSource {
    fn report(&self, source: &EnergySource) -> EnergyReport {
        let stages = |exit: Exit| {
            let of_exit = self.stages.iter().filter(move |((of, _), _)| *of == exit);
            of_exit.map(|(&(_, stage), &energy)| StagePart { stage, energy }).collect()
        };
        let exits = self.exits.iter().map(|(&exit, &energy)| ExitEnergy { exit, energy, stages: stages(exit) });
        let answered = self.exits.values().fold(EnergyPart::known_zero(), EnergyPart::plus_of);
        let work = self.dropped.iter().fold(answered, EnergyPart::plus_of);
        let all = [self.idle, self.waiting, self.sinks].iter().fold(work, EnergyPart::plus_of);
        EnergyReport {
            source: source.clone(),
            is_measured: source.is_measured(),
            exits: exits.collect(),
            dropped: self.dropped,
            waiting: self.waiting,
            idle: self.idle,
            sinks: self.sinks,
            all,
            mean_watts: all.watts(),
            always_base: Alternative::new(&self.base_alone, &answered),
            always_saver: Alternative::new(&self.saver_alone, &answered),
            budget: self.budget.report(),
        }
    }
}

impl EnergyPart {
    fn plus_of(self, other: &Self) -> Self {
        self.plus(other)
    }
}

/// What a run or a log cost by one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnergyReport {
    /// Which.
    pub source: EnergySource,
    /// Whether a sensor gave it.
    pub is_measured: bool,
    /// Answered frames, by who answered.
    pub exits: Vec<ExitEnergy>,
    /// Frames without an answer.
    pub dropped: Option<EnergyPart>,
    /// Between frames, while at least one waited for a base elsewhere.
    pub waiting: EnergyPart,
    /// Between frames, while none waited.
    pub idle: EnergyPart,
    /// Between frames, giving records out to log, terminal and viewers.
    pub sinks: EnergyPart,
    /// The sum of all above.
    pub all: EnergyPart,
    /// `all` over its time.
    pub mean_watts: Option<f64>,
    /// Against the base alone, where the log has frames that it answered on this board.
    pub always_base: Option<Alternative>,
    /// Against the saver alone, whatever that costs in accuracy.
    pub always_saver: Option<Alternative>,
    /// How the budget was kept, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetReport>,
}

/// One exit's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExitEnergy {
    /// Which.
    pub exit: Exit,
    /// Of its frames' own work.
    #[serde(flatten)]
    pub energy: EnergyPart,
    /// The same by stage; empty for logs that do not say.
    pub stages: Vec<StagePart>,
}

/// One stage's part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StagePart {
    /// Which.
    pub stage: EnergyStage,
    /// Of the frames in which it ran.
    #[serde(flatten)]
    pub energy: EnergyPart,
}

/// What one model alone would have cost for the answered frames: an estimate from those that it did look at here.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Alternative {
    /// Frames behind the estimate.
    pub frames: u64,
    /// Joules of that model's mean frame times the answered frames; between frames nothing is booked.
    pub joules: f64,
    /// `1 - answered frames' joules / joules`; negative where the cascade costs more than it saves.
    pub saved_ratio: f64,
}

impl Alternative {
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    fn new(alone: &EnergyPart, answered: &EnergyPart) -> Option<Self> {
        if alone.frames == 0 || alone.uj <= 0 {
            return None;
        }
        let joules = alone.joules() / alone.frames as f64 * answered.frames as f64;
        Some(Self { frames: alone.frames, joules, saved_ratio: 1.0 - answered.joules() / joules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::StageEnergies;
    use crate::record::{DropReason, Outcome, tests::answered};

    fn with(exit: Exit, source: &str, uj: i64) -> Record {
        let mut record = answered(exit);
        record.energy = Some(FrameEnergy {
            energy_source: source.parse().unwrap(),
            energy_uj: uj,
            energy_above_idle_uj: Some(uj / 4),
            energy_wall_us: 10_000,
            energy_cpu_us: 10_000,
            energy_idle_uj: 5_000,
            energy_idle_us: 2_000,
            energy_waiting_uj: 0,
            energy_waiting_us: 0,
            energy_stages: StageEnergies::default(),
        });
        record
    }

    fn based(uj: i64) -> Record {
        let mut record = with(Exit::BaseLocal, "modelled:pi4", uj);
        (record.stages_us.saver, record.stages_us.base) = (Some(2_000), Some(7_000));
        record
    }

    fn reports(records: &[Record]) -> Vec<EnergyReport> {
        let mut totals = EnergyTotals::default();
        records.iter().for_each(|record| totals.add(record));
        totals.reports()
    }

    #[test]
    fn measured_and_modelled_stay_apart() {
        let measured = "measured:ina3221 VDD_IN [module]";
        let records =
            [with(Exit::Saver, measured, 30_000), with(Exit::Saver, "modelled:pi4", 40_000), answered(Exit::Saver)];
        let reports = reports(&records);
        let totals: Vec<_> =
            reports.iter().map(|report| (report.is_measured, report.all.frames, report.all.uj)).collect();
        assert_eq!(totals, [(true, 1, 35_000), (false, 1, 45_000)]);
        assert_eq!(reports[0].source.to_string(), measured);
    }

    #[test]
    fn the_sum_is_of_exits_drops_and_what_is_between() {
        let mut dropped = with(Exit::Saver, "modelled:pi4", 1_000);
        dropped.outcome = Outcome::Dropped { reason: DropReason::Damaged, detail: String::new(), frames: 1 };
        let report = reports(&[with(Exit::Saver, "modelled:pi4", 30_000), based(50_000), dropped]).remove(0);
        assert_eq!((report.all.uj, report.all.wall_us), (81_000 + 15_000, 36_000));
        assert_eq!(report.mean_watts, Some(96_000.0 / 36_000.0));
        assert_eq!(report.exits[0].energy.millijoules_per_frame(), Some(30.0));
        assert_eq!(report.exits[0].energy.above_idle_millijoules_per_frame(), Some(7.5));
        assert_eq!((report.dropped.unwrap().uj, report.idle.uj, report.waiting.uj), (1_000, 15_000, 0));
    }

    #[test]
    fn always_the_base_is_estimated_from_its_own_frames_less_the_saver() {
        let report = reports(&[with(Exit::Saver, "modelled:pi4", 10_000), based(50_000)]).remove(0);
        let base = report.always_base.unwrap();
        // 8 of its 10 ms were not the saver's: 40 mJ, for both frames.
        assert_eq!((base.frames, base.joules), (1, 0.08));
        assert!((base.saved_ratio - (1.0 - 0.06 / 0.08)).abs() < 1e-12, "{base:?}");
        let mut elsewhere = based(50_000);
        elsewhere.stages_us.base = Some(300_000);
        assert_eq!(reports(&[elsewhere]).remove(0).always_base, None, "it ran beside other frames");
        assert_eq!(reports(&[with(Exit::Saver, "modelled:pi4", 1)]).remove(0).always_base, None);
    }

    #[test]
    fn always_the_saver_is_its_own_frames_and_the_others_less_the_bases_stages() {
        let mut escalated = based(50_000);
        let stages = &mut escalated.energy.as_mut().unwrap().energy_stages;
        let spent = |us, uj| StageEnergy { us, cpu_us: us, uj, above_idle_uj: Some(uj / 4) };
        stages.set(EnergyStage::Saver, spent(2_000, 10_000));
        stages.set(EnergyStage::BaseLocal, spent(7_000, 36_000));
        stages.set(EnergyStage::Other, spent(1_000, 4_000));
        stages.set(EnergyStage::Sinks, spent(500, 1_000));
        let report = reports(&[with(Exit::Saver, "modelled:pi4", 10_000), escalated]).remove(0);
        let saver = report.always_saver.unwrap();
        assert_eq!((saver.frames, saver.joules), (2, 0.024), "10 mJ and 14 mJ");
        assert!((saver.saved_ratio - (1.0 - 0.06 / 0.024)).abs() < 1e-12, "{saver:?}");
        assert_eq!((report.sinks.uj, report.all.uj), (1_000, 71_000));
        let stages: Vec<_> = report.exits[1].stages.iter().map(|part| (part.stage, part.energy.uj)).collect();
        let expected = [(EnergyStage::Saver, 10_000), (EnergyStage::BaseLocal, 36_000), (EnergyStage::Other, 4_000)];
        assert_eq!(stages, expected);
        assert_eq!(reports(&[based(50_000)]).remove(0).always_saver, None, "an old log does not say");
    }

    #[test]
    fn absurd_figures_saturate() {
        let records = [with(Exit::Saver, "modelled:pi4", i64::MAX), with(Exit::Saver, "modelled:pi4", i64::MAX)];
        assert_eq!(reports(&records).remove(0).all.uj, i64::MAX);
    }
}
