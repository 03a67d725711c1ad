use tinysaver_core::{DropReason, Exit, Outcome, Record, ReuseCheck, Summary};

use super::*;
use crate::exit_log::tests::sample;

fn summarise(records: &[Record]) -> SummaryReport {
    let mut summary = Summary::new().unwrap();
    records.iter().for_each(|record| summary.add(record));
    summary.report()
}

fn text(records: &[Record]) -> String {
    let mut out = Vec::new();
    write_summary(&mut out, &summarise(records)).unwrap();
    String::from_utf8(out).unwrap()
}

fn base(sequence: u64) -> Record {
    let mut record = sample(sequence);
    if let Outcome::Answered(answer) = &mut record.outcome {
        answer.exit = Exit::BaseLocal;
        answer.saver_class = 7;
        answer.confidence = 0.31;
        answer.macs = 1_057_000_000;
    }
    record.stages_us.base = Some(123_000);
    record.latency_us = 133_000;
    record
}

fn dropped(sequence: u64) -> Record {
    let mut record = sample(sequence);
    record.outcome = Outcome::Dropped { reason: DropReason::Damaged, detail: "ends early".into(), frames: 1 };
    record.truth = None;
    record.stages_us = tinysaver_core::StageMicros { read: Some(95), ..Default::default() };
    record
}

#[test]
fn a_run_reads_as_intended() {
    let mut wrong = sample(3);
    wrong.truth = Some(5);
    let records = [sample(0), sample(1), sample(2), wrong, base(4), dropped(5)];
    let expected = "\
frames: 6 in = 5 answered + 1 dropped (damaged 1)

exit             frames   ratio    p50 ms    p90 ms    p99 ms  accuracy
saver                 4  80.0 %      10.0      10.0      10.0    75.0 %
base_local            1  20.0 %       133       133       133   100.0 %
all                   5 100.0 %      10.0       133       133    80.0 %

stage            frames            p50 ms    p90 ms    p99 ms
read                  6              0.09      0.10      0.10
decode                5              0.80      0.80      0.80
resize                5              0.07      0.07      0.07
saver                 5              9.01      9.01      9.01
base                  1               123       123       123

operations: 1.8 of 4.3 GMAC, 57.1 % saved against always running the base
accuracy: 80.0 % (4 of 5 right, 95 % interval 37.6 to 96.4 %)
threshold: 0.7

saver confidence   frames  (# right, x wrong, . unknown)
0.30 to 0.35            1  xxxxxxxxxx
0.75 to 0.80            4  ##############################xxxxxxxxxx
";
    let text = text(&records);
    assert_eq!(text, expected);
    assert!(text.lines().all(|line| line.len() <= 80));
}

#[test]
fn nothing_and_only_drops_say_so() {
    assert_eq!(text(&[]), "frames: 0 in = 0 answered + 0 dropped\n");
    let expected = "\
frames: 1 in = 0 answered + 1 dropped (damaged 1)

stage            frames            p50 ms    p90 ms    p99 ms
read                  1              0.10      0.10      0.10
";
    assert_eq!(text(&[dropped(0)]), expected);
}

#[test]
fn without_truth_there_is_no_accuracy_column() {
    let mut record = sample(0);
    record.truth = None;
    let text = text(&[record]);
    assert!(text.contains("exit             frames   ratio    p50 ms    p90 ms    p99 ms\n"), "{text}");
    assert!(text.contains("accuracy: unknown (no frame has a known right class)\n"), "{text}");
    assert!(text.contains("0.75 to 0.80            1  ........................................\n"), "{text}");
}

#[test]
fn a_cascade_that_costs_more_says_so() {
    let report = |macs, macs_always_base, saved| OperationsReport { macs, macs_always_base, saved_ratio: Some(saved) };
    assert_eq!(operations(&report(1360, 1000, -0.36)), "1.4 of 1.0 kMAC, 36.0 % more than always running the base");
    assert_eq!(
        operations(&report(12_300_000_000, 34_400_000_000, 0.642)),
        "12.3 of 34.4 GMAC, 64.2 % saved against always running the base"
    );
    assert_eq!(operations(&OperationsReport { macs: 7, macs_always_base: 0, saved_ratio: None }), "7 MAC");
}

#[test]
fn small_and_large_times_keep_three_digits() {
    assert_eq!([5, 9_994, 12_345, 123_456, 60_000_000].map(milliseconds), ["0.01", "9.99", "12.3", "123", "60000"]);
}

#[test]
fn wilson_is_the_textbook_interval() {
    let (low, high) = wilson_95(8, 10).unwrap();
    assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
    assert_eq!(wilson_95(0, 0), None);
    assert_eq!(wilson_95(5, 5).unwrap().1, 1.0);
    assert_eq!(wilson_95(0, 5).unwrap().0, 0.0);
}

#[test]
fn a_range_of_thresholds_is_shown_as_one() {
    let mut report = summarise(&[sample(0)]);
    report.threshold_range = Some((0.5, 0.7));
    assert_eq!(thresholds(&report).unwrap(), "0.5 to 0.7");
}

#[test]
fn reuse_shows_its_share_its_saving_and_its_misses() {
    let reused = |sequence| {
        let mut record = sample(sequence);
        if let Outcome::Answered(answer) = &mut record.outcome {
            (answer.exit, answer.macs) = (Exit::Reused, 0);
        }
        record.stages_us.saver = None;
        record
    };
    let checked = |sequence, differs| {
        let mut record = sample(sequence);
        if let Outcome::Answered(answer) = &mut record.outcome {
            answer.reuse_check = Some(ReuseCheck { class: 5, differs });
        }
        record
    };
    let shown = text(&[sample(0), reused(1), reused(2), checked(3, false), checked(4, true), reused(5)]);
    assert!(shown.contains("reused: 3 of 6 answers (50.0 %), about 591.0 MMAC and "), "{shown}");
    assert!(shown.contains("reused, checked: 1 of 2 frames had another answer by then (50.0 %, "), "{shown}");
    assert!(text(&[sample(0), reused(1)]).contains("checked: none, so that misses are not known"));
    assert!(!text(&[sample(0)]).contains("reuse"));
}
