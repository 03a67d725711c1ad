use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tinysaver_core::Record;

use super::*;
use crate::exit_log::read_logs;
use crate::exit_log::tests::sample;

fn writer(folder: &Path, max_bytes: u64, max_file_bytes: u64) -> LogWriter {
    let sync_interval = Duration::from_secs(1);
    LogWriter::new(LogOptions { folder: folder.into(), max_bytes, max_file_bytes, sync_interval })
}

fn read(folder: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    read_logs(&[folder.into()], |record| records.push(record)).unwrap();
    records
}

fn sequences(folder: &Path) -> Vec<u64> {
    read(folder).iter().map(|record| record.sequence).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn line_bytes() -> u64 {
    serde_json::to_vec(&sample(1)).unwrap().len() as u64 + 1
}

#[test]
fn every_record_is_in_the_file_when_append_returns() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = writer(&folder.path().join("a/b"), 1 << 20, 1 << 20);
    assert!(names(folder.path()).is_empty(), "new touches nothing");
    for sequence in 0..3 {
        log.append(&sample(sequence), Duration::ZERO);
        assert_eq!(read(&folder.path().join("a/b")).last(), Some(&sample(sequence)));
    }
    log.finish();
    assert_eq!((log.written(), log.lost()), (3, 0));
}

#[test]
fn a_second_run_begins_a_new_file_behind_a_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("exits-0000000006.jsonl"), "{\"schema\":1,").unwrap();
    let mut log = writer(folder.path(), 1 << 20, 1 << 20);
    log.append(&sample(0), Duration::ZERO);
    assert_eq!(names(folder.path()), ["exits-0000000006.jsonl", "exits-0000000007.jsonl"]);
    let counts = read_logs(&[folder.path().into()], |_| {}).unwrap();
    assert_eq!((counts.files, counts.records, counts.torn), (2, 1, 1));
}

#[test]
fn rotation_keeps_the_newest_within_the_limit_and_foreign_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), vec![b'x'; 100_000]).unwrap();
    fs::write(folder.path().join("exits-0000000001.jsonl"), vec![b'x'; 3000]).unwrap();
    let mut log = writer(folder.path(), 6 * line_bytes(), 2 * line_bytes());
    for sequence in 0..9 {
        log.append(&sample(sequence), Duration::ZERO);
        let ours = list(folder.path()).unwrap();
        assert!(ours.iter().map(|file| file.bytes).sum::<u64>() <= 6 * line_bytes());
    }
    assert_eq!(sequences(folder.path()), [4, 5, 6, 7, 8]);
    assert!(folder.path().join("notes.txt").exists());
    assert_eq!((log.written(), log.lost()), (9, 0));
}

#[test]
fn a_record_above_the_whole_limit_is_lost_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = writer(folder.path(), 100, 100);
    log.append(&sample(0), Duration::ZERO);
    assert_eq!((log.written(), log.lost()), (0, 1));
}

#[test]
fn a_file_limit_of_the_whole_size_still_keeps_half_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = writer(folder.path(), 20 * line_bytes(), 20 * line_bytes());
    for sequence in 0..200 {
        log.append(&sample(sequence), Duration::ZERO);
        let kept = sequences(folder.path()).len() as u64;
        assert!(kept >= 9.min(sequence + 1), "{kept} kept after {sequence}");
    }
}

#[test]
fn a_record_that_is_too_long_costs_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = writer(folder.path(), 1 << 30, 1 << 30);
    log.append(&Record { source: "x".repeat(1 << 20), ..sample(0) }, Duration::ZERO);
    log.append(&sample(1), Duration::ZERO);
    assert_eq!((log.written(), log.lost()), (1, 1));
    assert_eq!(sequences(folder.path()), [1]);
}

#[test]
fn a_bad_folder_is_tried_once_a_second_until_it_works() {
    let folder = tempfile::tempdir().unwrap();
    let blocker = folder.path().join("log");
    fs::write(&blocker, "a file where a folder should be").unwrap();
    let mut log = writer(&blocker, 1 << 20, 1 << 20);
    log.append(&sample(0), Duration::ZERO);
    fs::remove_file(&blocker).unwrap();
    log.append(&sample(1), Duration::from_millis(999));
    assert_eq!((log.written(), log.lost()), (0, 2), "not tried before a second has passed");
    log.append(&sample(2), Duration::from_millis(1000));
    assert_eq!((log.written(), log.lost()), (1, 2));
    assert_eq!(sequences(&blocker), [2]);
}

#[test]
fn a_folder_deleted_in_mid_run_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("log");
    let mut log = writer(&logs, 1 << 20, 1 << 20);
    log.append(&sample(0), Duration::ZERO);
    fs::remove_dir_all(&logs).unwrap();
    log.append(&sample(1), Duration::ZERO);
    log.finish();
    assert_eq!(sequences(&logs), [1]);
    assert_eq!(log.lost(), 0);
}

#[test]
fn two_writers_in_one_folder_do_not_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut logs = [writer(folder.path(), 1 << 20, line_bytes()), writer(folder.path(), 1 << 20, line_bytes())];
    for sequence in 0..8 {
        logs[sequence % 2].append(&sample(sequence as u64), Duration::ZERO);
    }
    assert_eq!(sequences(folder.path()), [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_record_is_synced_at_the_latest_after_the_interval() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = writer(folder.path(), 1 << 20, 1 << 20);
    let unsynced = |log: &LogWriter| log.current.as_ref().unwrap().unsynced_since;
    log.append(&sample(0), Duration::from_millis(300));
    log.append(&sample(1), Duration::from_millis(900));
    assert_eq!(unsynced(&log), Some(Duration::from_millis(300)));
    log.sync_if_due(Duration::from_millis(1299));
    assert!(unsynced(&log).is_some());
    log.sync_if_due(Duration::from_millis(1300));
    assert_eq!(unsynced(&log), None);
    log.append(&sample(2), Duration::from_millis(1400));
    log.finish();
    assert_eq!(unsynced(&log), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_cut_in_the_last_file_costs_its_torn_line_only(
        sources in prop::collection::vec(".{0,40}", 1..30), per_file in 1u64..8, cut in 0u64..2000,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), 1 << 30, per_file * line_bytes());
        let mut records = Vec::new();
        for (sequence, source) in sources.into_iter().enumerate() {
            let record = Record { source, ..sample(sequence as u64) };
            log.append(&record, Duration::ZERO);
            records.push(record);
        }
        log.finish();
        let last = list(folder.path()).unwrap().pop().unwrap();
        let content = fs::read(&last.path).unwrap();
        let keep = content.len().saturating_sub(usize::try_from(cut).unwrap());
        fs::write(&last.path, &content[..keep]).unwrap();
        let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
        let whole = records.len() - lines(&content) + lines(&content[..keep]);
        let torn = u64::from(keep > 0 && content[keep - 1] != b'\n');

        let mut back = Vec::new();
        let counts = read_logs(&[folder.path().into()], |record| back.push(record)).unwrap();
        prop_assert_eq!(&back[..], &records[..whole]);
        prop_assert_eq!((counts.records, counts.torn, counts.malformed), (whole as u64, torn, 0));
    }
}
