//! Streams records out of log files, in bounded memory, and counts what is no record.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tinysaver_core::{OLDEST_RECORD_SCHEMA, RECORD_SCHEMA, Record};

use super::{MAX_LINE_BYTES, list};

const KNOWN_SCHEMAS: RangeInclusive<u64> = OLDEST_RECORD_SCHEMA as u64..=RECORD_SCHEMA as u64;

/// What was found while reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReadCounts {
    /// Files read.
    pub files: u64,
    /// Records of a known schema.
    pub records: u64,
    /// Last lines of a file that were cut off, as by a power cut.
    pub torn: u64,
    /// Other lines that are no record.
    pub malformed: u64,
    /// Records of a schema that this program does not know.
    pub unknown_schema: u64,
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file or folder.
    #[error("{}: there is no such file or folder", .path.display())]
    Missing {
        /// As given.
        path: PathBuf,
    },
    /// A folder without a log file in it.
    #[error("{}: this folder holds no exit log (looked for exits-*.jsonl in it)", .path.display())]
    NoLogs {
        /// As given.
        path: PathBuf,
    },
    /// It is there and cannot be read.
    #[error("{}: cannot read: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl ReadError {
    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound { Self::Missing { path } } else { Self::Io { path, source } }
    }
}

/// Calls `each` for every record of the files and folders, in the order given; a folder's files in index order.
///
/// # Errors
/// A path that is missing or unreadable, or a folder without a log in it. Lines that are no record are counted.
pub fn read_logs(paths: &[PathBuf], mut each: impl FnMut(Record)) -> Result<ReadCounts, ReadError> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        for found in expand(path)? {
            // A folder and one of its files: nobody wants a frame counted twice.
            let same = fs::canonicalize(&found.path).unwrap_or_else(|_| found.path.clone());
            if seen.insert(same) {
                files.push(found);
            }
        }
    }
    let mut counts = ReadCounts::default();
    for Found { path, listed } in files {
        match File::open(&path) {
            Ok(file) => {
                let read = read_lines(&mut BufReader::new(file), &mut counts, &mut each);
                read.map_err(|error| ReadError::io(&path, error))?;
                counts.files += 1;
            }
            // A run that is still going deleted its oldest file since we looked.
            Err(error) if listed && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ReadError::io(&path, error)),
        }
    }
    Ok(counts)
}

struct Found {
    path: PathBuf,
    listed: bool,
}

fn expand(path: &Path) -> Result<Vec<Found>, ReadError> {
    let metadata = fs::metadata(path).map_err(|error| ReadError::io(path, error))?;
    if !metadata.is_dir() {
        return Ok(vec![Found { path: path.to_owned(), listed: false }]);
    }
    let files = list(path).map_err(|error| ReadError::io(path, error))?;
    if files.is_empty() {
        return Err(ReadError::NoLogs { path: path.to_owned() });
    }
    Ok(files.into_iter().map(|file| Found { path: file.path, listed: true }).collect())
}

fn read_lines(reader: &mut impl BufRead, counts: &mut ReadCounts, each: &mut impl FnMut(Record)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        let end = next_line(reader, &mut line)?;
        let is_last = end == LineEnd::File || fill(reader)?.is_empty();
        match end {
            LineEnd::File if line.is_empty() => return Ok(()),
            LineEnd::File => counts.torn += 1,
            LineEnd::TooLong => counts.malformed += 1,
            LineEnd::Newline => match parse(&line) {
                Line::Record(record) => {
                    counts.records += 1;
                    each(*record);
                }
                Line::UnknownSchema => counts.unknown_schema += 1,
                Line::Nonsense if is_last => counts.torn += 1,
                Line::Nonsense => counts.malformed += 1,
            },
        }
        if is_last {
            return Ok(());
        }
    }
}

enum Line {
    Record(Box<Record>),
    UnknownSchema,
    Nonsense,
}

