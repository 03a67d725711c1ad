//! Sensors: found once, read often.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tinysaver_core::energy::{Domain, EnergySource, Measured, Watts};

use super::external::{CommandMeter, FileMeter};
use super::pmic::Pmic;
use super::rapl::Counter;
use super::supply::Supply;
use super::tree::SysTree;
use super::{hwmon, ina3221, pmic, rapl, supply};

/// Why a sensor gave no value.
#[derive(Debug, thiserror::Error)]
pub enum PowerError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path}: '{text}' is not a number")]
    NotANumber {
        /// Which.
        path: String,
        /// What it holds.
        text: String,
    },
    /// The power management chip of a Raspberry Pi.
    #[error("the firmware's mailbox: {0}")]
    Mailbox(String),
    /// A meter outside.
    #[error("{0}")]
    Meter(String),
}

/// How a sensor is read.
pub(super) enum Reader {
    /// One file, in units of so many watts.
    Scaled { path: String, watts_per_unit: f64 },
    /// Voltage and current, in units whose product is so many watts.
    Product { volts: String, amperes: String, watts_per_unit: f64 },
    /// A counter of energy.
    Counter(Counter),
    /// A battery.
    Supply(Supply),
    /// The rails of a Raspberry Pi 5.
    Pmic(Pmic),
    /// A file that something else writes.
    File(FileMeter),
    /// A program that prints watts.
    Command(CommandMeter),
}

/// One sensor of power.
pub struct PowerSensor {
    name: Arc<str>,
    domain: Domain,
    note: Option<String>,
    tree: Arc<dyn SysTree>,
    reader: Reader,
}

impl PowerSensor {
    pub(super) fn new(name: &str, domain: Domain, tree: &Arc<dyn SysTree>, reader: Reader) -> Self {
        Self { name: name.into(), domain, note: None, tree: Arc::clone(tree), reader }
    }

    pub(super) fn with_note(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }

    /// Its chip and rail.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it sees.
    #[must_use]
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// What whoever reads its values should know.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// What its joules are booked under.
    #[must_use]
    pub fn source(&self) -> EnergySource {
        EnergySource::Measured { sensor: Arc::clone(&self.name), domain: self.domain }
    }

    /// Watts now, or since the last reading of a counter; `None` where there is no value yet, or none that is the
    /// board's. `now` is a monotonic clock's. May wait for the chip, some 10 ms.
    ///
    /// # Errors
    /// The sensor is gone, not permitted, or says something that is no number.
    pub fn read(&mut self, now: Duration) -> Result<Option<Watts<Measured>>, PowerError> {
        let tree = &*self.tree;
        let watts = match &mut self.reader {
            Reader::Scaled { path, watts_per_unit } => Some(number(tree, path)? * *watts_per_unit),
            Reader::Product { volts, amperes, watts_per_unit } => {
                Some(number(tree, volts)? * number(tree, amperes)? * *watts_per_unit)
            }
            Reader::Counter(counter) => counter.read(tree, now)?,
            Reader::Supply(supply) => supply.read(tree)?,
            Reader::Pmic(pmic) => Some(pmic.read()?),
            Reader::File(meter) => Some(meter.read()?),
            Reader::Command(meter) => meter.read()?,
        };
        Ok(watts.filter(|watts| watts.is_finite()).map(Watts::new))
    }
}

/// Reads a number.
pub(super) fn number(tree: &dyn SysTree, path: &str) -> Result<f64, PowerError> {
    let text = tree.read(path).map_err(|source| PowerError::Read { path: path.to_owned(), source })?;
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| PowerError::NotANumber { path: path.to_owned(), text: text.chars().take(40).collect() })
}

/// What was found.
#[derive(Default)]
pub struct Sensors {
    /// Sensors, those that see most of the board first.
    pub sensors: Vec<PowerSensor>,
    /// What is there and cannot be used, with what to do about it.
    pub problems: Vec<String>,
}

/// Looks for every kind of sensor.
#[must_use]
pub fn find_sensors(tree: &Arc<dyn SysTree>) -> Sensors {
    let mut found = Sensors::default();
    ina3221::find(tree, &mut found);
    hwmon::find(tree, &mut found);
    pmic::find(tree, &mut found);
    rapl::find(tree, &mut found);
    supply::find(tree, &mut found);
    let rank = |sensor: &PowerSensor| Domain::ALL.iter().position(|domain| *domain == sensor.domain);
    found.sensors.sort_by_key(rank);
    found
}

#[cfg(test)]
#[path = "sensor_tests.rs"]
mod tests;
