//! Watts where no sensor is: `idle + camera + display + busy cores x active`, and joules of the bytes that are sent, by a
//! board's profile.

use serde::Deserialize;

use super::joules::{Joules, Modelled, Watts};
use super::ledger::{Moment, PowerSource, Spent};

/// The part `power.modelled` of a board's profile in `targets/`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerProfile {
    /// The board with nothing to do.
    pub idle_watts: f64,
    /// All cores busy with integers.
    pub full_cpu_watts: Option<f64>,
    /// All cores busy with f32, if that is known to differ.
    pub full_cpu_f32_watts: Option<f64>,
    /// What the radio draws for a byte that is sent, in microjoules, above being connected.
    pub radio_microjoules_per_byte: Option<f64>,
    /// A camera that streams, above the board without one.
    pub camera_watts: Option<f64>,
    /// A small panel that shows something.
    pub display_watts: Option<f64>,
    /// Who measured these two; wanted where one of them is given.
    pub attached_source: Option<String>,
    /// Who measured the rest, how, and at what point.
    pub source: String,
}

/// What is attached to the board and at work all the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attached {
    /// A camera that the board feeds.
    pub camera: bool,
    /// A panel that the board feeds.
    pub display: bool,
}

/// A profile that says nothing usable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// Below 0, no number, or beyond any board.
    #[error("{key} = {value}: must be from 0 to 1000 W")]
    Watts {
        /// The key.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// Below 0, no number, or beyond any radio.
    #[error("radio_microjoules_per_byte = {0}: must be from 0 to 10000")]
    Radio(f64),
    /// Busy costs less than idle.
    #[error("{key} = {full} is less than idle_watts = {idle}")]
    BelowIdle {
        /// The key.
        key: &'static str,
        /// All cores busy.
        full: f64,
        /// Nothing to do.
        idle: f64,
    },
    /// A figure of nobody's.
    #[error("attached_source is missing: who says what camera and display draw?")]
    NoAttachedSource,
    /// Only the idle power is known.
    #[error("full_cpu_watts is missing: without it the model cannot tell work from idling")]
    NoFull,
    /// No core to be busy.
    #[error("cpu.cores is missing or 0: how many cores share full_cpu_watts?")]
    NoCores,
}

/// `watts = idle + core_active x busy cores`, for integer and f32 work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerModel {
    idle: Watts<Modelled>,
    core_active: Watts<Modelled>,
    core_active_f32: Watts<Modelled>,
    radio_joules_per_byte: f64,
    camera: Watts<Modelled>,
    display: Watts<Modelled>,
}

impl PowerModel {
    /// From a profile's figures for the whole board and its number of cores.
    ///
    /// # Errors
    /// Figures that are missing or contradict each other.
    pub fn new(profile: &PowerProfile, cores: u32) -> Result<Self, ModelError> {
        let sound = |key, value: f64| {
            if (0.0..=1000.0).contains(&value) { Ok(value) } else { Err(ModelError::Watts { key, value }) }
        };
        let idle = sound("idle_watts", profile.idle_watts)?;
        if cores == 0 {
            return Err(ModelError::NoCores);
        }
        let core_active = |key, full| {
            let full = sound(key, full)?;
            if full < idle {
                Err(ModelError::BelowIdle { key, full, idle })
            } else {
                Ok((full - idle) / f64::from(cores))
            }
        };
        let integer = core_active("full_cpu_watts", profile.full_cpu_watts.ok_or(ModelError::NoFull)?)?;
        let real = profile.full_cpu_f32_watts.map(|full| core_active("full_cpu_f32_watts", full)).transpose()?;
        let attached = |key, watts: Option<f64>| sound(key, watts.unwrap_or(0.0)).map(Watts::new);
        let camera = attached("camera_watts", profile.camera_watts)?;
        let display = attached("display_watts", profile.display_watts)?;
        if (profile.camera_watts.is_some() || profile.display_watts.is_some()) && profile.attached_source.is_none() {
            return Err(ModelError::NoAttachedSource);
        }
        let radio = profile.radio_microjoules_per_byte.unwrap_or(0.0);
        if !(0.0..=10_000.0).contains(&radio) {
            return Err(ModelError::Radio(radio));
        }
        Ok(Self {
            idle: Watts::new(idle),
            core_active: Watts::new(integer),
            core_active_f32: Watts::new(real.unwrap_or(integer)),
            radio_joules_per_byte: radio * 1e-6,
            camera,
            display,
        })
    }

    /// The same board with something attached, which draws its power also while the board idles.
    #[must_use]
    pub fn with(mut self, attached: Attached) -> Self {
        let of = |is_there: bool, watts: Watts<Modelled>| if is_there { watts.value() } else { 0.0 };
        let more = of(attached.camera, self.camera) + of(attached.display, self.display);
        self.idle = Watts::new(self.idle.value() + more);
        self
    }

    /// The board with nothing to do.
    #[must_use]
    pub fn idle(&self) -> Watts<Modelled> {
        self.idle
    }

