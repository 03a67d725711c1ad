//! Decisions that pay: what a frame costs in one price, which way of answering is the cheapest, and a controller that keeps
//! a board within a budget of energy without leaving what the threshold's certificate promises.
//!
//! Pure: times are handed in, nothing is drawn by chance.

mod budget;
mod controller;
mod price;
mod recent;
mod record;
mod what_if;

pub use budget::{Budget, BudgetError};
pub use controller::{Command, Conditions, Controller, ControllerSettings, Degradation, Observation};
pub use price::{Cost, Prices, StepCosts, Way, break_even, cheapest};
pub(crate) use record::BudgetTotals;
pub use record::{BudgetInForce, BudgetReport, DegradationPart, FrameBudget};
pub use what_if::{Priced, WhatIf, WhatIfReport};