fn parse(line: &[u8]) -> Line {
    #[derive(Deserialize)]
    struct Version {
        schema: u64,
    }
    match serde_json::from_slice::<Record>(line) {
        Ok(record) if KNOWN_SCHEMAS.contains(&record.schema.into()) => Line::Record(Box::new(record)),
        Ok(_) => Line::UnknownSchema,
        Err(_) => match serde_json::from_slice::<Version>(line) {
            Ok(Version { schema }) if !KNOWN_SCHEMAS.contains(&schema) => Line::UnknownSchema,
            _ => Line::Nonsense,
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Newline,
    File,
    TooLong,
}

/// Reads up to the next newline into `line`, without it, and never keeps more than [`MAX_LINE_BYTES`].
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<LineEnd> {
    line.clear();
    let mut too_long = false;
    loop {
        let buffer = fill(reader)?;
        let newline = buffer.iter().position(|&byte| byte == b'\n');
        let part = buffer.get(..newline.unwrap_or(buffer.len())).unwrap_or_default();
        too_long |= line.len() + part.len() > MAX_LINE_BYTES;
        if !too_long {
            line.extend_from_slice(part);
        }
        let (at_end, used) = (buffer.is_empty(), part.len() + usize::from(newline.is_some()));
        reader.consume(used);
        match (newline.is_some() || at_end, too_long) {
            (true, true) => return Ok(LineEnd::TooLong),
            (true, false) if at_end => return Ok(LineEnd::File),
            (true, false) => return Ok(LineEnd::Newline),
            (false, _) => {}
        }
    }
}

/// `fill_buf` alone gives up when a signal comes in.
fn fill(reader: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match reader.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    reader.fill_buf()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_log::tests::sample;

    fn json(sequence: u64) -> Vec<u8> {
        let mut line = serde_json::to_vec(&sample(sequence)).unwrap();
        line.push(b'\n');
        line
    }

    fn count(content: &[u8]) -> (Vec<u64>, ReadCounts) {
        let (mut sequences, mut counts) = (Vec::new(), ReadCounts::default());
        // A tiny buffer, so that lines cross its border.
        let mut reader = BufReader::with_capacity(7, content);
        read_lines(&mut reader, &mut counts, &mut |record: Record| sequences.push(record.sequence)).unwrap();
        (sequences, counts)
    }

    #[test]
    fn counts_what_is_no_record() {
        let mut content = Vec::new();
        content.extend_from_slice(b"\0\0\0\0\n\xff\xfe\n{\"a\":1}\n[1]\n\n");
        content.extend_from_slice(&json(1));
        content.extend_from_slice(b"{\"schema\":3,\"anything\":[]}\n");
        content.extend_from_slice(&vec![b'x'; MAX_LINE_BYTES + 1]);
        content.push(b'\n');
        content.extend_from_slice(&json(2));
        content.extend_from_slice(b"{\"schema\":1,\"ru");
        let (sequences, counts) = count(&content);
        assert_eq!(sequences, [1, 2]);
        assert_eq!(counts, ReadCounts { files: 0, records: 2, torn: 1, malformed: 6, unknown_schema: 1 });
    }

    #[test]
    fn records_of_the_first_schema_are_still_read() {
        let line = serde_json::to_string(&sample(1)).unwrap().replace("\"schema\":2", "\"schema\":1") + "\n";
        assert_eq!(count(line.as_bytes()), (vec![1], ReadCounts { records: 1, ..ReadCounts::default() }));
    }

    #[test]
    fn an_unparsable_last_line_is_torn_and_nothing_is_nothing() {
        assert_eq!(count(b"").1, ReadCounts::default());
        assert_eq!(count(b"{\"sch\n").1, ReadCounts { torn: 1, ..ReadCounts::default() });
        let block = [json(1), vec![0; 4096]].concat();
        assert_eq!(count(&block).1, ReadCounts { records: 1, torn: 1, ..ReadCounts::default() });
    }

    #[test]
    fn a_newer_schema_that_looks_alike_is_not_taken_for_ours() {
        let line = serde_json::to_string(&sample(1)).unwrap().replace("\"schema\":2", "\"schema\":9") + "\n";
        assert_eq!(count(line.as_bytes()).1, ReadCounts { unknown_schema: 1, ..ReadCounts::default() });
    }

    #[test]
    fn paths_are_read_in_order_once_and_missing_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let empty = read_logs(&[folder.path().into()], |_| {}).unwrap_err().to_string();
        assert!(empty.contains("exits-*.jsonl"), "{empty}");
        fs::write(path("exits-0000000010.jsonl"), json(10)).unwrap();
        fs::write(path("exits-9.jsonl"), json(9)).unwrap();
        fs::write(path("other.jsonl"), json(1)).unwrap();
        let mut sequences = Vec::new();
        let paths = [path("other.jsonl"), folder.path().into(), path("exits-9.jsonl")];
        let counts = read_logs(&paths, |record| sequences.push(record.sequence)).unwrap();
        assert_eq!((sequences, counts.files), (vec![1, 9, 10], 3));
        let missing = read_logs(&[path("gone")], |_| {}).unwrap_err().to_string();
        assert!(missing.ends_with("gone: there is no such file or folder"), "{missing}");
    }
}
