//! What the board's batteries hold.

use serde::Serialize;

use super::tree::SysTree;

const SUPPLIES: &str = "sys/class/power_supply";

/// At or below so many percent a battery is low, and where its driver says so itself.
pub const LOW_PERCENT: f64 = 20.0;

/// A battery that feeds the board.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Battery {
    /// Its name in `/sys/class/power_supply`.
    pub name: String,
    /// How full it is, in percent.
    pub percent: Option<f64>,
    /// What it holds now, in joules.
    pub joules: Option<f64>,
    /// Whether it feeds the board now.
    pub is_discharging: bool,
    /// [`LOW_PERCENT`] or less, or low by its driver's own word.
    pub is_low: bool,
}

/// Names of what feeds the board: batteries of mice and headsets have the scope `Device`, an empty bay is not present.
pub(super) fn names(tree: &dyn SysTree) -> Vec<String> {
    let feeds = |name: &String| {
        let text = |file: &str| tree.read(&format!("{SUPPLIES}/{name}/{file}"));
        // `ucsi-source-psy-*` tells what was negotiated with a USB charger, not what flows.
        !name.starts_with("ucsi-source-psy-")
            && text("type").is_ok_and(|kind| kind == "Battery" || kind == "UPS")
            && !text("scope").is_ok_and(|scope| scope == "Device")
            && !text("present").is_ok_and(|present| present == "0")
    };
    tree.list(SUPPLIES).into_iter().filter(feeds).collect()
}

/// The folder of a supply.
pub(super) fn folder(name: &str) -> String {
    format!("{SUPPLIES}/{name}")
}

/// Reads all of them.
pub(super) fn read_batteries(tree: &dyn SysTree) -> Vec<Battery> {
    names(tree).into_iter().map(|name| read(tree, name)).collect()
}

fn read(tree: &dyn SysTree, name: String) -> Battery {
    let text = |file: &str| tree.read(&format!("{}/{file}", folder(&name))).ok();
    let number = |file: &str| text(file)?.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
    let percent = number("capacity").filter(|percent| *percent <= 100.0);
    // Microwatt-hours; or microampere-hours at microvolts, which are 1e-12 Wh.
    let of_charge = || Some(number("charge_now")? * number("voltage_now")? * 3600.0 / 1e12);
    let joules = number("energy_now").map(|energy| energy * 1e-6 * 3600.0).or_else(of_charge);
    let says_low = text("capacity_level").is_some_and(|level| level == "Low" || level == "Critical");
    Battery {
        percent,
        joules,
        is_discharging: text("status").is_some_and(|status| status == "Discharging"),
        is_low: says_low || percent.is_some_and(|percent| percent <= LOW_PERCENT),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::RecordedTree;
    use super::*;

    #[test]
    fn batteries_say_what_they_hold_in_either_unit() {
        let tree = RecordedTree::parse(
            "sys/class/power_supply/BAT0/type = Battery
sys/class/power_supply/BAT0/status = Discharging
sys/class/power_supply/BAT0/capacity = 55
sys/class/power_supply/BAT0/energy_now = 10000000
sys/class/power_supply/hat/type = Battery
sys/class/power_supply/hat/status = Charging
sys/class/power_supply/hat/capacity = 20
sys/class/power_supply/hat/charge_now = 1000000
sys/class/power_supply/hat/voltage_now = 3700000
sys/class/power_supply/hidpp_battery_0/type = Battery
sys/class/power_supply/hidpp_battery_0/scope = Device
sys/class/power_supply/hidpp_battery_0/capacity = 5
sys/class/power_supply/bay/type = Battery
sys/class/power_supply/bay/present = 0
sys/class/power_supply/AC/type = Mains",
        );
        let batteries = read_batteries(&tree);
        let expected = |name: &str, percent, joules, is_discharging, is_low| Battery {
            name: name.into(),
            percent: Some(percent),
            joules: Some(joules),
            is_discharging,
            is_low,
        };
        assert_eq!(
            batteries,
            [expected("BAT0", 55.0, 36_000.0, true, false), expected("hat", 20.0, 13_320.0, false, true)],
            "neither a mouse nor an empty bay"
        );
    }

    #[test]
    fn what_a_driver_does_not_say_is_not_known() {
        let tree = RecordedTree::parse(
            "sys/class/power_supply/ups/type = UPS
sys/class/power_supply/ups/capacity_level = Critical
sys/class/power_supply/ups/capacity = 300
sys/class/power_supply/ups/energy_now ! 61",
        );
        let battery = &read_batteries(&tree)[0];
        assert_eq!((battery.percent, battery.joules, battery.is_discharging), (None, None, false));
        assert!(battery.is_low);
    }
}
