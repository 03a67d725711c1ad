//! Joules: where they come from, what a profile makes of processor time, and the ledger that books them.
//!
//! A joule carries its origin as a type ([`Joules`]), so that a measured and a modelled one cannot be added. Which sensor
//! or which profile it was is an [`EnergySource`], and sums are kept per source: a rail is no part of the board's input
//! that could be added to it, nor are two sensors the same.

mod fit;
mod joules;
mod ledger;
mod measured;
mod model;
mod record;
mod source;
mod stage;
mod totals;

pub use fit::{Coefficient, FitError, Fitted, PowerFit, PowerReading, fit_power};
pub use joules::{Joules, Measured, Modelled, Watts};
pub use ledger::{Account, Between, Booking, FrameBooking, Ledger, Moment, PowerSource, Spent};
pub use measured::{HeldPower, Metered, STALE_AFTER};
pub use model::{Attached, ModelError, Modeller, PowerModel, PowerProfile};
pub use record::FrameEnergy;
pub use source::{Domain, EnergySource, SourceError};
pub use stage::{EnergyStage, FrameWork, StageEnergies, StageEnergy};
pub use totals::{Alternative, EnergyPart, EnergyReport, EnergyTotals, ExitEnergy, StagePart};
