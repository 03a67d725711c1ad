//! What a run costs: booked by a board's profile, and never invented.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tinysaver_tests::{Finished, finish};

use crate::main_job::run_json;
use crate::serve::Serving;

const LABELLED: &str = "models/imagenet-lite/build/photos/labelled";
const PATTERN: &str = "test://?frames=20&size=320x240&seed=4";

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Sums a field over records that have it.
fn sum(records: &[Value], field: &str) -> f64 {
    records.iter().filter_map(|record| record[field].as_f64()).sum()
}

fn row<'a>(energy: &'a Value, exit: &str) -> &'a Value {
    energy["exits"].as_array().unwrap().iter().find(|row| row["exit"] == exit).unwrap()
}

fn profile(folder: &TempDir, name: &str, power: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, format!("name = \"mine\"\n[cpu]\ncores = 2\n[power.modelled]\n{power}\nsource = \"me\"\n"))
        .unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_board_without_a_sensor_is_modelled_and_the_books_are_the_integral_of_its_power() {
    let (records, summary) = run_json(&["--source", LABELLED, "--board", "pi4", "--power-sensor", "none"]);
    for record in &records {
        assert_eq!(record["energy_source"], "modelled:pi4", "{record}");
        assert!(number(&record["energy_uj"]) > number(&record["energy_above_idle_uj"]), "{record}");
    }
    // 2.81 W on the clock; (6.39 - 2.81) / 4 W on each core: both models are int8.
    let sinks =
        |field: &str| -> f64 { records.iter().filter_map(|r| r["energy_stages"]["sinks"][field].as_f64()).sum() };
    let (work_us, between_us) = (sum(&records, "energy_wall_us"), sum(&records, "energy_idle_us") + sinks("us"));
    let work_uj = 2.81 * work_us + 0.895 * sum(&records, "energy_cpu_us");
    assert!((sum(&records, "energy_uj") / work_uj - 1.0).abs() < 0.01, "{summary}");
    let idle_uj = sum(&records, "energy_idle_uj") + sinks("uj");
    assert!(
        idle_uj >= 2.81 * between_us * 0.99 && idle_uj <= 2.81 * between_us + 4.0 * 0.895 * between_us,
        "{summary}"
    );
    for record in &records {
        let stages = record["energy_stages"].as_object().unwrap();
        assert!(["capture", "decode", "preprocess", "saver", "other"].iter().all(|stage| stages.contains_key(*stage)));
        assert_eq!(stages.contains_key("base_local"), record["exit"] == "base_local", "{record}");
        let of_frame = || stages.iter().filter(|(stage, _)| *stage != "sinks" && *stage != "wait");
        for (field, whole) in [("us", "energy_wall_us"), ("cpu_us", "energy_cpu_us"), ("uj", "energy_uj")] {
            let parts: f64 = of_frame().map(|(_, spent)| number(&spent[field])).sum();
            assert!((parts - number(&record[whole])).abs() <= 8.0, "{field}: {parts} in {record}");
        }
        assert!(number(&stages["saver"]["us"]) > 0.0, "{record}");
    }
    // Nothing between the first frame and the last answer is missing.
    let last_us = number(&records.last().unwrap()["monotonic_us"]);
    assert!(((work_us + between_us) / last_us - 1.0).abs() < 0.1, "{work_us} + {between_us} of {last_us}");
    let energy = &summary["energy"][0];
    assert_eq!((&energy["source"], &energy["is_measured"]), (&"modelled:pi4".into(), &false.into()));
    assert!(number(&energy["all"]["uj"]) >= sum(&records, "energy_uj") + idle_uj, "{energy}");
    let watts = number(&energy["mean_watts"]);
    assert!((2.81..6.5).contains(&watts), "{watts}");
    // Above idling, by processor time: what else the machine does cannot turn it round.
    let mean = |exit: &str| number(&row(energy, exit)["above_idle_uj"]) / number(&row(energy, exit)["frames"]);
    assert!(mean("base_local") > mean("saver"), "{energy}");
    let stages = row(energy, "base_local")["stages"].as_array().unwrap();
    let joules = |stage: &str| number(&stages.iter().find(|part| part["stage"] == stage).unwrap()["uj"]);
    assert!(joules("base_local") > joules("saver"), "{energy}");
    let saver = &energy["always_saver"];
    assert_eq!(saver["frames"], energy["all"]["frames"], "{energy}");
    assert!(number(&saver["joules"]) > 0.0 && number(&saver["saved_ratio"]) < 0.0, "{energy}");
    let base = &energy["always_base"];
    assert_eq!(base["frames"], row(energy, "base_local")["frames"], "{energy}");
    assert!(number(&base["joules"]) > 0.0 && number(&base["saved_ratio"]) < 1.0, "{energy}");
}

