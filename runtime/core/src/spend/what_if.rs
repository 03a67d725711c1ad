//! What recorded frames would have cost under another gate: their own booked costs, less the base's part where the saver
//! would have answered, and a mean base's part more where it would not.

use std::collections::BTreeMap;

use serde::Serialize;

use super::price::{Cost, Prices};
use crate::energy::{EnergySource, EnergyStage};
use crate::record::{Exit, Record};

/// Stages that only frames have which leave the saver.
const OF_BASE: [EnergyStage; 3] = [EnergyStage::Encode, EnergyStage::Transmit, EnergyStage::BaseLocal];

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    frames: u64,
    escalated_then: u64,
    escalated_now: u64,
    /// Escalates now and did not then.
    added: u64,
    then: Cost,
    /// Without the base's part of `added`, and without waiting.
    now: Cost,
    /// The base's part of all frames that escalated then.
    of_base: Cost,
    waiting_joules: f64,
}

/// Adds records up, per source of energy; those without energy by themselves.
#[derive(Debug, Clone, Default)]
pub struct WhatIf(BTreeMap<Option<EnergySource>, Sums>);

impl WhatIf {
    /// One frame on which the gate had decided, and whether the saver would answer it now. Others are passed over.
    pub fn add(&mut self, record: &Record, exits_now: bool) {
        let Some(answer) = record.answer().filter(|answer| answer.exit != Exit::Reused) else { return };
        let source = record.energy.as_ref().map(|energy| energy.energy_source.clone());
        let sums = self.0.entry(source).or_default();
        let (whole, of_base) = (cost(record), base_part(record));
        let escalated = answer.exit != Exit::Saver;
        sums.frames += 1;
        sums.then = sums.then.plus(1.0, whole);
        sums.waiting_joules += record.energy.as_ref().map_or(0.0, |energy| joules(energy.energy_waiting_uj));
        if escalated {
            sums.escalated_then += 1;
            sums.of_base = sums.of_base.plus(1.0, of_base);
        }
        sums.escalated_now += u64::from(!exits_now);
        sums.added += u64::from(!exits_now && !escalated);
        sums.now = sums.now.plus(1.0, if escalated && exits_now { whole.plus(-1.0, of_base) } else { whole });
    }

    /// One report a source, measured ones first, frames without energy before all.
    #[must_use]
    pub fn reports(&self, prices: &Prices) -> Vec<WhatIfReport> {
        self.0.iter().map(|(source, sums)| sums.report(source.as_ref(), prices)).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "microjoules below 2^53")]
fn joules(uj: i64) -> f64 {
    uj as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "microseconds and bytes below 2^53")]
fn cost(record: &Record) -> Cost {
    Cost {
        joules: record.energy.as_ref().map_or(0.0, |energy| joules(energy.energy_uj)),
        milliseconds: record.latency_us as f64 / 1e3,
        bytes: record.sent_bytes.unwrap_or(0) as f64,
    }
}

/// What the frame would not have cost had the saver answered.
#[expect(clippy::cast_precision_loss, reason = "microseconds and bytes below 2^53")]
fn base_part(record: &Record) -> Cost {
    let stages = &record.stages_us;
    let micros: u64 = [stages.encode, stages.transmit, stages.base].into_iter().flatten().fold(0, u64::saturating_add);
    let of_stage = |stage| Some(joules(record.energy.as_ref()?.energy_stages.get(stage)?.uj));
    let whole = cost(record);
    // Clocks that disagree must not make a frame's rest negative.
    Cost {
        joules: OF_BASE.into_iter().filter_map(of_stage).sum::<f64>().min(whole.joules),
        milliseconds: (micros as f64 / 1e3).min(whole.milliseconds),
        bytes: whole.bytes,
    }
}

impl Sums {
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    fn report(&self, source: Option<&EnergySource>, prices: &Prices) -> WhatIfReport {
        let waiting = |share: f64| Cost { joules: share * self.waiting_joules, ..Cost::default() };
        let then = self.then.plus(1.0, waiting(1.0));
        let now = match (self.escalated_then, self.added) {
            (0, 0) => Some(self.now.plus(1.0, waiting(1.0))),
            // No frame says what a base costs here.
            (0, _) => None,
            (asked, added) => {
                let asked = asked as f64;
                let more = self.now.plus(added as f64 / asked, self.of_base);
                Some(more.plus(1.0, waiting(self.escalated_now as f64 / asked)))
            }
        };
        let priced = |cost: Cost| Priced { cost, price: prices.of(&cost) };
        WhatIfReport {
            source: source.cloned(),
            is_measured: source.is_some_and(EnergySource::is_measured),
            frames: self.frames,
            estimated: self.added,
            then: priced(then),
            now: now.map(priced),
        }
    }
}

/// What all frames of a source cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Priced {
    /// Joules of the frames' own work and of waiting for bases (0 without energy), milliseconds of latency, bytes sent.
    #[serde(flatten)]
    pub cost: Cost,
    /// The same in one number.
    pub price: f64,
}

