//! Budgets of energy: the threshold rises and falls, frames come less often, nothing goes below the floor without permission;
//! and what another gate would have cost.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tinysaver_tests::{Finished, finish, tinysaver};

use crate::face::Page;
use crate::main_job::run_json;
use crate::serve::Serving;

const PATTERN: &str = "test://?frames=120&size=320x240&seed=4";
const FLOOR: f64 = 0.5;

/// One core, 1 W idle and 3 W busy: whatever a machine does, it draws less than 9 W and more than 0.5 W.
fn board(folder: &TempDir) -> String {
    let path = folder.path().join("bench.toml");
    let power = "[power.modelled]\nidle_watts = 1.0\nfull_cpu_watts = 3.0\nsource = \"me\"\n";
    fs::write(&path, format!("name = \"bench\"\n[cpu]\ncores = 1\n{power}")).unwrap();
    path.to_str().unwrap().to_owned()
}

fn budgeted(more: &[&str]) -> (Vec<Value>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let board = board(&folder);
    let all = ["--threshold", "0.5", "--power-sensor", "none", "--board", &board];
    run_json(&[&all, more].concat())
}

fn thresholds(records: &[Value]) -> Vec<f64> {
    records.iter().map(|record| record["threshold"].as_f64().unwrap()).collect()
}

fn degradations(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["budget"]["degradation"].as_str().unwrap()).collect()
}

/// Each decision is by the threshold that its record names.
fn decided_by_their_own_thresholds(records: &[Value]) {
    for record in records {
        let exits = record["confidence"].as_f64() > record["threshold"].as_f64();
        assert_eq!(record["exit"] == "saver", exits, "{record}");
        let below = record["threshold"].as_f64() < Some(FLOOR);
        assert_eq!(record["budget"]["uncertified"] == true, below, "{record}");
    }
}

#[test]
fn a_generous_budget_buys_answers_of_the_base_and_the_log_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let log = log.to_str().unwrap();
    let (records, summary) = budgeted(&["--source", PATTERN, "--budget-watts", "9", "--log", log]);
    decided_by_their_own_thresholds(&records);
    assert!(thresholds(&records).iter().all(|threshold| *threshold >= FLOOR));
    assert_eq!(thresholds(&records)[0], FLOOR, "nothing is known yet");
    assert_eq!(*thresholds(&records).last().unwrap(), 1.0, "all that may be spent");
    assert_eq!((degradations(&records)[0], *degradations(&records).last().unwrap()), ("floor", "none"));
    let budget = &summary["energy"][0]["budget"];
    assert!(budget["budget_watts"] == 9.0 && budget["mean_watts"].as_f64() < Some(9.0), "{budget}");
    assert_eq!((budget["uncertified"].as_u64(), &budget["degradations"]["slower"]), (Some(0), &Value::Null));
    let spent = |name: &str| budget["degradations"][name]["wall_us"].as_u64().unwrap();
    assert!(spent("floor") > 0 && spent("none") > 0, "{budget}");
    let Finished { out, .. } = finish(&["report", log]).unwrap();
    assert!(out.contains("budget: 9.00 W, ") && out.contains("threshold above its floor"), "{out}");
    assert!(out.contains("threshold: 0.5 to 1") && out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let replayed = finish(&["replay", log, "--threshold", "0.5", "--json"]).unwrap();
    let replayed: Value = serde_json::from_str(&replayed.out).unwrap();
    assert_eq!((&replayed["own_alike"], &replayed["own_otherwise"]), (&120.into(), &0.into()), "{replayed}");
    assert!(replayed["exits_now"].as_u64() > replayed["exits_then"].as_u64(), "{replayed}");
}