#[test]
fn where_nobody_knows_there_is_no_energy() {
    let (records, summary) = run_json(&["--source", PATTERN, "--board", "none", "--power-sensor", "none"]);
    assert!(records.iter().all(|record| !record.to_string().contains("energy")));
    assert_eq!(summary["energy"].as_array().unwrap().len(), 0);
    let Finished { out, .. } =
        finish(&["run", "--source", PATTERN, "--board", "none", "--power-sensor", "none"]).unwrap();
    assert!(!out.contains("energy"), "{out}");
}

#[test]
fn a_profile_of_ones_own_can_be_named_in_the_settings() {
    let folder = tempfile::tempdir().unwrap();
    let board = profile(&folder, "bench.toml", "idle_watts = 1.0\nfull_cpu_watts = 3.0");
    let config = folder.path().join("c.toml");
    fs::write(&config, format!("board = \"{board}\"\n[power]\nsensor = \"none\"\n")).unwrap();
    let (records, _) = run_json(&["--source", PATTERN, "--config", config.to_str().unwrap()]);
    assert_eq!(records[0]["energy_source"], "modelled:bench");
    let uj = sum(&records, "energy_wall_us") + sum(&records, "energy_cpu_us");
    assert!((sum(&records, "energy_uj") / uj - 1.0).abs() < 0.01);
}

#[test]
fn boards_that_cannot_be_used_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let no_full = profile(&folder, "idle.toml", "idle_watts = 1.0");
    let upside_down = profile(&folder, "down.toml", "idle_watts = 3.0\nfull_cpu_watts = 2.0");
    let misspelt = profile(&folder, "typo.toml", "idle_wats = 3.0");
    for (board, parts) in [
        ("pi6", &["no board 'pi6'", "pi-zero-2w"][..]),
        ("/no/such.toml", &["/no/such.toml"]),
        (&no_full, &["idle", "full_cpu_watts is missing"]),
        (&upside_down, &["down", "less than idle_watts"]),
        (&misspelt, &["typo.toml:5", "idle_wats"]),
    ] {
        let Finished { code, err, .. } =
            finish(&["run", "--source", PATTERN, "--power-sensor", "none", "--board", board]).unwrap();
        assert_eq!(code, 2, "{board}: {err}");
        assert!(parts.iter().all(|part| err.contains(part)), "{board}: {err}");
    }
}

