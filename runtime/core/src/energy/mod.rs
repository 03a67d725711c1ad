//! Joules: where they come from, what a profile makes of processor time, and the ledger that books them.
//!
//! A joule carries its origin as a type ([`Joules`]), so that a measured and a modelled one cannot be added. Which sensor
//! or which profile it was is an [`EnergySource`], and sums are kept per source: a rail is no part of the board's input
//! that could be added to it, nor are two sensors the same.

mod joules;
mod ledger;
mod measured;
mod model;
mod record;
mod source;
mod totals;

pub use joules::{Joules, Measured, Modelled, Watts};
pub use ledger::{Account, Booking, FrameBooking, Ledger, Moment, PowerSource, Spent};
pub use measured::{HeldPower, Metered, STALE_AFTER};
pub use model::{ModelError, Modeller, PowerModel, PowerProfile};
pub use record::FrameEnergy;
pub use source::{Domain, EnergySource, SourceError};
pub use totals::{AlwaysBase, EnergyPart, EnergyReport, EnergyTotals, ExitEnergy};
