//! The exit log: JSON Lines files `exits-NNNNNNNNNN.jsonl` in one folder, one [`tinysaver_core::Record`] a line.
//!
//! Invariants: a file is only ever appended to by the run that began it, so a torn line can only be the last of its
//! file; a line is whole if and only if its newline is there; nothing that goes wrong here stops an answer.

mod line_file;
mod reader;
mod writer;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

pub use reader::{ReadCounts, read_logs};
pub use writer::{LogOptions, LogWriter};

/// A longer line, its newline not counted, is no record of ours: nobody writes it, and who reads it passes it over.
const MAX_LINE_BYTES: usize = 1 << 20;

const PREFIX: &str = "exits-";
const SUFFIX: &str = ".jsonl";

/// A log file that lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct LogFile {
    index: u64,
    path: PathBuf,
    bytes: u64,
}

fn file_name(index: u64) -> String {
    format!("{PREFIX}{index:010}{SUFFIX}")
}

/// The index in the name of a file that is one of ours.
fn file_index(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Our files in a folder, oldest first. What is not a plain file of our naming is not ours.
fn list(folder: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let entry = entry?;
        let Some(index) = file_index(&entry.file_name()) else { continue };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                files.push(LogFile { index, path: entry.path(), bytes: metadata.len() });
            }
            Ok(_) => {}
            // Another process rotates in the same folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tinysaver_core::{Answer, Exit, Outcome, RECORD_SCHEMA, Record, StageMicros, Temperature, Threshold};

    /// An answered record to vary in tests.
    pub(crate) fn sample(sequence: u64) -> Record {
        Record {
            schema: RECORD_SCHEMA,
            run: "20261124T040000Z-77".into(),
            sequence,
            time_utc: format!("2026-11-24T04:00:{:02}.000250Z", sequence % 60),
            monotonic_us: sequence * 1_000_000,
            source: "photos/lion.jpg".into(),
            outcome: Outcome::Answered(Answer {
                exit: Exit::Saver,
                degraded: None,
                class: 291,
                label: "lion".into(),
                probability: 0.75,
                saver_class: 291,
                confidence: 0.75,
                threshold: Threshold::try_from(0.7).unwrap(),
                temperature: Temperature::ONE,
                input: None,
                reuse_check: None,
                macs: 197_000_000,
                macs_always_base: 860_000_000,
            }),
            truth: Some(291),
            stages_us: StageMicros {
                read: Some(90),
                decode: Some(800),
                resize: Some(70),
                saver: Some(9_000),
                ..StageMicros::default()
            },
            latency_us: 10_000,
            frame_age_us: None,
            sent_bytes: None,
            throttle: None,
            energy: None,
            budget: None,
            saver_model: "0123456789abcdef".into(),
            base_model: "fedcba9876543210".into(),
        }
    }

    #[test]
    fn only_our_names_have_an_index() {
        assert_eq!(file_index(OsStr::new(&file_name(42))), Some(42));
        assert_eq!(file_name(42), "exits-0000000042.jsonl");
        for other in
            ["exits-.jsonl", "exits-+1.jsonl", "exits-1.jsonl.bak", "exits-1", "x-exits-1.jsonl", "exits-a.jsonl"]
        {
            assert_eq!(file_index(OsStr::new(other)), None, "{other}");
        }
    }
}
