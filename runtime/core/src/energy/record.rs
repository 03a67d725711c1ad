//! The energy of a frame as a record of the exit log keeps it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::{Between, Booking, FrameBooking};
use super::source::EnergySource;
use super::stage::{EnergyStage, STAGES, StageEnergies, StageEnergy};

/// Fields of a record; whole microjoules and microseconds. The record of a frame carries, beside its own work, what was
/// spent between the frame before it and this one, so that a log adds up to the whole run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameEnergy {
    /// Which sensor measured it, or which profile it was modelled from.
    pub energy_source: EnergySource,
    /// Drawn during this frame's work.
    pub energy_uj: i64,
    /// Of that, what idling for as long would not have drawn; absent where the idle power is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_above_idle_uj: Option<i64>,
    /// How long that work took.
    pub energy_wall_us: u64,
    /// Processor time of all threads meanwhile.
    pub energy_cpu_us: u64,
    /// Drawn between the frame before and this one, while no frame waited for a base elsewhere.
    pub energy_idle_uj: i64,
    /// How long that was.
    pub energy_idle_us: u64,
    /// The same while at least one frame waited.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub energy_waiting_uj: i64,
    /// How long that was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub energy_waiting_us: u64,
    /// By stage. Those of the frame's own work add up to its figures above; `wait` and `sinks` lie between the frames.
    #[serde(default, skip_serializing_if = "StageEnergies::is_empty")]
    pub energy_stages: StageEnergies,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

impl FrameEnergy {
    /// From what the ledger gave.
    #[must_use]
    pub fn new<O: Copy>(energy_source: EnergySource, booking: &FrameBooking<O>) -> Self {
        let FrameBooking { frame, stages, between: Between { idle, waiting, sinks } } = booking;
        let mut energy_stages = StageEnergies::default();
        let of_frame =
            EnergyStage::ALL.into_iter().zip(stages).filter_map(|(stage, booked)| Some((stage, booked.as_ref()?)));
        let between = [(EnergyStage::Wait, waiting), (EnergyStage::Sinks, sinks)];
        let between = between.into_iter().filter(|(_, booked)| !booked.wall.is_zero());
        for (stage, booked) in of_frame.chain(between) {
            energy_stages.set(stage, StageEnergy::from(booked));
        }
        Self {
            energy_source,
            energy_uj: frame.joules.micros(),
            energy_above_idle_uj: frame.above_idle.map(|joules| joules.micros()),
            energy_wall_us: micros(frame.wall),
            energy_cpu_us: micros(frame.cpu),
            energy_idle_uj: idle.joules.micros(),
            energy_idle_us: micros(idle.wall),
            energy_waiting_uj: waiting.joules.micros(),
            energy_waiting_us: micros(waiting.wall),
            energy_stages,
        }
    }

    /// What was booked after the last frame, as if another frame of no work had followed.
    #[must_use]
    pub fn rest<O: Copy>(energy_source: EnergySource, between: Between<O>) -> Self {
        Self::new(energy_source, &FrameBooking { frame: Booking::NONE, stages: [None; STAGES], between })
    }

    /// All microjoules and microseconds of the record: the frame's work and what was before it. Over a run they add up to
    /// the integral of its power, and to its length.
    #[must_use]
    pub fn total(&self) -> (i64, u64) {
        let (sinks_uj, sinks_us) =
            self.energy_stages.get(EnergyStage::Sinks).map_or((0, 0), |sinks| (sinks.uj, sinks.us));
        let uj = [self.energy_uj, self.energy_idle_uj, self.energy_waiting_uj, sinks_uj];
        let us = [self.energy_wall_us, self.energy_idle_us, self.energy_waiting_us, sinks_us];
        (uj.into_iter().fold(0, i64::saturating_add), us.into_iter().fold(0, u64::saturating_add))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
