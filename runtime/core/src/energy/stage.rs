//! A frame's energy by stage: what the ledger booked for the frame as a whole, split by the time that each stage took.
//!
//! All stages of a frame follow each other on one thread, and reading the processor's clock between any two of them would
//! cost more than the ledger may. So the clock on the wall tells them apart, and the processor time of the frame is
//! shared out by it. The parts add up to the whole, by construction.

use std::fmt;
use std::time::Duration;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::joules::Joules;
use super::ledger::Booking;

/// What energy is booked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyStage {
    /// Reading a recorded frame; a camera's thread works beside all others.
    Capture,
    /// From JPEG or another code to pixels.
    Decode,
    /// From pixels to the models' input tensors.
    Preprocess,
    /// The saver's inference and the gate.
    Saver,
    /// Coding the frame for a base elsewhere.
    Encode,
    /// Handing it to the network, and what the radio draws for its bytes.
    Transmit,
    /// The base's inference on this board, in the same thread.
    BaseLocal,
    /// What of the frame's work is none of the others.
    Other,
    /// Between frames: waiting for a base elsewhere with no frame in hand.
    Wait,
    /// Between frames: records on their way to log, terminal and viewers.
    Sinks,
}

/// How many stages there are.
pub const STAGES: usize = EnergyStage::ALL.len();

impl EnergyStage {
    /// Every stage in a frame's order.
    pub const ALL: [Self; 10] = [
        Self::Capture,
        Self::Decode,
        Self::Preprocess,
        Self::Saver,
        Self::Encode,
        Self::Transmit,
        Self::BaseLocal,
        Self::Other,
        Self::Wait,
        Self::Sinks,
    ];

    /// The name in logs, metrics and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Decode => "decode",
            Self::Preprocess => "preprocess",
            Self::Saver => "saver",
            Self::Encode => "encode",
            Self::Transmit => "transmit",
            Self::BaseLocal => "base_local",
            Self::Other => "other",
            Self::Wait => "wait",
            Self::Sinks => "sinks",
        }
    }

    /// Whether it is a part of the frame's own work, not of what lies between frames.
    #[must_use]
    pub fn is_of_frame(self) -> bool {
        !matches!(self, Self::Wait | Self::Sinks)
    }
}

/// What a frame's work consisted of.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FrameWork {
    /// Time of each stage on the clock, in the order of [`EnergyStage::ALL`]; `None` did not run.
    walls: [Option<Duration>; STAGES],
    /// Which of them computed with f32.
    reals: [bool; STAGES],
    pub(super) sent_bytes: u64,
}

impl FrameWork {
    /// A stage took so long; `is_f32` says whether it computed with f32.
    pub fn took(&mut self, stage: EnergyStage, wall: Duration, is_f32: bool) {
        if let (Some(known), Some(real)) = (self.walls.get_mut(stage as usize), self.reals.get_mut(stage as usize)) {
            *known = Some(known.unwrap_or_default() + wall);
            *real = is_f32;
        }
    }

    /// So many bytes went to the network.
    pub fn sent(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }

    /// The part of `wall` that was spent with f32.
    pub(super) fn f32_share(&self, wall: Duration) -> f64 {
        let of_f32 = self.walls.iter().zip(self.reals).filter(|(_, real)| *real).filter_map(|(wall, _)| *wall);
        let of_f32: Duration = of_f32.sum();
        if wall.is_zero() { 0.0 } else { (of_f32.as_secs_f64() / wall.as_secs_f64()).min(1.0) }
    }

