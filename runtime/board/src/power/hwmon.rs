//! Chips of one channel behind Linux's hwmon: INA219, INA226, INA260 and their kin on hats.

use std::sync::Arc;

use tinysaver_core::energy::Domain;

use super::sensor::{PowerSensor, Reader, Sensors};
use super::tree::SysTree;

const HWMON: &str = "sys/class/hwmon";
const CHIPS: [&str; 9] = ["ina209", "ina219", "ina220", "ina226", "ina230", "ina231", "ina237", "ina238", "ina260"];
/// What the driver takes where nobody says, in microohms.
const DEFAULT_SHUNT: &str = "10000";

pub(super) fn find(tree: &Arc<dyn SysTree>, found: &mut Sensors) {
    for device in tree.list(HWMON) {
        let folder = format!("{HWMON}/{device}");
        let Ok(chip) = tree.read(&format!("{folder}/name")) else { continue };
        if !CHIPS.contains(&chip.as_str()) {
            continue;
        }
        let label = tree.read(&format!("{folder}/label")).unwrap_or_default();
        let name = if label.is_empty() { chip } else { format!("{chip} {label}") };
        let name = unused(name, &device, found);
        let shunt = tree.read(&format!("{folder}/shunt_resistor")).ok();
        let note = (shunt.as_deref() == Some(DEFAULT_SHUNT)).then(|| {
            "shunt 10 mOhm, the driver's default: if the board carries another (often 100), write it to shunt_resistor".into()
        });
        let reader = Reader::Scaled { path: format!("{folder}/power1_input"), watts_per_unit: 1e-6 };
        found.sensors.push(PowerSensor::new(&name, Domain::AsWired, tree, reader).with_note(note));
    }
}

/// Two chips of a kind are told apart by their devices.
fn unused(name: String, device: &str, found: &Sensors) -> String {
    if found.sensors.iter().any(|sensor| sensor.name() == name) { format!("{name} {device}") } else { name }
}
