//! INA3221, three channels: Jetson boards, by NVIDIA's old driver (kernel 4.9, iio) and by Linux's (hwmon).

use std::sync::Arc;

use tinysaver_core::energy::Domain;

use super::sensor::{PowerSensor, Reader, Sensors};
use super::tree::SysTree;

const IIO: &str = "sys/bus/i2c/drivers/ina3221x";
const HWMON: &str = "sys/class/hwmon";

pub(super) fn find(tree: &Arc<dyn SysTree>, found: &mut Sensors) {
    for chip in tree.list(IIO) {
        let devices = tree.list(&format!("{IIO}/{chip}"));
        for device in devices.iter().filter(|name| name.starts_with("iio:device")) {
            find_iio(tree, &format!("{IIO}/{chip}/{device}"), found);
        }
    }
    for chip in tree.list(HWMON) {
        let folder = format!("{HWMON}/{chip}");
        if tree.read(&format!("{folder}/name")).is_ok_and(|name| name == "ina3221") {
            find_hwmon(tree, &folder, found);
        }
    }
}

/// Milliwatts, computed by the driver.
fn find_iio(tree: &Arc<dyn SysTree>, folder: &str, found: &mut Sensors) {
    for channel in 0..3 {
        let Ok(rail) = tree.read(&format!("{folder}/rail_name_{channel}")) else { continue };
        let reader = Reader::Scaled { path: format!("{folder}/in_power{channel}_input"), watts_per_unit: 1e-3 };
        add(tree, &rail, if rail == "POM_5V_IN" { Domain::BoardInput } else { Domain::Rail }, reader, found);
    }
}

/// Millivolts and milliamperes of channels 1 to 3. `in4` to `in7` are voltages over the shunts, in microvolts.
fn find_hwmon(tree: &Arc<dyn SysTree>, folder: &str, found: &mut Sensors) {
    for channel in 1..=3 {
        let Ok(rail) = tree.read(&format!("{folder}/in{channel}_label")) else { continue };
        let is_off = tree.read(&format!("{folder}/in{channel}_enable")).is_ok_and(|enable| enable == "0");
        if is_off {
            continue;
        }
        let reader = Reader::Product {
            volts: format!("{folder}/in{channel}_input"),
            amperes: format!("{folder}/curr{channel}_input"),
            watts_per_unit: 1e-6,
        };
        add(tree, &rail, if rail == "VDD_IN" { Domain::Module } else { Domain::Rail }, reader, found);
    }
}

/// A rail that is not connected is called NC.
fn add(tree: &Arc<dyn SysTree>, rail: &str, domain: Domain, reader: Reader, found: &mut Sensors) {
    if rail.is_empty() || rail.eq_ignore_ascii_case("nc") {
        return;
    }
    let note = (domain == Domain::Module).then(|| "without the carrier board".to_owned());
    found.sensors.push(PowerSensor::new(&format!("ina3221 {rail}"), domain, tree, reader).with_note(note));
}
