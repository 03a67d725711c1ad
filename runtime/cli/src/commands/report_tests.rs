use clap::Parser;
use tinysaver_core::Record;

use super::*;
use crate::exit_log::tests::sample;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ReportArgs,
}

fn log(folder: &Path, records: &[Record], tail: &str) -> String {
    let path = folder.join("exits-0000000000.jsonl");
    let lines: String = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
    fs::write(&path, lines + tail).unwrap();
    folder.to_str().unwrap().to_owned()
}

fn report(args: &[&str]) -> anyhow::Result<String> {
    let cli = Cli::try_parse_from(["report"].iter().chain(args)).unwrap();
    let mut out = Vec::new();
    execute(&cli.args, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn text_begins_with_the_log_and_tells_what_was_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = log(folder.path(), &[sample(1), sample(2)], "x\n{\"schema\":1,");
    let text = report(&[&path]).unwrap();
    let expected = "\
log: 1 file, 1 run, 2026-11-24 04:00:01 to 2026-11-24 04:00:02 UTC
log: left out: 1 line cut off at the end of a file, 1 line not a record
frames: 2 in = 2 answered + 0 dropped
";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn json_is_one_object_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = log(folder.path(), &[sample(1), Record { run: "other".into(), ..sample(2) }], "");
    let value: serde_json::Value = serde_json::from_str(&report(&[&path, "--json"]).unwrap()).unwrap();
    assert_eq!(value["runs"], 2);
    assert_eq!(value["log"], serde_json::json!({"files":1,"records":2,"torn":0,"malformed":0,"unknown_schema":0}));
    assert_eq!(value["summary"]["answered"], 2);
    assert_eq!(value["summary"]["operations"]["macs"], 394_000_000);
    assert_eq!(value["first_utc"], "2026-11-24T04:00:01.000250Z");
    assert_eq!(value["last_utc"], "2026-11-24T04:00:02.000250Z");
}

#[test]
fn the_page_replaces_the_file_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    fs::write(&page, "old").unwrap();
    let path = log(folder.path(), &[sample(1)], "");
    let text = report(&[&path, "--html", page.to_str().unwrap()]).unwrap();
    assert!(text.ends_with("report.html\n"), "{text}");
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE html>"));
    assert_eq!(folder.path().read_dir().unwrap().count(), 2);
}

#[test]
fn a_link_stays_and_what_is_no_file_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (page, link) = (folder.path().join("real.html"), folder.path().join("link.html"));
    fs::write(&page, "old").unwrap();
    std::os::unix::fs::symlink(&page, &link).unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let path = log(folder.path(), &[sample(1)], "");
    report(&[&path, "--html", link.to_str().unwrap()]).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&page).unwrap().starts_with("<!DOCTYPE html>"));
    assert!(report(&[&path, "--html", socket.to_str().unwrap()]).is_err(), "a socket cannot be opened for writing");
    assert!(!fs::symlink_metadata(&socket).unwrap().is_file(), "and is still there");
}

#[test]
fn errors_name_what_they_are_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = log(folder.path(), &[sample(1)], "");
    let page = folder.path().join("missing/report.html");
    let error = report(&[&path, "--html", page.to_str().unwrap()]).unwrap_err().to_string();
    assert!(error.contains("missing/report.html"), "{error}");
    assert!(report(&["/no/such/log"]).unwrap_err().to_string().contains("/no/such/log"));
    assert!(Cli::try_parse_from(["report"]).is_err(), "a log is needed");
}
