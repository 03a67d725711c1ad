use super::*;
use crate::Throttle;
use crate::power::tree::tests::RecordedTree;
use crate::power::{Health, SensorChoice, choose_sensor, read_health};

const NANO: &str = include_str!("trees/jetson-nano.txt");
const ORIN: &str = include_str!("trees/jetson-orin.txt");
const PI4: &str = include_str!("trees/pi4.txt");
const PI5: &str = include_str!("trees/pi5.txt");
const ZERO: &str = include_str!("trees/pi-zero-2w.txt");
const X86: &str = include_str!("trees/x86.txt");

const SECOND: Duration = Duration::from_secs(1);

fn recorded(text: &str) -> (RecordedTree, Arc<dyn SysTree>) {
    let tree = RecordedTree::parse(text);
    (tree.clone(), Arc::new(tree))
}

/// Name, domain and watts of every sensor; -1 for no value, -2 for an error.
fn readings(text: &str) -> Vec<(String, Domain, f64)> {
    let mut found = find_sensors(&recorded(text).1);
    let read = |sensor: &mut PowerSensor| match sensor.read(SECOND) {
        Ok(watts) => watts.map_or(-1.0, |watts| watts.value()),
        Err(_) => -2.0,
    };
    found.sensors.iter_mut().map(|sensor| (sensor.name().to_owned(), sensor.domain(), read(sensor))).collect()
}

fn assert_readings(text: &str, expected: &[(&str, Domain, f64)]) {
    let found = readings(text);
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, expected.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
    for ((name, domain, watts), (_, expected_domain, expected_watts)) in found.iter().zip(expected) {
        assert_eq!(domain, expected_domain, "{name}");
        assert!((watts - expected_watts).abs() < 1e-6, "{name}: {watts} W, not {expected_watts}");
    }
}

#[test]
fn a_jetson_nano_tells_milliwatts_and_its_input_is_the_board() {
    assert_readings(
        NANO,
        &[
            ("ina3221 POM_5V_IN", Domain::BoardInput, 2.134),
            ("ina3221 POM_5V_GPU", Domain::Rail, 0.082),
            ("ina3221 POM_5V_CPU", Domain::Rail, 0.410),
        ],
    );
}

#[test]
fn an_orin_is_read_by_label_and_shunts_and_open_channels_are_not() {
    assert_readings(
        ORIN,
        &[
            ("ina3221 VDD_IN", Domain::Module, 5.008 * 0.912),
            ("ina3221 VDD_CPU_GPU_CV", Domain::Rail, 4.984 * 0.184),
            ("ina3221 VDD_SOC", Domain::Rail, 4.992 * 0.256),
            ("ina3221 VDDQ_VDD2_1V8AO", Domain::Rail, 0.5),
        ],
    );
}

#[test]
fn hats_tell_microwatts_and_a_shunt_that_nobody_set_is_noted() {
    assert_readings(
        PI4,
        &[
            ("ina219", Domain::AsWired, 4.14),
            ("ina226", Domain::AsWired, 5.5125),
            ("ina226 hwmon4", Domain::AsWired, 0.125),
        ],
    );
    let notes: Vec<bool> =
        find_sensors(&recorded(PI4).1).sensors.iter().map(|sensor| sensor.note().is_some()).collect();
    assert_eq!(notes, [true, false, false]);
}

#[test]
fn a_pi_5_whose_mailbox_cannot_be_opened_says_so() {
    let found = find_sensors(&recorded(PI5).1);
    assert!(found.sensors.is_empty());
    assert!(found.problems[0].contains("/dev/vcio") && found.problems[0].contains("'video'"), "{:?}", found.problems);
}

#[test]
fn a_battery_counts_while_it_discharges_whatever_its_sign() {
    assert_readings(ZERO, &[("battery hat-battery", Domain::Battery, 3.854 * 0.412)]);
    let (tree, shared) = recorded(ZERO);
    tree.set("sys/class/power_supply/hat-battery/status", "Full");
    assert_eq!(find_sensors(&shared).sensors[0].read(SECOND).unwrap(), None);
}

fn named<'a>(sensors: &'a mut Sensors, name: &str) -> &'a mut PowerSensor {
    sensors.sensors.iter_mut().find(|sensor| sensor.name() == name).unwrap()
}

fn watts(sensor: &mut PowerSensor, now: Duration) -> Option<f64> {
    sensor.read(now).unwrap().map(|watts| watts.value())
}

#[test]
fn counters_wrap_each_at_its_own_range() {
    let (tree, shared) = recorded(X86);
    let mut found = find_sensors(&shared);
    let names: Vec<&str> = found.sensors.iter().map(PowerSensor::name).collect();
    assert_eq!(names, ["rapl psys", "battery BAT0", "rapl package-0", "rapl core of 0"]);
    assert!(found.problems[0].contains("root only"), "dram is not permitted: {:?}", found.problems);
    let later = SECOND + Duration::from_millis(500);
    let package = named(&mut found, "rapl package-0");
    assert_eq!(watts(package, SECOND), None, "one reading is no power");
    tree.set("sys/class/powercap/intel-rapl:0/energy_uj", "1671150");
    // 328,850 to the end and 1,671,150 from there: 2 J in half a second.
    assert_eq!(watts(package, later), Some(4.0));
    assert_eq!(watts(package, later), None, "no time has passed");
    let core = named(&mut found, "rapl core of 0");
    assert_eq!(watts(core, SECOND), None);
    tree.set("sys/class/powercap/intel-rapl:0:0/energy_uj", "387");
    assert_eq!(watts(core, later), Some(2.0), "999,613 + 387");
}

