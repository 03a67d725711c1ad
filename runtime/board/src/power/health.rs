//! Temperature, throttling and clock: what makes figures of the same board differ.

use serde::Serialize;

use super::tree::SysTree;

const ZONES: &str = "sys/class/thermal";
const POLICIES: &str = "sys/devices/system/cpu/cpufreq";
const PLATFORM: &str = "sys/devices/platform";
const JETSON_MODE: &str = "var/lib/nvpmodel/status";

/// All of it; what cannot be read is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Health {
    /// One a zone that is on.
    pub temperatures: Vec<Temperature>,
    /// Of a Raspberry Pi; `None`: not known, which is not the same as none.
    pub throttle: Option<Throttle>,
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

/// A Raspberry Pi's bits of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Throttle {
    /// As the firmware gives them.
    pub bits: u32,
    /// The supply is too weak, now.
    pub under_voltage: bool,
    /// The clock is capped, now.
    pub frequency_capped: bool,
    /// The clock is lowered for heat or voltage, now.
    pub throttled: bool,
    /// The soft limit of temperature is reached, now.
    pub soft_temperature_limit: bool,
    /// Any of them since the start.
    pub ever: bool,
}

impl Throttle {
    /// Bits 0 to 3 are now, 16 to 19 the same since the start.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        let has = |bit: u32| bits & (1 << bit) != 0;
        Self {
            bits,
            under_voltage: has(0),
            frequency_capped: has(1),
            throttled: has(2),
            soft_temperature_limit: has(3),
            ever: bits & 0x000F_0000 != 0,
        }
    }
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
        throttle: throttle(tree),
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

/// Hexadecimal without 0x.
fn throttle(tree: &dyn SysTree) -> Option<Throttle> {
    let socs = tree.list(PLATFORM).into_iter().filter(|name| name.starts_with("soc"));
    let files = socs.flat_map(|soc| {
        let devices = tree.list(&format!("{PLATFORM}/{soc}")).into_iter().filter(|name| name.ends_with(":firmware"));
        devices.map(move |device| format!("{PLATFORM}/{soc}/{device}/get_throttled")).collect::<Vec<_>>()
    });
    let text = files.filter_map(|file| tree.read(&file).ok()).next()?;
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok().map(Throttle::from_bits)
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
