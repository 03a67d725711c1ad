//! Batteries.

use std::sync::Arc;

use tinysaver_core::energy::Domain;

use super::battery::{folder, names};
use super::sensor::{PowerError, PowerSensor, Reader, Sensors, number};
use super::tree::SysTree;

/// A battery that feeds the board.
pub(super) struct Supply {
    folder: String,
    has_power: bool,
}

impl Supply {
    /// Watts while it discharges: only then does it show what the board draws. Whether that is a negative current differs
    /// from driver to driver.
    pub(super) fn read(&self, tree: &dyn SysTree) -> Result<Option<f64>, PowerError> {
        let path = format!("{}/status", self.folder);
        let status = tree.read(&path).map_err(|source| PowerError::Read { path, source })?;
        if status != "Discharging" {
            return Ok(None);
        }
        let read = |file: &str| number(tree, &format!("{}/{file}", self.folder));
        let watts = if self.has_power {
            read("power_now")? * 1e-6
        } else {
            read("voltage_now")? * read("current_now")? * 1e-12
        };
        Ok(Some(watts.abs()))
    }
}

pub(super) fn find(tree: &Arc<dyn SysTree>, found: &mut Sensors) {
    for name in names(&**tree) {
        let folder = folder(&name);
        let has = |file: &str| tree.read(&format!("{folder}/{file}")).is_ok();
        let has_power = has("power_now");
        if has_power || has("voltage_now") && has("current_now") {
            let note = Some("only while it discharges".to_owned());
            let reader = Reader::Supply(Supply { folder, has_power });
            let sensor = PowerSensor::new(&format!("battery {name}"), Domain::Battery, tree, reader);
            found.sensors.push(sensor.with_note(note));
        }
    }
}