/// Then and now, by one source of energy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WhatIfReport {
    /// Which; `None` of frames without energy.
    pub source: Option<EnergySource>,
    /// Whether a sensor gave it.
    pub is_measured: bool,
    /// Frames on which the gate had decided.
    pub frames: u64,
    /// Of these, so many get a mean base's costs now: the log does not say what theirs would have been.
    pub estimated: u64,
    /// As recorded.
    pub then: Priced,
    /// Under the other gate; `None` where no frame of the log tells what a base costs.
    pub now: Option<Priced>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::{FrameEnergy, StageEnergy};
    use crate::record::tests::answered;

    fn frame(source: &str, exit: Exit, uj: i64, base_uj: i64) -> Record {
        let mut record = answered(exit);
        let mut energy: FrameEnergy = serde_json::from_value(serde_json::json!({
            "energy_source": source, "energy_uj": uj, "energy_wall_us": 10_000, "energy_cpu_us": 0, "energy_idle_uj": 7,
            "energy_idle_us": 0, "energy_waiting_uj": if exit == Exit::BaseRemote { 100_000 } else { 0 },
        }))
        .unwrap();
        if base_uj > 0 {
            let spent = StageEnergy { us: 5_000, cpu_us: 0, uj: base_uj, above_idle_uj: None };
            energy.energy_stages.set(EnergyStage::BaseLocal, spent);
            (record.stages_us.base, record.latency_us) = (Some(20_000), 30_000);
        }
        record.energy = Some(energy);
        record
    }

    const PRICES: Prices = Prices { per_joule: 1.0, per_millisecond: 0.01, per_byte: 0.0 };

    fn only(what_if: &WhatIf) -> WhatIfReport {
        let mut reports = what_if.reports(&PRICES);
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    #[test]
    fn the_same_decisions_cost_the_same() {
        let mut what_if = WhatIf::default();
        what_if.add(&frame("modelled:pi4", Exit::Saver, 40_000, 0), true);
        what_if.add(&frame("modelled:pi4", Exit::BaseLocal, 90_000, 50_000), false);
        let report = only(&what_if);
        assert_eq!((report.frames, report.estimated, report.now), (2, 0, Some(report.then)));
        assert!((report.then.cost.joules - 0.13).abs() < 1e-12 && (report.then.cost.milliseconds - 40.0).abs() < 1e-9);
        assert!((report.then.price - (0.13 + 0.4)).abs() < 1e-12);
    }

    #[test]
    fn the_bases_part_goes_and_a_mean_of_it_comes() {
        let mut what_if = WhatIf::default();
        what_if.add(&frame("modelled:pi4", Exit::Saver, 40_000, 0), false);
        what_if.add(&frame("modelled:pi4", Exit::BaseLocal, 90_000, 50_000), true);
        what_if.add(&frame("modelled:pi4", Exit::BaseLocal, 100_000, 60_000), true);
        let (report, now) = (only(&what_if), only(&what_if).now.unwrap().cost);
        assert_eq!(report.estimated, 1);
        assert!((now.joules - (0.04 + 0.055 + 0.04 + 0.04)).abs() < 1e-12, "{now:?}");
        assert!((now.milliseconds - (10.0 + 20.0 + 10.0 + 10.0)).abs() < 1e-9, "{now:?}");
    }

    #[test]
    fn waiting_for_a_base_elsewhere_goes_with_the_questions_and_so_do_their_bytes() {
        let mut what_if = WhatIf::default();
        for exits_now in [true, false] {
            let mut asked = frame("modelled:pi4", Exit::BaseRemote, 40_000, 0);
            asked.sent_bytes = Some(1000);
            what_if.add(&asked, exits_now);
        }
        let report = only(&what_if);
        let (then, now) = (report.then.cost, report.now.unwrap().cost);
        assert!((then.joules - 0.28).abs() < 1e-12 && (now.joules - 0.18).abs() < 1e-12, "{then:?} {now:?}");
        assert_eq!((then.bytes, now.bytes), (2000.0, 1000.0));
    }

    #[test]
    fn sources_stay_apart_and_what_nobody_knows_is_not_made_up() {
        let mut what_if = WhatIf::default();
        what_if.add(&frame("modelled:pi4", Exit::BaseLocal, 90_000, 50_000), false);
        what_if.add(&frame("measured:ina3221 VDD_IN [module]", Exit::Saver, 30_000, 0), false);
        what_if.add(&answered(Exit::Saver), true);
        what_if.add(&answered(Exit::Reused), false);
        let reports = what_if.reports(&PRICES);
        let measured: Vec<_> = reports.iter().map(|report| (report.source.is_some(), report.is_measured)).collect();
        assert_eq!(measured, [(false, false), (true, true), (true, false)]);
        assert_eq!(reports[1].now, None, "that sensor has seen no base");
        assert_eq!((reports[0].frames, reports[0].then.cost.joules), (1, 0.0));
    }
}
