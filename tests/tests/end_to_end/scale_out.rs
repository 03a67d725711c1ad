//! `plan` and `export`: one server for many boards, and servers of others.

use std::fs;

use serde_json::Value;
use tinysaver_tests::{Finished, finish};

use crate::main_job::run_json;

fn plan(arguments: &[&str]) -> Value {
    let Finished { code, out, err } = finish(&[&["plan", "--json"], arguments].concat()).unwrap();
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn more_workers_carry_more_boards_and_logs_tell_rate_and_ratio() {
    let known = ["--fps", "1", "--exit-ratio", "0.9", "--service-ms", "40"];
    let boards =
        |workers: &str| plan(&[&known[..], &["--workers", workers]].concat())["largest_boards"].as_u64().unwrap();
    // 25 a second and worker, 0.1 a second and board: below 250 boards, and most of them.
    assert!((150..250).contains(&boards("1")), "{}", boards("1"));
    assert!(boards("2") > 2 * boards("1"), "two workers share one queue");
    let over = plan(&[&known[..], &["--boards", "300"]].concat());
    assert!(over["queue"]["utilisation"].is_null(), "{over}");

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().to_str().unwrap();
    let paced = ["--source", "models/imagenet-lite/build/photos/labelled", "--realtime", "--fps", "10", "--log", log];
    let (records, _) = run_json(&paced);
    let saver = records.iter().filter(|record| record["exit"] == "saver").count();
    let seen = plan(&["--log", log, "--service-ms", "40"]);
    let ratio = saver as f64 / records.len() as f64;
    assert!((seen["exit_ratio"].as_f64().unwrap() - ratio).abs() < 1e-9, "{seen}");
    // A busy machine may be slower than asked, never faster.
    assert!((0.5..10.5).contains(&seen["fps"].as_f64().unwrap()), "{seen}");
    let given = plan(&["--log", log, "--service-ms", "40", "--fps", "2", "--exit-ratio", "0.5"]);
    assert_eq!((given["fps"].as_f64(), given["requests_per_second_per_board"].as_f64()), (Some(2.0), Some(1.0)));
}

#[test]
fn plans_that_cannot_be_say_so() {
    for (arguments, part) in [
        (&["--service-ms", "40"][..], "--fps"),
        (&["--fps", "1", "--exit-ratio", "1.5", "--service-ms", "40"], "--exit-ratio"),
        (&["--fps", "1", "--exit-ratio", "0.5", "--service-ms", "0"], "--service-ms"),
        (&["--fps", "1", "--exit-ratio", "0.5", "--service-ms", "2000"], "deadline"),
        (&["--log", "/no/log", "--service-ms", "40"], "/no/log"),
    ] {
        let Finished { code, err, .. } = finish(&[&["plan"], arguments].concat()).unwrap();
        assert!(code != 0 && err.contains(part), "{arguments:?}: {code} {err}");
    }
}

#[test]
fn the_base_for_triton_and_kserve() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (repository, file) = (path("repository"), path("service.yaml"));
    let arguments = ["export", "--base", "lite0-96-f32", "--triton", &repository, "--kserve", &file];
    let storage = ["--storage-uri", "s3://bucket/base"];
    let Finished { code, out, err } = finish(&[&arguments[..], &storage].concat()).unwrap();
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().count(), 8, "{out}");
    let read = |name: &str| fs::read_to_string(format!("{repository}/{name}")).unwrap();
    let base = read("lite0-96-f32/config.pbtxt");
    assert!(base.contains("dims: [ 3, 96, 96 ]") && base.contains("dynamic_batching"), "{base}");
    assert!(read("lite0-96-f32_preprocess/config.pbtxt").contains("string_value: \"0.875\""));
    assert!(read("lite0-96-f32_jpeg/config.pbtxt").contains("ensemble_scheduling"));
    assert_eq!(read("lite0-96-f32/labels.txt").lines().count(), 1000);
    let model = format!("{repository}/lite0-96-f32/1/model.onnx");
    let inspected = finish(&["model", "inspect", &model]).unwrap();
    assert!(inspected.out.contains("[batch, 3, 96, 96]"), "{inspected:?}");
    assert!(fs::read_to_string(&file).unwrap().contains("storageUri: \"s3://bucket/base\""));

    for (arguments, part) in [
        (&["export"][..], "--triton"),
        (&["export", "--kserve", "x.yaml"], "--storage-uri"),
        (&["export", "--triton", &repository], "nothing is overwritten"),
        (&["export", "--triton", &path("new"), "--base", "lite9"], "no model 'lite9'"),
    ] {
        let Finished { code, err, .. } = finish(arguments).unwrap();
        assert!(code == 2 && err.contains(part), "{arguments:?}: {code} {err}");
    }
}
