//! The budget's controller at work in a run: what each frame did goes in, threshold and interval come out.

use std::time::Duration;

use tinysaver_core::energy::FrameEnergy;
use tinysaver_core::spend::{BudgetInForce, Command, Conditions, Controller, ControllerSettings, Observation};
use tinysaver_core::{Exit, Record, Threshold};

use super::settings::BudgetSettings;

/// After so many frames in a row of which nobody knows the energy, the operator is told.
const UNKNOWN_FRAMES: u32 = 50;

/// Spends by a budget. Times are since the run began.
pub struct Spender {
    controller: Controller,
    floor: Threshold,
    command: Command,
    /// When the last frame was taken up.
    began: Option<Duration>,
    unknown: u32,
}

/// What the gate did with a frame.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Decided {
    confidence: Option<f32>,
    escalated: bool,
}

impl Decided {
    /// Of a frame that is done. Whoever fell back at once asked no base; that a base was too late is not known here yet.
    pub fn of_done(record: &Record) -> Self {
        let answer = record.answer().filter(|answer| answer.exit != Exit::Reused);
        let escalated = answer.is_some_and(|answer| matches!(answer.exit, Exit::BaseLocal | Exit::BaseRemote));
        Self { confidence: answer.map(|answer| answer.confidence), escalated }
    }

    /// Of a frame that waits for the base that was asked.
    pub fn of_waiting(draft: &Record) -> Self {
        Self { confidence: draft.answer().map(|answer| answer.confidence), escalated: true }
    }
}

impl Spender {
    /// Begins at the floor.
    pub fn new(settings: &BudgetSettings, floor: Threshold) -> Self {
        let controller = Controller::new(ControllerSettings {
            budget: settings.budget,
            floor,
            may_undercut: settings.allow_uncertified,
            longest_interval: settings.longest_interval,
        });
        Self { command: controller.command(), controller, floor, began: None, unknown: 0 }
    }

    /// For the gate.
    pub fn threshold(&self) -> Threshold {
        self.command.threshold
    }

    /// For records.
    pub fn in_force(&self) -> BudgetInForce {
        let (watts, degradation) = (self.controller.budget_watts(), self.command.degradation);
        BudgetInForce { watts, degradation, floor: self.floor }
    }

    /// A frame is taken up.
    pub fn begin(&mut self, now: Duration) {
        self.began = Some(now);
    }

    /// How long the next one has to wait for its turn; `None` once it may come.
    pub fn left(&self, now: Duration) -> Option<Duration> {
        let turn = self.began? + self.command.interval;
        turn.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// A frame is booked.
    pub fn observe(&mut self, now: Duration, energy: Option<&FrameEnergy>, decided: Decided, conditions: &Conditions) {
        let Some(energy) = energy else {
            self.unknown += 1;
            if self.unknown == UNKNOWN_FRAMES {
                log::warn!(
                    "the budget cannot be kept: nobody knew the energy of {UNKNOWN_FRAMES} frames in a row; the threshold \
                     stays at {}",
                    self.command.threshold.value()
                );
            }
            self.controller.pass_over(now);
            return;
        };
        self.unknown = 0;
        let before = self.command.degradation;
        self.command = self.controller.observe(&observation(now, energy, decided), conditions);
        if self.command.degradation != before {
            log::debug!("budget: {} after {}", self.command.degradation.name(), before.name());
        }
    }
}

fn observation(now: Duration, energy: &FrameEnergy, decided: Decided) -> Observation {
    #[expect(clippy::cast_precision_loss, reason = "microjoules below 2^53")]
    let joules = |uj: i64| uj as f64 / 1e6;
    Observation {
        now,
        joules: joules(energy.total().0),
        frame_joules: joules(energy.energy_uj),
        frame_time: Duration::from_micros(energy.energy_wall_us),
        idle_joules: joules(energy.energy_idle_uj),
        idle_time: Duration::from_micros(energy.energy_idle_us),
        confidence: decided.confidence,
        escalated: decided.escalated,
    }
}

#[cfg(test)]
mod tests {
    use tinysaver_core::spend::{Budget, Degradation};

    use super::*;
    use crate::exit_log::tests::sample;

    fn record(confidence: f32, exit: Exit) -> Record {
        let mut record = sample(0);
        if let tinysaver_core::Outcome::Answered(answer) = &mut record.outcome {
            (answer.confidence, answer.exit) = (confidence, exit);
        }
        record
    }

