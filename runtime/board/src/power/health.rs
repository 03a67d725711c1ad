//! Temperature, throttling and clock: what makes figures of the same board differ.

use serde::Serialize;

use super::tree::SysTree;
use crate::throttle::Throttle;

const ZONES: &str = "sys/class/thermal";
const POLICIES: &str = "sys/devices/system/cpu/cpufreq";
const JETSON_MODE: &str = "var/lib/nvpmodel/status";

/// All of it; what cannot be read is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Health {
    /// One a zone that is on.
    pub temperatures: Vec<Temperature>,
    /// What holds it back.
    pub throttle: Throttle,
    /// One a group of cores.
    pub clocks: Vec<Clock>,
    /// A Jetson's power mode, as its tool keeps it.
    pub power_mode: Option<String>,
}

/// A thermal zone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Temperature {
    /// Its type, such as `cpu-thermal`.
    pub zone: String,
    /// In degrees Celsius.
    pub celsius: f64,
}

/// A group of cores with one clock.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Clock {
    /// Such as `policy0`.
    pub policy: String,
    /// Now, in MHz.
    pub current_mhz: Option<f64>,
    /// The limit in force, in MHz.
    pub max_mhz: Option<f64>,
    /// Who decides.
    pub governor: Option<String>,
}

/// Reads all of it.
#[must_use]
pub fn read_health(tree: &dyn SysTree) -> Health {
    Health {
        temperatures: temperatures(tree),
        throttle: Throttle::of(tree),
        clocks: clocks(tree),
        power_mode: tree.read(JETSON_MODE).ok().filter(|mode| !mode.is_empty()),
    }
}

/// A zone that is off gives an error or absolute zero.
fn temperatures(tree: &dyn SysTree) -> Vec<Temperature> {
    let zones = tree.list(ZONES).into_iter().filter(|zone| zone.starts_with("thermal_zone"));
    let read = |zone: String| {
        let kind = tree.read(&format!("{ZONES}/{zone}/type")).ok()?;
        let celsius = tree.read(&format!("{ZONES}/{zone}/temp")).ok()?.parse::<f64>().ok()? / 1000.0;
        (celsius > -100.0 && celsius < 250.0).then_some(Temperature { zone: kind, celsius })
    };
    zones.filter_map(read).collect()
}

fn clocks(tree: &dyn SysTree) -> Vec<Clock> {
    let policies = tree.list(POLICIES).into_iter().filter(|name| name.starts_with("policy"));
    let read = |policy: String| {
        let text = |file: &str| tree.read(&format!("{POLICIES}/{policy}/{file}")).ok();
        let mhz = |file: &str| text(file)?.parse::<f64>().ok().map(|khz| khz / 1000.0);
        Clock {
            current_mhz: mhz("scaling_cur_freq"),
            max_mhz: mhz("scaling_max_freq"),
            governor: text("scaling_governor"),
            policy,
        }
    };
    policies.map(read).collect()
}