    /// So many cores busy, of whose work `f32_share` (0 to 1) is with f32.
    #[must_use]
    pub fn watts(&self, busy_cores: f64, f32_share: f64) -> Watts<Modelled> {
        Watts::new(self.idle.value() + busy_cores * self.core_active_watts(f32_share))
    }

    /// What the radio draws for so many bytes.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "bytes below 2^53")]
    pub fn radio(&self, sent_bytes: u64) -> Joules<Modelled> {
        Joules::new(self.radio_joules_per_byte * sent_bytes as f64)
    }

    fn core_active_watts(&self, f32_share: f64) -> f64 {
        let share = f32_share.clamp(0.0, 1.0);
        self.core_active.value() * (1.0 - share) + self.core_active_f32.value() * share
    }
}

/// A model as the source of a ledger's joules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Modeller(pub PowerModel);

impl PowerSource for Modeller {
    type Origin = Modelled;

    /// Idle power over the wall time, active power over the processor time of all threads: exact for the model however
    /// finely the time is cut.
    fn spend(&mut self, from: Moment, to: Moment, f32_share: f64, sent_bytes: u64) -> Option<Spent<Modelled>> {
        let wall = to.wall.saturating_sub(from.wall);
        let cpu = to.cpu.saturating_sub(from.cpu);
        let radio = self.0.radio(sent_bytes);
        let above_idle = Joules::new(self.0.core_active_watts(f32_share) * cpu.as_secs_f64()) + radio;
        Some(Spent { joules: self.0.idle * wall + above_idle, above_idle: Some(above_idle), radio })
    }

    fn f32_weight(&self) -> f64 {
        let (real, integer) = (self.0.core_active_f32.value(), self.0.core_active.value());
        if integer > 0.0 { real / integer } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    pub(crate) fn profile(idle: f64, full: Option<f64>, real: Option<f64>) -> PowerProfile {
        PowerProfile {
            idle_watts: idle,
            full_cpu_watts: full,
            full_cpu_f32_watts: real,
            source: "test".into(),
            ..PowerProfile::default()
        }
    }

    #[test]
    fn watts_lie_between_idle_and_full() {
        let model = PowerModel::new(&profile(2.8, Some(6.4), Some(5.8)), 4).unwrap();
        let close = |watts: Watts<Modelled>, expected: f64| assert!((watts.value() - expected).abs() < 1e-12);
        close(model.watts(0.0, 0.0), 2.8);
        close(model.watts(1.0, 0.0), 3.7);
        close(model.watts(4.0, 0.0), 6.4);
        close(model.watts(4.0, 1.0), 5.8);
        close(model.watts(4.0, 0.5), 6.1);
        let same = PowerModel::new(&profile(2.8, Some(6.4), None), 4).unwrap();
        close(same.watts(4.0, 1.0), 6.4);
    }

    #[test]
    fn what_is_attached_draws_its_power_all_the_time() {
        let attached = PowerProfile {
            camera_watts: Some(0.9),
            display_watts: Some(0.12),
            attached_source: Some("test".into()),
            ..profile(2.8, Some(6.4), None)
        };
        let model = PowerModel::new(&attached, 4).unwrap();
        let idle = |camera, display| model.with(Attached { camera, display }).idle().value();
        assert_eq!((idle(false, false), idle(true, false)), (2.8, 2.8 + 0.9));
        assert!((idle(true, true) - 3.82).abs() < 1e-12);
        let moment = |millis| Moment { wall: Duration::from_millis(millis), cpu: Duration::ZERO };
        let with_camera = model.with(Attached { camera: true, display: false });
        let spent = Modeller(with_camera).spend(moment(0), moment(1000), 0.0, 0).unwrap();
        assert!((spent.joules.value() - 3.7).abs() < 1e-12 && spent.above_idle == Some(Joules::ZERO));
        let nobody = PowerProfile { attached_source: None, ..attached };
        assert_eq!(PowerModel::new(&nobody, 4), Err(ModelError::NoAttachedSource));
    }

    #[test]
    fn profiles_that_contradict_themselves_are_refused() {
        let error =
            |idle, full, real, cores| PowerModel::new(&profile(idle, full, real), cores).unwrap_err().to_string();
        assert!(error(-1.0, Some(2.0), None, 4).contains("idle_watts = -1"));
        assert!(error(f64::NAN, Some(2.0), None, 4).contains("idle_watts"));
        assert!(error(1.0, Some(1e9), None, 4).contains("full_cpu_watts"));
        assert!(error(3.0, Some(2.0), None, 4).contains("less than idle_watts"));
        assert!(error(1.0, Some(2.0), Some(0.5), 4).contains("full_cpu_f32_watts = 0.5"));
        assert!(error(1.0, None, None, 4).contains("full_cpu_watts is missing"));
        assert!(error(1.0, Some(2.0), None, 0).contains("cpu.cores"));
        let radio = PowerProfile { radio_microjoules_per_byte: Some(-1.0), ..profile(1.0, Some(2.0), None) };
        assert!(PowerModel::new(&radio, 4).unwrap_err().to_string().contains("radio_microjoules_per_byte = -1"));
    }
}
