//! The exit log: what was acknowledged is read back, whatever happens to the program or the disk.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tinysaver_tests::{Finished, binary, finish, root, tinysaver};

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
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let last = lines.map_while(Result::ok).last().unwrap();
    assert!(child.wait().unwrap().success());
    let summary: Value = serde_json::from_str(&last).unwrap();
    assert!(summary["summary"]["frames_in"].as_u64().unwrap() >= 1, "{last}");
}

/// Peak resident KiB so far.
fn peak_kib(process: &Child) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_stays_flat_over_500_photos() {
    let folder = tempfile::tempdir().unwrap();
    let photos = root().join("models/imagenet-lite/build/photos/labelled");
    let photos: Vec<_> = std::fs::read_dir(photos).unwrap().map(|entry| entry.unwrap().path()).collect();
    let photos = photos.iter().filter(|path| path.extension().is_some_and(|end| end == "jpg"));
    // More follow than a pipe holds records of: the process is still there when it is looked at.
    for (index, photo) in photos.cycle().take(700).enumerate() {
        std::os::unix::fs::symlink(photo, folder.path().join(format!("{index:03}.jpg"))).unwrap();
    }
    let mut command = tinysaver(&["run", "--json", "--source", folder.path().to_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut peaks = Vec::new();
    for (index, line) in BufReader::new(child.stdout.take().unwrap()).lines().enumerate() {
        line.unwrap();
        if index == 99 || index == 499 {
            peaks.push(peak_kib(&child));
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(peaks[1] <= peaks[0] + peaks[0] / 50 + 1024, "peak KiB after 100 and 500 photos: {peaks:?}");
}

/// Runs a script with `$1` the binary and `$2` a folder on a disk of 64 KiB of its own, in a mount namespace.
fn on_a_small_disk(script: &str) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size=64k none \"$2\" && {script}");
    // Mounting needs root, or a user namespace in which we are root.
    let user = if std::fs::read_dir("/root").is_ok() { "-m" } else { "-rm" };
    let mut command = Command::new("unshare");
    command.args([user, "sh", "-c", &script, "sh"]).arg(binary()).arg(folder.path()).current_dir(root());
    command.output().unwrap().into()
}

#[test]
fn on_a_full_disk_the_oldest_records_go_first() {
    // Not in /tmp, which the small disk may cover; and cargo's target may be elsewhere.
    let target = root().join("target");
    std::fs::create_dir_all(&target).unwrap();
    let settings = target.join("small-files.toml");
    std::fs::write(&settings, "[log]\nmax_file_bytes = 12000\n").unwrap();
    let run = "\"$1\" run -q --threshold 0 --source 'test://?frames=400&size=64x64' --log \"$2\"";
    let finished = on_a_small_disk(&format!("{run} --config {} && \"$1\" report --json \"$2\"", settings.display()));
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.out.contains("400 in = 400 answered") && finished.out.contains("400 records in"), "{finished:?}");
    assert!(finished.out.contains(", 0 lost"), "{finished:?}");
    let report: Value = serde_json::from_str(&finished.out[finished.out.find("\n{").unwrap()..]).unwrap();
    let kept = report["log"]["records"].as_u64().unwrap();
    assert!((20..200).contains(&kept) && report["log"]["torn"] == 0, "{report}");
}

#[test]
fn a_disk_that_fills_stops_nothing_and_is_said_once() {
    let run = "\"$1\" run -q --threshold 0 --source 'test://?frames=400&size=64x64' --log \"$2\"";
    let finished = on_a_small_disk(&format!("{run} && \"$1\" report --json \"$2\""));
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.out.contains("400 in = 400 answered"), "{finished:?}");
    assert_eq!(finished.err.matches("cannot write").count(), 1, "{finished:?}");
    let report: Value = serde_json::from_str(&finished.out[finished.out.find("\n{").unwrap()..]).unwrap();
    let kept = report["log"]["records"].as_u64().unwrap();
    assert!(kept > 20 && report["log"]["torn"] == 0, "{report}");
    assert!(finished.out.contains(&format!("{kept} records in")), "kept and lost add up: {finished:?}");
    assert!(finished.out.contains(&format!("{} lost", 400 - kept)), "{finished:?}");
}

#[test]
fn the_report_is_also_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let (log, page) = (folder.path().join("log"), folder.path().join("report.html"));
    let (log, file) = (log.to_str().unwrap(), page.to_str().unwrap());
    let photos = "models/imagenet-lite/build/photos/labelled";
    assert_eq!(finish(&["run", "-q", "--source", photos, "--log", log]).unwrap().code, 0);
    let Finished { code, out, err } = finish(&["report", log, "--html", file]).unwrap();
    assert!(code == 0 && out.contains("frames: 20 in") && out.ends_with(&format!("page: {file}\n")), "{out}{err}");
    let html = std::fs::read_to_string(&page).unwrap();
    for part in ["<!DOCTYPE html>", "saver 95.0 %", "base_local 5.0 %", "Slowest frames", "</html>"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("http"), "the page fetches nothing");
}