    fn spender(watts: f64, allow_uncertified: bool) -> Spender {
        let (budget, longest_interval) = (Budget::Watts(watts), Duration::from_millis(500));
        let settings = BudgetSettings { budget, longest_interval, allow_uncertified };
        Spender::new(&settings, Threshold::try_from(0.5).unwrap())
    }

    /// Of a frame of 20 ms after so much idling at 2 W.
    fn energy(uj: i64, idle: Duration) -> FrameEnergy {
        let idle_us = idle.as_micros() as u64;
        serde_json::from_value(serde_json::json!({
            "energy_source": "modelled:pi4", "energy_uj": uj, "energy_wall_us": 20_000, "energy_cpu_us": 20_000,
            "energy_idle_uj": 2 * idle_us, "energy_idle_us": idle_us,
        }))
        .unwrap()
    }

    /// Frames every 100 ms or when their turn is: 2 W idle, 60 mJ a saver, 300 mJ a base. Gives the commands' degradations.
    fn live(spender: &mut Spender, frames: u32, conditions: &Conditions) -> (Duration, Vec<Degradation>) {
        let (mut now, mut idle, mut degradations) = (Duration::ZERO, Duration::ZERO, Vec::new());
        for frame in 0..frames {
            spender.begin(now);
            now += Duration::from_millis(20);
            let confidence = (frame * 37 % 100) as f32 / 100.0;
            let exit = if confidence > spender.threshold().value() { Exit::Saver } else { Exit::BaseLocal };
            let decided = Decided::of_done(&record(confidence, exit));
            let spent = energy(40_000 + 60_000 + if decided.escalated { 300_000 } else { 0 }, idle);
            spender.observe(now, Some(&spent), decided, conditions);
            degradations.push(spender.in_force().degradation);
            idle = Duration::from_millis(80).max(spender.left(now).unwrap_or_default());
            now += idle;
        }
        (now, degradations)
    }

    #[test]
    fn a_generous_budget_buys_a_higher_threshold_and_a_small_one_slows_down() {
        let well = Conditions::default();
        let mut rich = spender(20.0, false);
        live(&mut rich, 100, &well);
        assert_eq!((rich.threshold().value(), rich.in_force().degradation), (1.0, Degradation::None));
        let mut poor = spender(3.0, false);
        // 210 mJ a frame above 2 W: at 3 W one every 210 ms.
        let (end, degradations) = live(&mut poor, 100, &well);
        assert_eq!(poor.threshold().value(), 0.5);
        let slower = degradations.iter().filter(|degradation| **degradation == Degradation::Slower).count();
        assert!(slower > 40 && !degradations.contains(&Degradation::None), "{degradations:?}");
        assert!((16.0..24.0).contains(&end.as_secs_f64()), "{end:?}");
        let mut starved = spender(1.0, true);
        live(&mut starved, 100, &well);
        assert!(starved.in_force().of_frame(Some(starved.threshold())).uncertified);
        let low = Conditions { battery_low: true, ..well };
        let mut careful = spender(20.0, false);
        live(&mut careful, 100, &low);
        assert_eq!(careful.threshold().value(), 0.5);
    }

    #[test]
    fn the_next_frame_waits_for_its_turn_and_no_longer() {
        let mut spender = spender(3.0, false);
        assert_eq!(spender.left(Duration::from_secs(5)), None, "before the first one");
        live(&mut spender, 100, &Conditions::default());
        let at = Duration::from_secs(1000);
        spender.begin(at);
        let left = spender.left(at).unwrap();
        assert_eq!(spender.left(at + left), None);
        assert_eq!(spender.left(at + left / 2), Some(left - left / 2));
    }

    #[test]
    fn frames_of_unknown_energy_change_nothing() {
        let mut spender = spender(20.0, false);
        let decided = Decided { confidence: Some(0.1), escalated: true };
        for frame in 0..100 {
            spender.observe(Duration::from_secs(frame), None, decided, &Conditions::default());
        }
        assert_eq!((spender.threshold().value(), spender.unknown), (0.5, 100));
    }

    #[test]
    fn only_what_the_gate_saw_has_a_confidence_and_only_an_asked_base_is_an_escalation() {
        let decided = |exit| Decided::of_done(&record(0.75, exit));
        assert_eq!(decided(Exit::Reused), Decided { confidence: None, escalated: false });
        assert_eq!(decided(Exit::Saver), Decided { confidence: Some(0.75), escalated: false });
        assert_eq!(decided(Exit::BaseLocal), Decided { confidence: Some(0.75), escalated: true });
        assert!(!decided(Exit::Fallback).escalated, "it was never sent");
        assert!(Decided::of_waiting(&record(0.75, Exit::Saver)).escalated);
    }
}