#[test]
fn a_sensors_watts_are_a_budget_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watts");
    fs::write(&file, "6.5\n").unwrap();
    // However long this takes, the meter is not a silent one.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let sensor = format!("file:{}", file.display());
    let of = |watts| {
        // With a pace, so that there is idling to learn from: without, constant watts look as if work alone drew them.
        let live = ["--source", "test://?frames=60&size=320x240&seed=4", "--realtime", "--fps", "20"];
        let more = ["--longest-interval-ms", "60", "--threshold", "0.5"];
        run_json(&[&live[..], &["--power-sensor", &sensor, "--budget-watts", watts], &more].concat())
    };
    let (records, summary) = of("10");
    assert_eq!(*thresholds(&records).last().unwrap(), 1.0, "{summary}");
    assert_eq!(summary["energy"][0]["is_measured"], true);
    let (records, summary) = of("6");
    assert!(thresholds(&records)[40..].iter().all(|threshold| *threshold == FLOOR), "{summary}");
    assert_eq!(*degradations(&records).last().unwrap(), "starved");
}

#[test]
fn a_small_budget_slows_down_first_and_undercuts_only_by_permission() {
    let live = ["--source", "test://?frames=50&size=320x240&seed=4", "--realtime", "--fps", "40"];
    let (records, summary) = budgeted(&[&live[..], &["--budget-watts", "1.1", "--slowest-fps", "0.5"]].concat());
    assert!(thresholds(&records).iter().all(|threshold| *threshold == FLOOR), "{summary}");
    assert!(degradations(&records).contains(&"slower") && !degradations(&records).contains(&"none"), "{summary}");

    let starved = [&live[..], &["--budget-watts", "0.5", "--longest-interval-ms", "60"]].concat();
    let (records, summary) = budgeted(&starved);
    decided_by_their_own_thresholds(&records);
    assert!(thresholds(&records).iter().all(|threshold| *threshold == FLOOR), "{summary}");
    assert_eq!(*degradations(&records).last().unwrap(), "starved");
    let ended = |record: &Value| record["monotonic_us"].as_u64().unwrap();
    let last = ended(records.last().unwrap()) - ended(&records[35]);
    assert!(last >= 13 * 60_000, "the last frames came within {last} us");

    let (records, summary) = budgeted(&[&starved[..], &["--allow-uncertified"]].concat());
    decided_by_their_own_thresholds(&records);
    assert!(*thresholds(&records).last().unwrap() < FLOOR, "{summary}");
    assert!(summary["energy"][0]["budget"]["uncertified"].as_u64() > Some(0), "{summary}");
}

#[test]
fn heat_and_a_low_battery_are_heeded() {
    let root = tempfile::tempdir().unwrap();
    let set = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let battery = "sys/class/power_supply/BAT0";
    for (file, text) in [("type", "Battery"), ("status", "Discharging"), ("energy_now", "20000000")] {
        set(&format!("{battery}/{file}"), text);
    }
    let more = ["--source", PATTERN, "--budget-watts", "9", "--system-root", root.path().to_str().unwrap()];
    set(&format!("{battery}/capacity"), "19");
    let (records, summary) = budgeted(&more);
    assert!(thresholds(&records).iter().all(|threshold| *threshold == FLOOR), "{summary}");
    set(&format!("{battery}/capacity"), "80");
    let (records, summary) = budgeted(&more);
    assert_eq!(*thresholds(&records).last().unwrap(), 1.0, "{summary}");
    set("sys/devices/platform/soc/soc:firmware/get_throttled", "4");
    let (records, _) = budgeted(&more);
    let watts = |record: &Value| record["budget"]["watts"].as_f64().unwrap();
    assert!(watts(&records[0]) == 9.0 && watts(records.last().unwrap()) < 9.0, "it falls while the board is hot");
    let by_battery = ["--battery-wh", "1", "--battery-until", "1h"];
    let (records, _) = budgeted(&[&["--source", PATTERN][..], &by_battery, &more[4..]].concat());
    let told = watts(&records[10]);
    assert!((18.0..20.1).contains(&told), "20 Wh by its own word, for an hour: {told}");
}

