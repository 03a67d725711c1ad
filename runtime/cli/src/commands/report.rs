//! `tinysaver report`: any number of exit logs, added up.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use serde_json::json;
use tinysaver_core::{Record, Summary};

use crate::exit_log::{ReadCounts, read_logs};
use crate::summary_text::write_summary;

/// Arguments of `report`.
#[derive(clap::Args)]
pub struct ReportArgs {
    /// Exit logs: files, or folders that hold exits-*.jsonl
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

/// Which runs and when.
#[derive(Default)]
struct Span {
    runs: BTreeSet<String>,
    first_utc: Option<String>,
    last_utc: Option<String>,
}

impl Span {
    /// RFC 3339 in UTC sorts as text.
    fn add(&mut self, record: &Record) {
        if !self.runs.contains(&record.run) {
            self.runs.insert(record.run.clone());
        }
        if self.first_utc.as_ref().is_none_or(|first| record.time_utc < *first) {
            self.first_utc = Some(record.time_utc.clone());
        }
        if self.last_utc.as_ref().is_none_or(|last| record.time_utc > *last) {
            self.last_utc = Some(record.time_utc.clone());
        }
    }
}

/// Reads the logs and prints what they amount to.
pub fn execute(args: &ReportArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut summary = Summary::new()?;
    let mut span = Span::default();
    let counts = read_logs(&args.logs, |record| {
        summary.add(&record);
        span.add(&record);
    })?;
    let skipped = counts.torn + counts.malformed + counts.unknown_schema;
    if counts.records == 0 && skipped > 0 {
        bail!("no record of a known schema in {skipped} lines: these are no exit logs of this program's version");
    }
    let report = summary.report();
    if args.json {
        let object = json!({
            "log": {
                "files": counts.files, "records": counts.records, "torn": counts.torn,
                "malformed": counts.malformed, "unknown_schema": counts.unknown_schema,
            },
            "runs": span.runs.len(), "first_utc": span.first_utc, "last_utc": span.last_utc,
            "summary": report,
        });
        writeln!(out, "{object}")?;
        return Ok(());
    }
    if let (Some(first), Some(last)) = (&span.first_utc, &span.last_utc) {
        let runs = span.runs.len();
        writeln!(out, "{runs} {} from {first} to {last}", if runs == 1 { "run" } else { "runs" })?;
    }
    write_summary(out, &report)?;
    write_health(out, &counts)
}

fn write_health(out: &mut dyn Write, counts: &ReadCounts) -> anyhow::Result<()> {
    let ReadCounts { torn, malformed, unknown_schema, .. } = *counts;
    if torn + malformed + unknown_schema > 0 {
        writeln!(
            out,
            "skipped lines: {torn} torn at the end of a file, {malformed} malformed, {unknown_schema} of an unknown schema"
        )?;
    }
    Ok(())
}
