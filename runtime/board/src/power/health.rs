//! Temperature, throttling and clock: what makes figures of the same board differ.

use serde::Serialize;

use super::battery::{Battery, read_batteries};
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
    /// Those that feed the board.
    pub batteries: Vec<Battery>,
}

impl Health {
    /// Whether the board runs down its last battery: at least one feeds it, and all of them are low.
    #[must_use]
    pub fn battery_is_low(&self) -> bool {
        self.is_on_battery() && self.batteries.iter().all(|battery| battery.is_low)
    }

    /// What all batteries together hold, in joules, while they feed the board; `None` where one does not tell.
    #[must_use]
    pub fn battery_joules(&self) -> Option<f64> {
        self.is_on_battery().then(|| self.batteries.iter().map(|battery| battery.joules).sum::<Option<f64>>()).flatten()
    }

    fn is_on_battery(&self) -> bool {
        self.batteries.iter().any(|battery| battery.is_discharging)
    }
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
        batteries: read_batteries(tree),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_is_low_when_its_last_battery_is() {
        let battery = |is_discharging, is_low, joules| Battery {
            name: String::new(),
            percent: None,
            joules,
            is_discharging,
            is_low,
        };
        let health = |batteries: &[Battery]| Health { batteries: batteries.to_vec(), ..Health::default() };
        let (full, low) = (battery(false, false, Some(100.0)), battery(true, true, Some(20.0)));
        let both = health(&[full, low.clone()]);
        assert_eq!((both.battery_is_low(), both.battery_joules()), (false, Some(120.0)));
        assert!(health(std::slice::from_ref(&low)).battery_is_low());
        let charging = health(&[battery(false, true, Some(20.0))]);
        assert_eq!((charging.battery_is_low(), charging.battery_joules()), (false, None), "a charger feeds the board");
        assert_eq!(health(&[low, battery(true, true, None)]).battery_joules(), None);
        assert_eq!((health(&[]).battery_is_low(), health(&[]).battery_joules()), (false, None));
    }
}