#[test]
fn a_counter_that_began_anew_with_an_unknown_range_loses_the_sample() {
    let (tree, shared) = recorded(X86);
    let mut found = find_sensors(&shared);
    let platform = named(&mut found, "rapl psys");
    assert_eq!(watts(platform, SECOND), None);
    tree.set("sys/class/powercap/intel-rapl:1/energy_uj", "500");
    assert_eq!(watts(platform, 2 * SECOND), None, "never negative");
    tree.set("sys/class/powercap/intel-rapl:1/energy_uj", "3000500");
    assert_eq!(watts(platform, 3 * SECOND), Some(3.0));
    tree.set("sys/class/powercap/intel-rapl:1/energy_uj", "-5");
    assert!(platform.read(4 * SECOND).unwrap_err().to_string().contains("'-5' is not a number"));
    // A range below what was already counted is no range.
    tree.set("sys/class/powercap/intel-rapl:1/max_energy_range_uj", "7");
    tree.set("sys/class/powercap/intel-rapl:1/energy_uj", "1");
    assert_eq!(watts(platform, 5 * SECOND), None);
}

#[test]
fn a_laptops_charger_is_no_measurement_and_a_charging_battery_none_of_the_board() {
    let readings = readings(X86);
    assert!(readings.iter().all(|(name, ..)| !name.contains("ucsi") && !name.contains("AC")), "{readings:?}");
    assert_eq!(readings[1], ("battery BAT0".to_owned(), Domain::Battery, -1.0));
}

#[test]
fn a_sensor_that_goes_away_or_has_no_value_is_an_error_that_names_the_file() {
    let (tree, shared) = recorded(ORIN);
    let mut found = find_sensors(&shared);
    let sensor = named(&mut found, "ina3221 VDD_IN");
    let file = "sys/class/hwmon/hwmon1/curr2_input";
    for errno in [libc::EAGAIN, libc::ETIMEDOUT, libc::ENODATA, libc::EACCES] {
        tree.fail(file, errno);
        let error = sensor.read(SECOND).unwrap_err().to_string();
        assert!(error.contains(file), "{error}");
    }
    tree.remove(file);
    assert!(sensor.read(SECOND).is_err());
    tree.set(file, "garbage");
    assert!(sensor.read(SECOND).unwrap_err().to_string().contains("'garbage' is not a number"));
    tree.set(file, "912");
    assert!((watts(sensor, SECOND).unwrap() - 4.567_296).abs() < 1e-9, "and it may come back");
}

#[test]
fn the_sensor_that_sees_most_is_chosen_and_one_that_was_asked_for_has_to_be_there() {
    let chosen = |text: &str, choice: &str| {
        let sensor = choose_sensor(&choice.parse().unwrap(), &recorded(text).1)?;
        Ok::<_, String>(sensor.map(|sensor| sensor.source().to_string()))
    };
    assert_eq!(chosen(NANO, "auto"), Ok(Some("measured:ina3221 POM_5V_IN [board input]".into())));
    assert_eq!(chosen(ORIN, "auto"), Ok(Some("measured:ina3221 VDD_IN [module]".into())));
    assert_eq!(chosen(PI4, "auto"), Ok(None), "nobody knows what a hat measures");
    assert_eq!(chosen(PI4, "ina226"), Ok(Some("measured:ina226 [as wired]".into())));
    assert_eq!(chosen(ORIN, "none"), Ok(None));
    let error = chosen(ORIN, "ina3221 VDD_INN").unwrap_err();
    assert!(error.contains("'ina3221 VDD_IN'") && error.contains("file:PATH"), "{error}");
    assert!(chosen(PI5, "pmic").unwrap_err().contains("'video'"));
    assert_eq!("file:".parse::<SensorChoice>().unwrap_err(), "'file:': a path or a command is missing");
}

#[test]
fn health_is_read_and_what_cannot_be_is_not_invented() {
    let health = |text: &str| read_health(&*recorded(text).1);
    let pi4 = health(PI4);
    assert_eq!((pi4.throttle, pi4.throttle.now()), (Throttle::Bits(0x50005), vec!["under-voltage", "throttled"]));
    assert_eq!((pi4.temperatures[0].zone.as_str(), pi4.temperatures[0].celsius), ("cpu-thermal", 81.303));
    let clock = &pi4.clocks[0];
    assert_eq!(
        (clock.current_mhz, clock.max_mhz, clock.governor.as_deref()),
        (Some(1500.0), Some(1800.0), Some("ondemand"))
    );
    assert_eq!(health(PI5).throttle, Throttle::Bits(0), "another path, and well");
    assert_eq!(health(ZERO).throttle, Throttle::Unknown, "no file is not the same as no trouble");
    let zones = |health: Health| health.temperatures.into_iter().map(|zone| zone.zone).collect::<Vec<_>>();
    assert_eq!(zones(health(NANO)), ["AO-therm", "CPU-therm"], "a zone that is off reads -256 degrees");
    assert_eq!(zones(health(ORIN)), ["cpu-thermal"], "or EAGAIN");
    assert_eq!(health(ORIN).power_mode.as_deref(), Some("pmode:0002"));
    assert_eq!(health(""), Health::default());
}