#[test]
fn frames_that_a_base_elsewhere_answers_later_are_spent_on_as_well() {
    let server = Serving::start(&[]);
    let url = format!("grpc://{}", server.address);
    let base = ["--base", "lite0-96-f32", "--no-local-base", "--deadline-ms", "60000", "--offload", &url];
    let more = [&base[..], &["--source", PATTERN, "--budget-watts", "9", "--threshold", "0"]].concat();
    let folder = tempfile::tempdir().unwrap();
    let board = board(&folder);
    let (records, summary) = run_json(&[&["--power-sensor", "none", "--board", &board], &more[..]].concat());
    for (sequence, record) in records.iter().enumerate() {
        assert_eq!(record["sequence"], sequence);
        let exits = record["confidence"].as_f64() > record["threshold"].as_f64();
        assert_eq!(record["exit"] == "saver", exits, "{record}");
    }
    // At 0 no frame would ever ask: the base is tried, found affordable, and asked for all.
    assert!(records.iter().any(|record| record["exit"] == "base_remote"), "{summary}");
    assert_eq!(*thresholds(&records).last().unwrap(), 1.0, "{summary}");
}

#[test]
fn a_wait_for_its_turn_ends_at_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let board = board(&folder);
    let arguments = ["run", "--source", PATTERN, "--power-sensor", "none", "--board", &board, "--json"];
    let hours = ["--budget-watts", "0.5", "--longest-interval-ms", "9000000"];
    let mut child = tinysaver(&[&arguments[..], &hours].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"starved\"") && !line.contains("\"sequence\":31,") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success() && rest.contains("\"summary\""), "{rest}");
}

#[test]
fn budgets_that_cannot_be_kept_say_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (board, config) = (board(&folder), folder.path().join("c.toml"));
    let of =
        |more: &[&str]| finish(&[&["run", "--source", "test://?frames=3", "--power-sensor", "none"], more].concat());
    for (more, part) in [
        (&["--board", "none", "--budget-watts", "3"][..], "--board (pi4"),
        (&["--board", &board, "--budget-watts", "0"], "0 is no budget"),
        (&["--board", &board, "--budget-watts", "3", "--budget-joules-per-day", "9"], "more than one budget"),
        (&["--board", &board, "--battery-wh", "3"], "battery_until"),
        (&["--board", &board, "--battery-wh", "3", "--battery-until", "later"], "battery_until = later"),
        (&["--board", &board, "--allow-uncertified"], "--budget-watts"),
    ] {
        let Finished { code, err, .. } = of(more).unwrap();
        assert!(code == 2 && err.contains(part), "{more:?}: {code} {err}");
    }
    fs::write(&config, format!("board = \"{board}\"\n[budget]\nwats = 3\n")).unwrap();
    let config = config.to_str().unwrap();
    let Finished { code, err, .. } = of(&["--config", config]).unwrap();
    assert!(code == 2 && err.contains("c.toml:3: `wats = 3`"), "{err}");
    fs::write(config, format!("board = \"{board}\"\n[budget]\nwatts = 3\nslowest_fps = 2\n")).unwrap();
    let Finished { code, out, err } = of(&["--config", config]).unwrap();
    let line = "budget: 3 W on average, modelled:bench; threshold 0.7 or more (the pair's, not certified)";
    assert!(code == 0 && out.contains(line) && out.contains("at most 0.500 s apart"), "{out}{err}");
}

#[test]
fn metrics_tell_threshold_budget_and_power() {
    let folder = tempfile::tempdir().unwrap();
    let board = board(&folder);
    let budget = ["--board", &board, "--power-sensor", "none", "--budget-watts", "9", "--threshold", "0.5"];
    let page = Page::start(&[&["--source", "test://?frames=1000000&size=320x240&seed=4"], &budget[..]].concat());
    page.until("all that may be spent", |page| page.metric("tinysaver_threshold") == 1.0);
    assert_eq!(page.metric("tinysaver_budget_watts"), 9.0);
    assert_eq!(page.metric("tinysaver_degradation{degradation=\"none\"}"), 1.0);
    let watts = page.metric("tinysaver_mean_watts{source=\"modelled:bench\"}");
    assert!((1.0..9.0).contains(&watts), "{watts}");
    assert_eq!(page.end().code, 0);
}

