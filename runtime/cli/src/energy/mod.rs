//! What a run costs: which board or sensor tells, and the ledger at work.

mod board;
mod cost;
mod meter;
mod settings;
mod survey;
mod text;
mod watch;

pub use board::Board;
pub use cost::BookingCost;
pub use meter::EnergyMeter;
pub use settings::{EnergyArgs, EnergyFile, EnergySettings};
pub use survey::{SensorReading, Survey};
pub use text::{alternatives, battery_hours, figures, rows, stage_rows, write_energy};
pub use watch::{BoardWatch, BoardWatcher, throttle_bits};
