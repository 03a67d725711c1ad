//! Whether the board is held back by heat or a weak power supply: what the Raspberry Pi's firmware or its voltage sensor
//! say. A board that says nothing is unknown, never well.

use std::fs;
use std::path::{Path, PathBuf};

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
        let firmware = first_match(root, "sys/devices/platform/soc*/*:firmware/get_throttled");
        let bits = firmware.and_then(|path| u32::from_str_radix(fs::read_to_string(path).ok()?.trim(), 16).ok());
        match bits.or_else(|| voltage_alarm(root)) {
            Some(bits) => Self::Bits(bits),
            None => Self::Unknown,
        }
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

/// What the kernel's own driver knows (`drivers/hwmon/raspberrypi-hwmon.c`): the voltage alone.
fn voltage_alarm(root: &Path) -> Option<u32> {
    let pattern = root.join("sys/class/hwmon/hwmon*/name");
    let mut names = glob::glob(pattern.to_str()?).ok()?.flatten();
    let name = names.find(|name| fs::read_to_string(name).is_ok_and(|name| name.trim() == "rpi_volt"))?;
    let alarm = fs::read_to_string(name.with_file_name("in0_lcrit_alarm")).ok()?;
    alarm.trim().parse::<u32>().ok().map(|alarm| if alarm == 0 { 0 } else { UNDER_VOLTAGE })
}

fn first_match(root: &Path, pattern: &str) -> Option<PathBuf> {
    glob::glob(root.join(pattern).to_str()?).ok()?.flatten().next()
}

#[cfg(test)]
mod tests {
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
