//! What this board can tell of its power and heat: sensors with their values now, and who would book a run.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tinysaver_board::power::{CpuLoad, Health, PowerSensor, RealTree, SysTree, find_sensors, read_health};
use tinysaver_core::energy::Domain;

use super::board::Board;
use super::meter::{EnergyMeter, SAMPLE_PERIOD};
use super::settings::EnergySettings;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Survey {
    /// The board's name, if there is a profile of it.
    pub board: Option<String>,
    /// What `run` would book energy by with the same settings.
    pub booked_by: Option<String>,
    /// Where a modelled figure comes from.
    pub model_source: Option<String>,
    /// Sensors, those that see most of the board first.
    pub sensors: Vec<SensorReading>,
    /// Mean number of cores that were busy meanwhile, this program's own work included.
    pub busy_cores: Option<f64>,
    /// How many there are.
    pub cores: Option<u32>,
    /// What is there and cannot be used.
    pub problems: Vec<String>,
    /// Temperatures, throttling, clocks.
    #[serde(flatten)]
    pub health: Health,
}

/// A sensor and what it showed.
#[derive(Debug, Serialize)]
pub struct SensorReading {
    /// Its chip and rail.
    pub name: String,
    /// What it sees.
    pub domain: Domain,
    /// Values that it gave.
    pub samples: usize,
    /// Of these; `None` where it gave none.
    pub mean_watts: Option<f64>,
    /// The lowest.
    pub min_watts: Option<f64>,
    /// The highest.
    pub max_watts: Option<f64>,
    /// What to know about it.
    pub note: Option<String>,
    /// Why there is no value.
    pub error: Option<String>,
}

impl Survey {
    /// Reads every sensor for so long, ten times a second and at least twice.
    ///
    /// # Errors
    /// A board or a sensor that was asked for and is not there.
    pub fn take(settings: &EnergySettings, duration: Duration) -> Result<Self> {
        let tree: Arc<dyn SysTree> = Arc::new(RealTree::new(&settings.root));
        let found = find_sensors(&tree);
        let before = CpuLoad::read(&*tree);
        let sensors = read_all(found.sensors, duration);
        let load = CpuLoad::read(&*tree).zip(before).and_then(|(after, before)| after.busy_cores_since(&before));
        let board = Board::find(settings.board.as_deref(), Path::new(&settings.root))?;
        let booked_by = EnergyMeter::start(settings)?.map(|meter| meter.source().clone());
        let model_source = board.as_ref().filter(|_| booked_by.as_ref().is_some_and(|source| !source.is_measured()));
        Ok(Self {
            model_source: model_source.and_then(|board| board.model_source().map(str::to_owned)),
            board: board.map(|board| board.title().to_owned()),
            booked_by: booked_by.map(|source| source.to_string()),
            sensors,
            busy_cores: load.map(|(busy, _)| busy),
            cores: load.map(|(_, cores)| cores),
            problems: found.problems,
            health: read_health(&*tree),
        })
    }
}

fn read_all(mut sensors: Vec<PowerSensor>, duration: Duration) -> Vec<SensorReading> {
    let mut values: Vec<(Vec<f64>, Option<String>)> = sensors.iter().map(|_| (Vec::new(), None)).collect();
    let began = Instant::now();
    loop {
        for (sensor, (watts, error)) in sensors.iter_mut().zip(&mut values) {
            match sensor.read(began.elapsed()) {
                Ok(value) => watts.extend(value.map(|value| value.value())),
                Err(failed) => *error = Some(failed.to_string()),
            }
        }
        if began.elapsed() >= duration {
            break;
        }
        std::thread::sleep(SAMPLE_PERIOD);
    }
    sensors.iter().zip(values).map(|(sensor, (watts, error))| reading(sensor, &watts, error)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a mean of some values")]
fn reading(sensor: &PowerSensor, watts: &[f64], error: Option<String>) -> SensorReading {
    let mean = (!watts.is_empty()).then(|| watts.iter().sum::<f64>() / watts.len() as f64);
    SensorReading {
        name: sensor.name().to_owned(),
        domain: sensor.domain(),
        samples: watts.len(),
        mean_watts: mean,
        min_watts: watts.iter().copied().reduce(f64::min),
        max_watts: watts.iter().copied().reduce(f64::max),
        note: sensor.note().map(str::to_owned),
        error: error.filter(|_| watts.is_empty()),
    }
}
