//! Whether the board is held back by heat or a weak power supply: what the Raspberry Pi's firmware or its voltage sensor
//! say. A board that says nothing is unknown, never well.

use std::path::Path;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::power::{RealTree, SysTree};

const PLATFORM: &str = "sys/devices/platform";
const HWMON: &str = "sys/class/hwmon";

/// Bits of the firmware's `get_throttled` (Raspberry Pi documentation, `vcgencmd`).
const UNDER_VOLTAGE: u32 = 1;
const FREQUENCY_CAPPED: u32 = 1 << 1;
const THROTTLED: u32 = 1 << 2;
const SOFT_TEMPERATURE_LIMIT: u32 = 1 << 3;
/// The same four since the board was started.
const SINCE_BOOT: u32 = 16;

/// What is known of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Throttle {
    /// This board has no such sensor, or it cannot be read.
    #[default]
    Unknown,
    /// The firmware's bits; 0 is well.
    Bits(u32),
}

impl Throttle {
    /// Reads the sensors below `root`, which is `/` outside of tests.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        Self::of(&RealTree::new(root))
    }

    /// Reads the sensors of a tree.
    pub(crate) fn of(tree: &dyn SysTree) -> Self {
        firmware(tree).or_else(|| voltage_alarm(tree)).map_or(Self::Unknown, Self::Bits)
    }

    /// What holds the board back at this moment, the worst first.
    #[must_use]
    pub fn now(self) -> Vec<&'static str> {
        let Self::Bits(bits) = self else { return Vec::new() };
        words(bits)
    }

    /// What held it back at some time since it was started.
    #[must_use]
    pub fn since_boot(self) -> Vec<&'static str> {
        let Self::Bits(bits) = self else { return Vec::new() };
        words(bits >> SINCE_BOOT)
    }
}

fn words(bits: u32) -> Vec<&'static str> {
    let names = [
        (UNDER_VOLTAGE, "under-voltage"),
        (THROTTLED, "throttled"),
        (SOFT_TEMPERATURE_LIMIT, "hot"),
        (FREQUENCY_CAPPED, "capped"),
    ];
    names.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name).collect()
}

/// For other programs: the bits and what they say, or nothing where nothing is known.
impl Serialize for Throttle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Bits(bits) = self else { return serializer.serialize_none() };
        let mut fields = serializer.serialize_struct("Throttle", 3)?;
        fields.serialize_field("bits", bits)?;
        fields.serialize_field("now", &self.now())?;
        fields.serialize_field("since_boot", &self.since_boot())?;
        fields.end()
    }
}

/// The firmware's own file: hexadecimal without 0x.
fn firmware(tree: &dyn SysTree) -> Option<u32> {
    let socs = tree.list(PLATFORM).into_iter().filter(|name| name.starts_with("soc"));
    let files = socs.flat_map(|soc| {
        let devices = tree.list(&format!("{PLATFORM}/{soc}")).into_iter().filter(|name| name.ends_with(":firmware"));
        devices.map(move |device| format!("{PLATFORM}/{soc}/{device}/get_throttled")).collect::<Vec<_>>()
    });
    let text = files.filter_map(|file| tree.read(&file).ok()).next()?;
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// What the kernel's own driver knows (`drivers/hwmon/raspberrypi-hwmon.c`): the voltage alone.
fn voltage_alarm(tree: &dyn SysTree) -> Option<u32> {
    let is_voltage = |chip: &String| tree.read(&format!("{HWMON}/{chip}/name")).is_ok_and(|name| name == "rpi_volt");
    let chip = tree.list(HWMON).into_iter().find(is_voltage)?;
    let alarm: u32 = tree.read(&format!("{HWMON}/{chip}/in0_lcrit_alarm")).ok()?.parse().ok()?;
    Some(if alarm == 0 { 0 } else { UNDER_VOLTAGE })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> Throttle {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Throttle::read(root.path())
    }

    #[test]
    fn boards_say_what_holds_them_back() {
        const PI4: &str = "sys/devices/platform/soc/soc:firmware/get_throttled";
        const PI5: &str = "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled";
        assert_eq!(tree(&[]), Throttle::Unknown, "no sensor is not a good sign");
        assert_eq!(tree(&[(PI4, "0\n")]), Throttle::Bits(0));
        assert_eq!(tree(&[(PI5, "50005\n")]), Throttle::Bits(0x50005), "hexadecimal, without 0x");
        assert_eq!(tree(&[(PI4, "garbage")]), Throttle::Unknown);
        let sensor = |alarm| {
            tree(&[
                ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
                ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
                ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", alarm),
            ])
        };
        assert_eq!((sensor("1\n").now(), sensor("0\n")), (vec!["under-voltage"], Throttle::Bits(0)));
        let all = Throttle::Bits(0xf_000f);
        assert_eq!(all.now(), ["under-voltage", "throttled", "hot", "capped"]);
        assert_eq!((all.since_boot(), Throttle::Bits(0x8_0000).since_boot()), (all.now(), vec!["hot"]));
        assert!(Throttle::Unknown.now().is_empty() && Throttle::Bits(0x5_0000).now().is_empty());
    }
}
