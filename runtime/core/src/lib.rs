//! What tinysaver decides and counts: confidence, gate, exits, records, summaries.
//!
//! Invariant: no I/O, no clock, no randomness but sequences from a seed. Everything is a function of its arguments, so a
//! recorded run can be replayed bit for bit on any machine (exponentials come from `libm`, not from the platform's C
//! library).
#![forbid(unsafe_code)]

mod change;
mod confidence;
pub mod energy;
pub mod fit;
mod gate;
pub mod plan;
mod record;
mod reuse;
pub mod risk;
pub mod route;
mod score;
pub mod select;
pub mod spend;
mod summary;
mod tensor;

pub use change::{Change, ChangeGate, GRID_COLUMNS, GRID_ROWS, LUMA_UNITS, LumaGrid, ReuseSettings};
pub use confidence::{ConfidenceError, Prediction, Temperature, TemperatureError, top1, top1_of_scores};
pub use gate::{Decision, Gate, Threshold, ThresholdError};
pub use record::{
    Answer, DropReason, Exit, InputWay, OLDEST_RECORD_SCHEMA, Outcome, RECORD_SCHEMA, Record, ReuseCheck, StageMicros,
};
pub use reuse::ReuseReport;
pub use score::{Distribution, Score};
pub use summary::{
    AccuracyReport, CONFIDENCE_BINS, ConfidenceReport, ExitReport, OperationsReport, Percentiles, Stage, Summary,
    SummaryReport,
};
pub use tensor::{Element, InputSpec, Layout};
