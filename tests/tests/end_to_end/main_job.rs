//! Real photos through the real pair.

use serde_json::Value;
use tinysaver_tests::{Finished, finish};

const LABELLED: &str = "models/imagenet-lite/build/photos/labelled";

/// Runs with `--json`; returns the records and the summary, after checking that every frame is accounted for.
pub fn run_json(arguments: &[&str]) -> (Vec<Value>, Value) {
    let Finished { code, out, err } = finish(&[&["run", "--json"], arguments].concat()).unwrap();
    assert_eq!(code, 0, "{err}");
    let mut lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    let exits: u64 = summary["exits"].as_array().unwrap().iter().map(|exit| exit["frames"].as_u64().unwrap()).sum();
    let dropped = summary["dropped"].as_u64().unwrap();
    assert_eq!(summary["frames_in"].as_u64().unwrap(), exits + dropped, "frames in = sum of exits + dropped");
    assert_eq!(lines.len() as u64, exits + dropped, "one record a frame");
    (lines, summary)
}

fn exit_frames(summary: &Value, name: &str) -> u64 {
    let exits = summary["exits"].as_array().unwrap();
    exits.iter().find(|exit| exit["exit"] == name).unwrap()["frames"].as_u64().unwrap()
}

#[test]
fn the_labelled_photos_come_out_right_and_both_models_answer() {
    let (records, summary) = run_json(&["--source", LABELLED]);
    assert_eq!(records.len(), 20);
    assert_eq!(summary["accuracy"]["known"], 20);
    assert!(summary["accuracy"]["right"].as_u64().unwrap() >= 17, "{summary}");
    assert!(exit_frames(&summary, "saver") > 0 && exit_frames(&summary, "base_local") > 0, "{summary}");
    assert!(summary["operations"]["saved_ratio"].as_f64().unwrap() > 0.5, "{summary}");
}

#[test]
fn the_gate_is_strict_and_its_ends_mean_always() {
    for (threshold, exit) in [("0", "saver"), ("1", "base_local")] {
        let (_, summary) = run_json(&["--source", LABELLED, "--threshold", threshold]);
        assert_eq!(exit_frames(&summary, exit), 20, "threshold {threshold}");
    }
    let (records, _) = run_json(&["--source", LABELLED]);
    for record in records {
        let sure = record["confidence"].as_f64().unwrap() > record["threshold"].as_f64().unwrap();
        assert_eq!(record["exit"] == "saver", sure, "{record}");
    }
}

#[test]
fn threads_change_no_answer() {
    // What a record says, but for times.
    let answers = |threads: &str, base: &str| -> Vec<Value> {
        let (records, _) = run_json(&["--source", LABELLED, "--threads", threads, "--base", base]);
        let of = |record: &Value| {
            let keys = ["source", "exit", "class", "label", "probability", "saver_class", "confidence"];
            keys.map(|key| record[key].clone()).to_vec().into()
        };
        records.iter().map(of).collect()
    };
    for base in ["lite2-260-int8", "lite2-260-f32"] {
        let one = answers("1", base);
        assert!(one.iter().any(|answer| answer[1] == "saver") && one.iter().any(|answer| answer[1] == "base_local"));
        for threads in ["2", "3"] {
            assert_eq!(answers(threads, base), one, "{threads} threads, {base}");
        }
    }
}

#[test]
fn people_read_names_not_indices() {
    let lion = "models/imagenet-lite/build/photos/known/lion.jpg";
    let Finished { code, out, err } = finish(&["run", "--source", lion]).unwrap();
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("saver       lion"), "{out}");
    assert!(out.contains("frames: 1 in = 1 answered + 0 dropped"), "{out}");
}

#[test]
fn int8_and_f32_savers_agree_with_each_other() {
    let classes = |saver: &str| -> Vec<Value> {
        let (records, _) = run_json(&["--source", LABELLED, "--saver", saver, "--threshold", "0"]);
        records.iter().map(|record| record["class"].clone()).collect()
    };
    let same = classes("lite0-160-int8").iter().zip(classes("lite0-160-f32")).filter(|(a, b)| *a == b).count();
    assert!(same >= 18, "{same} of 20");
}

#[test]
fn every_kernel_gives_the_same_bits() {
    let confidences = |kernel: &str| -> Vec<Value> {
        let mut command = tinysaver_tests::tinysaver(&["run", "--json", "--source", "test://?frames=3&size=320x240"]);
        let finished: Finished = command.env("TINYSAVER_KERNEL", kernel).output().unwrap().into();
        assert_eq!(finished.code, 0, "{}", finished.err);
        let records = finished.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.take(3).map(|record| record["confidence"].clone()).collect()
    };
    let scalar = confidences("scalar");
    for kernel in ["auto", "avx2"] {
        if kernel == "auto" || std::env::consts::ARCH == "x86_64" {
            assert_eq!(scalar, confidences(kernel), "{kernel}");
        }
    }
}

#[test]
fn a_pattern_is_the_same_every_time() {
    let source = "test://?frames=4&seed=9&size=320x240";
    let classes = || run_json(&["--source", source]).0.iter().map(|r| r["confidence"].clone()).collect::<Vec<_>>();
    assert_eq!(classes(), classes());
}

#[test]
fn check_and_inspect_say_what_would_run() {
    let check = finish(&["check"]).unwrap();
    assert!(check.code == 0 && check.out.ends_with("ok\n") && check.out.contains("engine int8"), "{check:?}");
    for precision in ["f32", "int8"] {
        let file = format!("models/imagenet-lite/build/efficientnet_lite0_224.{precision}.onnx");
        let report: Value = serde_json::from_str(&finish(&["model", "inspect", "--json", &file]).unwrap().out).unwrap();
        assert_eq!(report["macs"], 385_187_552, "convolutions and matrix products, as published");
    }
}

#[test]
fn operations_are_counted_as_published() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mobilenet_v2.onnx");
    std::fs::write(&file, crate::onnx::mobilenet_v2().bytes()).unwrap();
    let report: Value =
        serde_json::from_str(&finish(&["model", "inspect", "--json", file.to_str().unwrap()]).unwrap().out).unwrap();
    assert_eq!(report["macs"], 300_774_272, "300.8 M");
}
