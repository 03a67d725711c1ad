//! What keeps a board from working, and what to type.
//!
//! Invariant: everything is read below a root that the caller names and judged from that, so that recorded trees of
//! other boards can be judged as well.

mod board;
mod camera;
mod files;
mod world;

use serde::Serialize;

pub use world::World;

use crate::config::Settings;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// What was found.
    pub what: String,
    /// For what is wrong: why, and what to do.
    #[serde(flatten)]
    pub finding: Option<Finding>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Why it is in the way.
    pub why: String,
    /// What to type.
    pub command: String,
}

impl Check {
    fn fine(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, what: what.into(), finding: None }
    }

    fn wrong(name: &'static str, what: impl Into<String>, why: impl Into<String>, command: impl Into<String>) -> Self {
        let finding = Some(Finding { why: why.into(), command: command.into() });
        Self { name, what: what.into(), finding }
    }
}

/// Looks at everything.
pub fn examine(world: &World, settings: &Settings) -> Vec<Check> {
    let mut checks = camera::cameras(world, settings);
    checks.push(files::pair(settings));
    checks.extend(files::log(world, settings));
    checks.extend(board::displays(world, settings));
    checks.push(board::clock(world));
    checks.push(board::power(world));
    checks
}

#[cfg(test)]
mod tests;
