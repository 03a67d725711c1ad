//! RAPL: counters of energy in x86 processors, by Linux's powercap.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tinysaver_core::energy::Domain;

use super::sensor::{PowerError, PowerSensor, Reader, Sensors, number};
use super::tree::SysTree;

const POWERCAP: &str = "sys/class/powercap";

/// A counter of microjoules that begins anew at a range of its own.
pub(super) struct Counter {
    folder: String,
    last: Option<(Duration, u64)>,
}

impl Counter {
    /// Mean watts since the last reading. Where the counter has begun anew and its range cannot be read, the sample is
    /// lost: nobody knows how far it came.
    pub(super) fn read(&mut self, tree: &dyn SysTree, now: Duration) -> Result<Option<f64>, PowerError> {
        let energy_uj = whole(tree, &format!("{}/energy_uj", self.folder))?;
        let Some((before, last_uj)) = self.last.replace((now, energy_uj)) else { return Ok(None) };
        let seconds = now.saturating_sub(before).as_secs_f64();
        let spent_uj = match energy_uj.checked_sub(last_uj) {
            Some(spent_uj) => Some(spent_uj),
            None => whole(tree, &format!("{}/max_energy_range_uj", self.folder))
                .ok()
                .and_then(|range_uj| range_uj.checked_sub(last_uj)?.checked_add(energy_uj)),
        };
        #[expect(clippy::cast_precision_loss, reason = "microjoules of a tenth of a second")]
        let watts = spent_uj.map(|spent_uj| spent_uj as f64 / 1e6 / seconds);
        Ok(watts.filter(|_| seconds > 0.0))
    }
}

fn whole(tree: &dyn SysTree, path: &str) -> Result<u64, PowerError> {
    let text = tree.read(path).map_err(|source| PowerError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|_| PowerError::NotANumber { path: path.to_owned(), text: text.chars().take(40).collect() })
}

/// `intel-rapl:0` is a package or the platform, `intel-rapl:0:1` a part of it. AMD's processors are listed under the same
/// name.
pub(super) fn find(tree: &Arc<dyn SysTree>, found: &mut Sensors) {
    let mut forbidden = false;
    for zone in tree.list(POWERCAP).iter().filter(|zone| zone.starts_with("intel-rapl:")) {
        let folder = format!("{POWERCAP}/{zone}");
        let Ok(name) = tree.read(&format!("{folder}/name")) else { continue };
        match number(&**tree, &format!("{folder}/energy_uj")) {
            Ok(_) => {}
            Err(PowerError::Read { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                forbidden = true;
                continue;
            }
            Err(_) => continue,
        }
        let is_part = zone.matches(':').count() > 1;
        let domain = match name.as_str() {
            _ if is_part => Domain::Rail,
            "psys" => Domain::BoardInput,
            _ => Domain::Package,
        };
        let parent = zone.split(':').nth(1).filter(|_| is_part);
        let name = parent.map_or_else(|| format!("rapl {name}"), |parent| format!("rapl {name} of {parent}"));
        let counter = Counter { folder, last: None };
        found.sensors.push(PowerSensor::new(&name, domain, tree, Reader::Counter(counter)));
    }
    if forbidden {
        found.problems.push(format!(
            "{POWERCAP}/*/energy_uj is readable by root only; chmod a+r it, or a udev rule: \
             SUBSYSTEM==\"powercap\", RUN+=\"/bin/chmod a+r /sys%p/energy_uj\""
        ));
    }
}
