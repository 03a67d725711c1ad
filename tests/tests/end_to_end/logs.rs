//! The exit log: what was acknowledged is read back, whatever happens to the program or the disk.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use tinysaver_tests::{finish, tinysaver};

fn report(folder: &str) -> Value {
    let finished = finish(&["report", "--json", folder]).unwrap();
    assert_eq!(finished.code, 0, "{}", finished.err);
    serde_json::from_str(&finished.out).unwrap()
}

#[test]
fn report_adds_up_several_runs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for _ in 0..2 {
        let finished = finish(&["run", "-q", "--source", "test://?frames=3&size=320x240", "--log", path]).unwrap();
        assert!(finished.code == 0 && finished.out.contains("3 records in"), "{finished:?}");
    }
    let report = report(path);
    assert_eq!(
        (&report["runs"], &report["summary"]["frames_in"], &report["log"]["torn"]),
        (&2.into(), &6.into(), &0.into())
    );
}

#[test]
fn what_was_shown_is_in_the_log_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let mut command =
        tinysaver(&["run", "--json", "--threshold", "0", "--source", "test://?frames=10000&size=64x64", "--log", path]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let shown: Vec<Value> =
        lines.by_ref().take(300).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let report = report(path);
    assert!(report["log"]["records"].as_u64().unwrap() >= shown.len() as u64, "{report}");
}

#[test]
fn a_torn_line_is_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    finish(&["run", "-q", "--source", "test://?frames=3&size=320x240", "--log", path]).unwrap();
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 20]).unwrap();
    let report = report(path);
    assert_eq!((&report["log"]["records"], &report["log"]["torn"]), (&2.into(), &1.into()));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let finished = finish(&["run", "--source", "test://?frames=3&size=320x240", "--log", "/proc/nowhere"]).unwrap();
    assert!(finished.code == 0 && finished.out.contains("0 records in /proc/nowhere, 3 lost"), "{finished:?}");
    assert_eq!(finished.err.matches("cannot write").count(), 1, "one warning, not one a frame: {}", finished.err);
}

#[test]
fn ctrl_c_finishes_the_frame_and_prints_the_summary() {
    let mut command = tinysaver(&["run", "--json", "--source", "test://?frames=100000&size=64x64"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let last = lines.map_while(Result::ok).last().unwrap();
    assert!(child.wait().unwrap().success());
    let summary: Value = serde_json::from_str(&last).unwrap();
    assert!(summary["summary"]["frames_in"].as_u64().unwrap() >= 1, "{last}");
}

#[test]
fn memory_stays_flat_over_500_pictures() {
    let mut command =
        tinysaver(&["run", "--json", "--threshold", "0.5", "--source", "test://?frames=500&size=320x240"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peaks = Vec::new();
    for (index, line) in BufReader::new(child.stdout.take().unwrap()).lines().enumerate() {
        line.unwrap();
        if index == 100 || index == 499 {
            let text = std::fs::read_to_string(&status).unwrap();
            let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
            peaks.push(line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap());
        }
    }
    child.wait().unwrap();
    assert!(peaks[1] <= peaks[0] + peaks[0] / 50 + 1024, "peak KiB after 100 and 500 frames: {peaks:?}");
}
