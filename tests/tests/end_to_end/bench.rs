//! `tinysaver bench`.

use serde_json::Value;
use tinysaver_tests::finish;

const FILE: &str = "models/imagenet-lite/build/efficientnet_lite0_96.int8.onnx";

#[test]
fn a_file_is_timed() {
    let finished = finish(&["bench", FILE, "--count", "5", "--json"]).unwrap();
    assert_eq!(finished.code, 0, "{}", finished.err);
    let report: Value = serde_json::from_str(&finished.out).unwrap();
    assert_eq!((&report["count"], &report["threads"]), (&Value::from(5), &Value::from(1)));
    let model = &report["models"][0];
    assert!(model["engine"].as_str().unwrap().starts_with("int8-"), "{model}");
    for clock in ["cpu", "wall"] {
        let [low, median, high] = ["p10_ms", "median_ms", "p90_ms"].map(|key| model[clock][key].as_f64().unwrap());
        assert!(0.0 < low && low <= median && median <= high, "{model}");
    }
    let (macs, rate) = (model["macs"].as_f64().unwrap(), model["macs_per_second"].as_f64().unwrap());
    let implied = macs / (model["cpu"]["median_ms"].as_f64().unwrap() / 1e3);
    assert!((rate / implied - 1.0).abs() < 1e-6, "{model}");
}

#[test]
fn threads_are_said_and_all_of_their_time_counts() {
    let finished = finish(&["bench", FILE, "--count", "3", "--threads", "2", "--json"]).unwrap();
    assert_eq!(finished.code, 0, "{}", finished.err);
    let report: Value = serde_json::from_str(&finished.out).unwrap();
    assert_eq!(report["threads"], 2);
    let text = finish(&["bench", FILE, "--count", "3", "--threads", "2"]).unwrap();
    assert!(text.out.contains("2 threads, 3 inferences"), "{}", text.out);
}

#[test]
fn without_a_file_saver_and_base_are_timed() {
    let finished = finish(&["bench", "--count", "1", "--base", "lite0-96-int8"]).unwrap();
    assert_eq!(finished.code, 0, "{}", finished.err);
    assert!(finished.out.contains("lite0-160-int8") && finished.out.contains("lite0-96-int8"), "{}", finished.out);
    assert!(finished.out.contains("median [p10, p90]"), "{}", finished.out);
}

#[test]
fn kernels_are_forced_by_flag() {
    let finished = finish(&["bench", FILE, "--count", "1", "--kernel", "scalar"]).unwrap();
    assert!(finished.code == 0 && finished.out.contains("int8-scalar"), "{finished:?}");
    for arguments in [&["bench", FILE, "--kernel", "fast"][..], &["run", "--kernel", "fast"]] {
        let finished = finish(arguments).unwrap();
        assert_eq!(finished.code, 2);
        assert!(finished.err.contains("no kernels 'fast'") && finished.err.contains("scalar"), "{}", finished.err);
    }
}

#[test]
fn what_cannot_be_timed_is_said() {
    let none = finish(&["bench", "none.onnx"]).unwrap();
    assert!(none.code == 2 && none.err.contains("none.onnx"), "{none:?}");
    let zero = finish(&["bench", FILE, "--count", "0"]).unwrap();
    assert!(zero.code == 2 && zero.err.contains("--count"), "{zero:?}");
}

#[test]
fn the_whole_pair_is_benched_with_joules_and_compared_with_an_older_bench() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.json");
    let arguments = ["bench", "--all", "--seconds", "0.02", "--board", "pi4", "--power-sensor", "none"];
    let json = finish(&[&arguments[..], &["--json"]].concat()).unwrap();
    assert_eq!(json.code, 0, "{}", json.err);
    let report: Value = serde_json::from_str(&json.out).unwrap();
    let items = report["items"].as_array().unwrap();
    let named =
        |name: &str| items.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
    for name in ["decode 640x480 JPEG", "encode 640x480 JPEG", "lite0-160-int8", "lite0-160-f32", "lite2-260-int8"] {
        let item = named(name);
        let number = |key: &str| item[key].as_f64().unwrap_or_else(|| panic!("{key}: {item}"));
        assert!(0.0 < number("p50_ms") && number("p50_ms") <= number("p90_ms") && number("p90_ms") <= number("p99_ms"));
        // Idle is 2.81 W; one core, and whatever else this process does, is on top.
        let (joules, above) = (number("joules"), number("joules_above_idle"));
        assert!(joules > above && above > 0.0 && number("queries") >= 10.0, "{item}");
        assert!((2.81..6.5).contains(&number("mean_watts")), "{item}");
    }
    assert_eq!(items.len(), 4 + 12, "four stages, six sizes in f32 and int8");
    assert!((report["idle_watts"].as_f64().unwrap() - 2.81).abs() < 0.3, "{report}");
    let local = &report["break_even"][0];
    let expected =
        named("lite0-160-int8")["joules"].as_f64().unwrap() / named("lite2-260-int8")["joules"].as_f64().unwrap();
    assert!((local["exit_ratio_joules"].as_f64().unwrap() / expected - 1.0).abs() < 1e-9, "{local}");
    std::fs::write(&old, json.out).unwrap();
    let text = finish(&[&arguments[..], &["--compare", old.to_str().unwrap()]].concat()).unwrap();
    for part in [
        "# Bench of imagenet-lite",
        "| lite2-260-f32 |",
        "modelled:pi4",
        "## Against the older bench",
        "the saver pays",
    ] {
        assert!(text.out.contains(part), "{part}: {}", text.out);
    }
    std::fs::write(&old, "{}").unwrap();
    let none = finish(&[&arguments[..], &["--compare", old.to_str().unwrap()]].concat()).unwrap();
    assert!(none.code == 2 && none.err.contains("bench --all --json"), "{none:?}");
}