#[test]
fn a_report_keeps_sources_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (log, page) = (folder.path().join("log"), folder.path().join("page.html"));
    let (log, page) = (log.to_str().unwrap(), page.to_str().unwrap());
    for board in ["pi4", "pi5", "none"] {
        run_json(&["--source", PATTERN, "--board", board, "--power-sensor", "none", "--log", log]);
    }
    let Finished { code, out, err } = finish(&["report", log, "--html", page, "--battery-wh", "20"]).unwrap();
    assert_eq!(code, 0, "{err}");
    for part in ["energy, modelled:pi4", "energy, modelled:pi5", "a battery of 20 Wh lasts"] {
        assert!(out.contains(part), "{out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("modelled:pi4") && page.contains("modelled:pi5"), "{page}");
    let report: Value = serde_json::from_str(&finish(&["report", log, "--json"]).unwrap().out).unwrap();
    let energy = report["summary"]["energy"].as_array().unwrap();
    assert_eq!(energy.iter().map(|of| &of["all"]["frames"]).collect::<Vec<_>>(), [20, 20]);
}

#[test]
fn waiting_for_a_base_elsewhere_is_booked_as_waiting() {
    let server = Serving::start(&[]);
    let url = format!("grpc://{}", server.address);
    let offload = ["--threshold", "1", "--base", "lite0-96-f32", "--no-local-base", "--deadline-ms", "60000"];
    let arguments = ["--source", PATTERN, "--board", "pi4", "--power-sensor", "none", "--offload", &url];
    let (records, summary) = run_json(&[&arguments[..], &offload].concat());
    assert!(records.iter().all(|record| record["exit"] == "base_remote" && record["energy_uj"].as_f64() > Some(0.0)));
    let energy = &summary["energy"][0];
    assert!(number(&energy["waiting"]["uj"]) >= 2.8 * number(&energy["waiting"]["wall_us"]), "{energy}");
    assert!(number(&energy["waiting"]["wall_us"]) > 0.0, "{energy}");
    assert_eq!(energy["always_base"], Value::Null, "no base ran here");
    for record in &records {
        assert!(number(&record["sent_bytes"]) > 1000.0 && number(&record["stages_us"]["encode"]) >= 0.0, "{record}");
        let stages = &record["energy_stages"];
        assert!(number(&stages["transmit"]["uj"]) >= 0.0 && stages["base_local"] == Value::Null, "{record}");
    }
}

/// The board's files as they would be below `/`.
fn tree(text: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some((path, content)) = line.split_once(" = ") {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    root
}

const ORIN: &str = include_str!("../../../runtime/board/src/power/trees/jetson-orin.txt");
const PI4: &str = include_str!("../../../runtime/board/src/power/trees/pi4.txt");

#[test]
fn power_lists_sensors_and_health_of_a_board() {
    let root = tree(ORIN);
    let root = root.path().to_str().unwrap();
    let arguments = ["power", "--seconds", "0", "--system-root", root];
    let report: Value = serde_json::from_str(&finish(&[&arguments[..], &["--json"]].concat()).unwrap().out).unwrap();
    assert_eq!(report["booked_by"], "measured:ina3221 VDD_IN [module]");
    let input = &report["sensors"][0];
    assert_eq!((&input["name"], &input["domain"]), (&"ina3221 VDD_IN".into(), &"module".into()));
    assert!((number(&input["mean_watts"]) - 4.567_296).abs() < 1e-9, "{input}");
    assert_eq!(report["throttle"], Value::Null);
    let Finished { out, .. } = finish(&arguments).unwrap();
    for part in ["Jetson Orin", "ina3221 VDD_IN", "module", "4.567", "throttling: unknown", "cpu-thermal 48.2 C"] {
        assert!(out.contains(part), "{out}");
    }
    let root = tree(PI4);
    let Finished { out, .. } =
        finish(&["power", "--seconds", "0", "--system-root", root.path().to_str().unwrap()]).unwrap();
    for part in
        ["modelled:pi4", "MLPerf", "ina219", "4.140", "under-voltage, throttled (bits 0x50005", "1500 of 1800 MHz"]
    {
        assert!(out.contains(part), "{out}");
    }
}

#[test]
fn a_sensor_measures_a_run_and_its_source_is_on_every_record() {
    let root = tree(ORIN);
    let root = root.path().to_str().unwrap();
    let (records, summary) = run_json(&["--source", PATTERN, "--system-root", root, "--idle-watts", "3"]);
    // On a machine that is busy with other things, the sensor's thread may come too late for some.
    let measured: Vec<&Value> = records.iter().filter(|record| record["energy_uj"] != Value::Null).collect();
    assert!(measured.len() >= 10, "{summary}");
    for record in measured {
        assert_eq!(record["energy_source"], "measured:ina3221 VDD_IN [module]");
        let (wall, uj) = (number(&record["energy_wall_us"]), number(&record["energy_uj"]));
        assert!((uj - 4.567_296 * wall).abs() <= 5.0 + 0.03 * uj, "{record}");
        assert!((number(&record["energy_above_idle_uj"]) - 1.567_296 * wall).abs() <= 5.0 + 0.03 * uj, "{record}");
    }
    let energy = &summary["energy"][0];
    assert!(
        energy["is_measured"] == true && (number(&energy["mean_watts"]) / 4.567_296 - 1.0).abs() < 0.03,
        "{energy}"
    );
}

#[test]
fn a_meter_outside_measures_by_file_or_program() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watts.csv");
    fs::write(&file, "watts\n2.0\n6.5\n").unwrap();
    // However long this takes, the meter is not a silent one.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let (records, summary) = run_json(&["--source", PATTERN, "--power-sensor", &format!("file:{}", file.display())]);
    assert!(records[0]["energy_source"].as_str().unwrap().ends_with("watts.csv [outside meter]"), "{}", records[0]);
    assert_eq!(records[0]["energy_above_idle_uj"], Value::Null, "nobody said what idling draws");
    assert!((number(&summary["energy"][0]["mean_watts"]) / 6.5 - 1.0).abs() < 0.03, "{summary}");
    let Finished { code, err, .. } = finish(&["run", "--source", PATTERN, "--power-sensor", "ina226"]).unwrap();
    assert!(code == 2 && err.contains("no power sensor 'ina226'"), "{err}");
}

#[test]
fn a_sensor_that_never_gives_a_value_invents_none() {
    let (records, summary) = run_json(&["--source", PATTERN, "--power-sensor", "file:/no/such/meter"]);
    assert!(records.iter().all(|record| record["energy_uj"] == Value::Null));
    assert_eq!(summary["energy"].as_array().unwrap().len(), 0, "{summary}");
}

#[test]
fn what_booking_costs_the_board_is_measured_there() {
    let root = tree(ORIN);
    let root = root.path().to_str().unwrap();
    let cost = |more: &[&str]| -> Value {
        let all = [&["power", "cost", "--seconds", "0.2", "--json", "--system-root", root], more].concat();
        let Finished { code, out, err } = finish(&all).unwrap();
        assert_eq!(code, 0, "{err}");
        serde_json::from_str(&out).unwrap()
    };
    let measured = cost(&[]);
    assert_eq!(measured["source"], "measured:ina3221 VDD_IN [module]");
    let sampling = &measured["sampling"];
    assert!(number(&sampling["readings"]) >= 2.0 && sampling["failed"] == 0, "{sampling}");
    // Another process may take the core; what this one worked is its own.
    assert!(number(&sampling["share_of_core"]) < 0.05 && number(&sampling["reading_us"]["min"]) > 0.0, "{sampling}");
    let modelled = cost(&["--power-sensor", "none", "--board", "pi4"]);
    assert!(modelled["sampling"].is_null() && number(&modelled["ledger"]["frame_us"]["min"]) > 0.0, "{modelled}");
    let Finished { code, err, .. } = finish(&["power", "cost", "--power-sensor", "none", "--board", "none"]).unwrap();
    assert!(code == 2 && err.contains("nothing would be booked"), "{err}");
}

#[test]
fn what_holds_the_board_back_is_on_every_record() {
    let root = tree(PI4);
    let arguments = ["--source", "test://?frames=2", "--system-root", root.path().to_str().unwrap()];
    let (records, _) = run_json(&[&arguments[..], &["--power-sensor", "none"]].concat());
    assert!(records.iter().all(|record| record["throttle"] == 0x5_0005), "{records:?}");
    let (records, _) = run_json(&["--source", "test://?frames=2", "--system-root", "/no/such/root"]);
    assert!(records.iter().all(|record| record["throttle"] == Value::Null), "unknown is not well");
}

#[test]
fn coefficients_are_fitted_to_a_meters_readings_and_run_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("readings.csv");
    let fit = |text: &str, more: &[&str]| {
        fs::write(&file, text).unwrap();
        finish(&[&["power", "fit", file.to_str().unwrap(), "--cores", "4"], more].concat()).unwrap()
    };
    let readings = "# USB meter\nwatts,busy_cores,f32_cores,sent_bytes_per_second\n2.81,0,0,0\n3.70,1,0,0\n6.40,4,0,0\n\
                    5.79,0,4,0\n3.41,0,0,300000\n4.62,1.5,0.5,50000\n";
    let Finished { code, out, err } = fit(readings, &["--note", "USB meter, \"my\" Pi 4"]);
    assert_eq!(code, 0, "{err}");
    let key = |key: &str| -> f64 {
        let line = out.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}: {out}"));
        line.split(['=', '#']).nth(1).unwrap().trim().parse().unwrap()
    };
    assert!((key("idle_watts") - 2.81).abs() < 0.05 && (key("full_cpu_watts") - 6.39).abs() < 0.1, "{out}");
    assert!((key("full_cpu_f32_watts") - 5.81).abs() < 0.1, "{out}");
    assert!((key("radio_microjoules_per_byte") - 2.0).abs() < 0.2, "{out}");
    assert!(out.contains("residual 0.0") && out.contains("my"), "{out}");
    let profile = folder.path().join("mine.toml");
    fs::write(&profile, format!("name = \"mine\"\n[cpu]\ncores = 4\n{out}")).unwrap();
    let profile = profile.to_str().unwrap();
    let (records, _) = run_json(&["--source", "test://?frames=2", "--board", profile, "--power-sensor", "none"]);
    assert_eq!(records[0]["energy_source"], "modelled:mine");
    for (text, words) in [
        ("watts,busy_cores\n2.8,0\n6.4,4\n", "2 readings for 2 unknowns: at least 3"),
        ("watts,busy_cores\n2.8,2\n2.9,2\n2.7,2\n", "busy_cores cannot be told from idle power"),
        ("watts,busy_cores\n2.8,0\n6.4,x\n", "readings.csv:3: 'x' is no number"),
        ("watts,busy_cores\n2.8,0\n6.4,9\n3,1\n", "9 cores were busy, the board has 4"),
    ] {
        let Finished { code, err, .. } = fit(text, &[]);
        assert!(code == 2 && err.contains(words), "{text}: {code} {err}");
    }
}