    /// Splits a frame's booking; `radio` of it went into sending. `f32_weight` is the power of a core that computes with
    /// f32 as a multiple of one that does not.
    pub(super) fn split<O: Copy>(
        &self,
        frame: &Booking<O>,
        radio: Joules<O>,
        f32_weight: f64,
    ) -> [Option<Booking<O>>; STAGES] {
        let mut walls = self.walls;
        let named: Duration = walls.iter().flatten().sum();
        if let Some(other) = walls.get_mut(EnergyStage::Other as usize) {
            *other = Some(frame.wall.saturating_sub(named));
        }
        // Stages that claim more than the whole, as clocks may, share the whole all the same.
        let all = named.max(frame.wall).as_secs_f64();
        let weight = |real: bool| if real { f32_weight } else { 1.0 };
        let weighted = |(wall, real): (&Option<Duration>, &bool)| wall.map_or(0.0, |w| w.as_secs_f64() * weight(*real));
        let all_weighted: f64 = walls.iter().zip(&self.reals).map(weighted).sum();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let above = frame.above_idle.map(|above| above - radio);
        let base = above.map_or(frame.joules - radio, |above| frame.joules - above - radio);
        let mut stages = [None; STAGES];
        for (index, (stage, (wall, real))) in stages.iter_mut().zip(walls.iter().zip(&self.reals)).enumerate() {
            let Some(wall) = wall else { continue };
            let by_time = share(wall.as_secs_f64(), all);
            let by_work = share(wall.as_secs_f64() * weight(*real), all_weighted);
            let sent = if index == EnergyStage::Transmit as usize { radio } else { Joules::ZERO };
            let above = above.map(|above| above * by_work + sent);
            *stage = Some(Booking {
                wall: frame.wall.mul_f64(by_time),
                cpu: frame.cpu.mul_f64(by_time),
                joules: base * by_time + above.unwrap_or(sent),
                above_idle: above,
            });
        }
        stages
    }
}

/// One stage on a record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageEnergy {
    /// Microseconds on the clock.
    pub us: u64,
    /// Microseconds of processor time, of all threads.
    pub cpu_us: u64,
    /// Microjoules.
    pub uj: i64,
    /// Of that, what idling for as long would not have drawn; absent where the idle power is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_idle_uj: Option<i64>,
}

impl<O: Copy> From<&Booking<O>> for StageEnergy {
    fn from(booking: &Booking<O>) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            us: micros(booking.wall),
            cpu_us: micros(booking.cpu),
            uj: booking.joules.micros(),
            above_idle_uj: booking.above_idle.map(|joules| joules.micros()),
        }
    }
}

/// All stages of a record; in logs an object from a stage's name to its figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageEnergies([Option<StageEnergy>; STAGES]);

impl StageEnergies {
    /// A stage's, if it ran.
    #[must_use]
    pub fn get(&self, stage: EnergyStage) -> Option<&StageEnergy> {
        self.0.get(stage as usize)?.as_ref()
    }

    /// Sets a stage's.
    pub fn set(&mut self, stage: EnergyStage, energy: StageEnergy) {
        if let Some(place) = self.0.get_mut(stage as usize) {
            *place = Some(energy);
        }
    }

    /// Whether nothing is known by stage.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Those that ran.
    pub fn iter(&self) -> impl Iterator<Item = (EnergyStage, &StageEnergy)> {
        EnergyStage::ALL.into_iter().zip(&self.0).filter_map(|(stage, energy)| Some((stage, energy.as_ref()?)))
    }
}

impl Serialize for StageEnergies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (stage, energy) in self.iter() {
            map.serialize_entry(stage.name(), energy)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for StageEnergies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Stages;
        impl<'de> Visitor<'de> for Stages {
            type Value = StageEnergies;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from stages to their energy")
            }

