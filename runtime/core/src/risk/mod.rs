//! How far below the base an answer by the saver may fall: thresholds chosen on calibration data, with a promise that
//! holds on data nobody has seen.
//!
//! A *harm* is an accepted sample that the base has right and the saver wrong, a *help* the reverse. The drop in accuracy is
//! the rate of harms less that of helps, so the rate of harms bounds it, and it can only grow as the threshold falls.

mod binomial;
mod method;
mod ranked;
mod rules;
mod stages;

pub use binomial::{binomial_cdf, lower_bound, most_harms, samples_needed, upper_bound};
pub use method::{Choice, Method, Promise, PromiseError, Refusal};
pub use ranked::{Candidates, Counts, Judged, RankError, Ranked};
pub use rules::choose;
pub use stages::{StagedChoice, StagedCounts, Stages, StagesError, choose_on_path, total_cost};