#[test]
fn with_prices_the_cheapest_base_is_asked() {
    let server = Serving::start(&[]);
    let url = format!("grpc://{}", server.address);
    let all = ["--base", "lite0-96-f32", "--threshold", "1", "--deadline-ms", "60000", "--offload", &url];
    let of = |more: &[&str]| {
        let (records, summary) =
            run_json(&[&["--source", "test://?frames=40&size=320x240&seed=4"][..], &all, more].concat());
        let count = |exit: &str| records.iter().filter(|record| record["exit"] == exit).count();
        assert_eq!(count("base_local") + count("base_remote"), 40, "{summary}");
        (count("base_local"), count("base_remote"))
    };
    // A byte is dear: after one question to learn the way, all is done here.
    let (local, remote) = of(&["--price-per-byte", "1"]);
    assert!(local >= 30 && remote >= 1, "{local} here, {remote} there");
    let (_, remote) = of(&[]);
    assert!(remote >= 20, "without prices the server comes first: {remote}");
    for (more, part) in [
        (&["--price-per-joule", "1", "--offload", &url, "--board", "none"][..], "name the board with --board"),
        (&["--price-per-joule", "1"], "without --offload"),
        (&["--price-per-joule", "0", "--offload", &url], "prices are numbers"),
    ] {
        let arguments = [&["run", "--source", "test://?frames=1", "--power-sensor", "none"], more].concat();
        let Finished { code, err, .. } = finish(&arguments).unwrap();
        assert!(code == 2 && err.contains(part), "{more:?}: {err}");
    }
}

#[test]
fn replay_says_what_another_gate_would_have_cost_by_each_source() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let log = log.to_str().unwrap();
    for board in ["pi4", "pi5", "none"] {
        let more = ["--board", board, "--power-sensor", "none", "--log", log, "--threshold", "0.5"];
        run_json(&[&["--source", "test://?frames=20&size=320x240&seed=4"], &more[..]].concat());
    }
    let replayed = |more: &[&str]| -> Vec<Value> {
        let Finished { code, out, err } = finish(&[&["replay", log, "--json"], more].concat()).unwrap();
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()["costs"].as_array().unwrap().clone()
    };
    let joules = |report: &Value, when: &str| report[when]["joules"].as_f64().unwrap();
    let (saver, same, base) =
        (replayed(&["--threshold", "0"]), replayed(&["--threshold", "0.5"]), replayed(&["--threshold", "1"]));
    let sources: Vec<&Value> = same.iter().map(|report| &report["source"]).collect();
    assert_eq!(sources, [&Value::Null, &"modelled:pi4".into(), &"modelled:pi5".into()]);
    for index in 1..3 {
        assert!((joules(&same[index], "now") - joules(&same[index], "then")).abs() < 1e-9, "{}", same[index]);
        assert!(joules(&saver[index], "now") < joules(&saver[index], "then"), "{}", saver[index]);
        assert!(joules(&base[index], "now") > joules(&base[index], "then"), "{}", base[index]);
        assert!(base[index]["estimated"].as_u64() > Some(0), "{}", base[index]);
    }
    let dear = replayed(&["--threshold", "0.5", "--price-per-millisecond", "2"]);
    let then = &dear[1]["then"];
    assert!((then["price"].as_f64().unwrap() - 2.0 * then["milliseconds"].as_f64().unwrap()).abs() < 1e-6, "{then}");
    let Finished { out, .. } = finish(&["replay", log, "--threshold", "1"]).unwrap();
    for part in
        ["costs, no energy, 20 frames", "costs, modelled:pi4, 20 frames", "get the mean of what the others spent"]
    {
        assert!(out.contains(part), "{out}");
    }
    for (more, part) in [(&[][..], "--policy"), (&["--threshold", "1", "--price-per-byte=-1"], "prices are numbers")] {
        let Finished { code, err, .. } = finish(&[&["replay", log], more].concat()).unwrap();
        assert!(code == 2 && err.contains(part), "{err}");
    }
}
