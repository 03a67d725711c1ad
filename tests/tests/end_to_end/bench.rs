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
