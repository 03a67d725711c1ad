//! What a run costs: which board or sensor tells, and the ledger at work.

mod board;
mod meter;
mod settings;
mod survey;
mod text;

pub use meter::EnergyMeter;
pub use settings::{EnergyArgs, EnergyFile, EnergySettings};
pub use survey::{SensorReading, Survey};
pub use text::{always_base, battery_hours, figures, rows, write_energy};