            /// A stage of a later version is passed over.
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StageEnergies, A::Error> {
                let mut stages = StageEnergies::default();
                while let Some(name) = map.next_key::<String>()? {
                    match EnergyStage::ALL.into_iter().find(|stage| stage.name() == name) {
                        Some(stage) => stages.set(stage, map.next_value()?),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(stages)
            }
        }
        deserializer.deserialize_map(Stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::Modelled;

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn stages_share_what_the_frame_cost() {
        let mut work = FrameWork::default();
        work.sent(1000);
        work.took(EnergyStage::Decode, millis(10), false);
        work.took(EnergyStage::Saver, millis(20), false);
        work.took(EnergyStage::Saver, millis(10), false);
        work.took(EnergyStage::BaseLocal, millis(40), true);
        work.took(EnergyStage::Transmit, millis(0), false);
        assert!((work.f32_share(millis(100)) - 0.4).abs() < 1e-12);
        // 100 ms at 2 W, and 0.1 s of a core at 1 W and twice that for f32: 0.06 + 0.08; 5 mJ of the radio.
        let above = 0.06 + 0.08 + 0.005;
        let frame = Booking::<Modelled> {
            wall: millis(100),
            cpu: millis(100),
            joules: Joules::new(0.2 + above),
            above_idle: Some(Joules::new(above)),
        };
        let stages = work.split(&frame, Joules::new(0.005), 2.0);
        let uj = |stage: EnergyStage| stages[stage as usize].map(|booking| booking.joules.micros());
        let above =
            |stage: EnergyStage| stages[stage as usize].and_then(|booking| booking.above_idle).map(|j| j.micros());
        assert_eq!((uj(EnergyStage::Saver), above(EnergyStage::Saver)), (Some(90_000), Some(30_000)));
        assert_eq!((uj(EnergyStage::BaseLocal), above(EnergyStage::BaseLocal)), (Some(160_000), Some(80_000)));
        assert_eq!((uj(EnergyStage::Transmit), uj(EnergyStage::Other)), (Some(5_000), Some(60_000)));
        assert_eq!((uj(EnergyStage::Capture), uj(EnergyStage::Sinks)), (None, None));
        let all: f64 = stages.iter().flatten().map(|booking| booking.joules.value()).sum();
        assert!((all - frame.joules.value()).abs() < 1e-12, "{all}");
        assert_eq!(stages.iter().flatten().map(|booking| booking.wall).sum::<Duration>(), frame.wall);
    }

    #[test]
    fn clocks_that_disagree_break_nothing() {
        let mut work = FrameWork::default();
        work.took(EnergyStage::Saver, millis(300), true);
        work.took(EnergyStage::Decode, millis(100), false);
        let frame = Booking::<Modelled> { joules: Joules::new(1.0), wall: millis(200), ..Booking::NONE };
        let stages = work.split(&frame, Joules::ZERO, 1.0);
        assert_eq!(work.f32_share(frame.wall), 1.0);
        let joules = |stage: EnergyStage| stages[stage as usize].unwrap().joules.micros();
        assert_eq!((joules(EnergyStage::Saver), joules(EnergyStage::Other)), (750_000, 0));
        let nothing = FrameWork::default().split(&Booking::<Modelled>::NONE, Joules::ZERO, 1.0);
        assert!(nothing.iter().flatten().all(|booking| booking.joules.value() == 0.0));
    }

    #[test]
    fn logs_name_the_stages_and_pass_over_those_of_later_versions() {
        let mut stages = StageEnergies::default();
        stages.set(EnergyStage::Saver, StageEnergy { us: 9, cpu_us: 8, uj: 33, above_idle_uj: Some(8) });
        stages.set(EnergyStage::Sinks, StageEnergy { us: 1, cpu_us: 1, uj: 3, above_idle_uj: None });
        let text = serde_json::to_string(&stages).unwrap();
        let expected = concat!(
            r#"{"saver":{"us":9,"cpu_us":8,"uj":33,"above_idle_uj":8},"#,
            r#""sinks":{"us":1,"cpu_us":1,"uj":3}}"#
        );
        assert_eq!(text, expected);
        let later = text.replacen('{', r#"{"magic":{"us":1},"#, 1);
        assert_eq!(serde_json::from_str::<StageEnergies>(&later).unwrap(), stages);
    }
}
