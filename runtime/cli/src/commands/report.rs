//! `tinysaver report`: what an exit log amounts to, as text, JSON or a page.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use tinysaver_core::{Record, Summary, SummaryReport};

use crate::energy::battery_hours;
use crate::exit_log::{ReadCounts, read_logs};
use crate::report_page::{Details, Heading, render};
use crate::summary_text::write_summary;

/// What to read and how to show it.
#[derive(Debug, Clone, clap::Args)]
pub struct ReportArgs {
    /// Exit logs to add up: files, or folders in which all exits-*.jsonl files are read
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// Print one JSON object instead of text, for other programs
    #[arg(long)]
    json: bool,
    /// Also write a page with plots into this file; it needs nothing else and opens in any browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Say how long a battery of so many watt-hours would last at the log's mean power
    #[arg(long, value_name = "WH", value_parser = parse_watt_hours)]
    battery_wh: Option<f64>,
}

fn parse_watt_hours(text: &str) -> Result<f64, String> {
    let watt_hours: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.001..=1e6).contains(&watt_hours) { Ok(watt_hours) } else { Err("not from 0.001 to 1000000".to_owned()) }
}

/// Reads the logs once and shows them.
///
/// # Errors
/// A log that is missing or unreadable, a page that cannot be written, or `out`.
pub fn execute(args: &ReportArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut collected = Collected::new(args.html.is_some())?;
    let counts = read_logs(&args.logs, |record| collected.add(&record))?;
    let skipped = counts.torn + counts.malformed + counts.unknown_schema;
    if counts.records == 0 && skipped > 0 {
        bail!("no record of a known schema in {skipped} lines: these are no exit logs of this program's version");
    }
    let overview = collected.overview(counts);
    if let (Some(path), Some(details)) = (&args.html, &collected.details) {
        let heading = Heading { line: overview.heading(), health: overview.health() };
        let page = render(&overview.summary, &heading, details).into_string();
        replace_file(path, page.as_bytes()).with_context(|| format!("cannot write the page {}", path.display()))?;
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &overview).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        write_text(out, &overview)?;
        if let Some(watt_hours) = args.battery_wh {
            write_battery(out, &overview.summary, watt_hours)?;
        }
        if let Some(path) = &args.html {
            writeln!(out, "\npage: {}", path.display())?;
        }
    }
    out.flush()?;
    Ok(())
}

struct Collected {
    summary: Summary,
    runs: BTreeSet<String>,
    first_utc: Option<String>,
    last_utc: Option<String>,
    /// Only for a page.
    details: Option<Details>,
}

impl Collected {
    fn new(with_details: bool) -> anyhow::Result<Self> {
        Ok(Self {
            summary: Summary::new()?,
            runs: BTreeSet::new(),
            first_utc: None,
            last_utc: None,
            details: with_details.then(Details::default),
        })
    }

    fn add(&mut self, record: &Record) {
        self.summary.add(record);
        if !self.runs.contains(&record.run) {
            self.runs.insert(record.run.clone());
        }
        // RFC 3339 in UTC with the same number of digits sorts as text.
        let time = &record.time_utc;
        if self.first_utc.as_ref().is_none_or(|first| time < first) {
            self.first_utc = Some(time.clone());
        }
        if self.last_utc.as_ref().is_none_or(|last| time > last) {
            self.last_utc = Some(time.clone());
        }
        if let Some(details) = &mut self.details {
            details.add(record);
        }
    }

    fn overview(&self, log: ReadCounts) -> Overview {
        Overview {
            log,
            summary: self.summary.report(),
            runs: self.runs.len(),
            first_utc: self.first_utc.clone(),
            last_utc: self.last_utc.clone(),
        }
    }
}

/// The object that `--json` prints.
#[derive(Debug, Serialize)]
struct Overview {
    log: ReadCounts,
    summary: SummaryReport,
    runs: usize,
    first_utc: Option<String>,
    last_utc: Option<String>,
}

impl Overview {
    fn heading(&self) -> String {
        let what = format!("{}, {}", counted(self.log.files, "file"), counted(self.runs as u64, "run"));
        match (&self.first_utc, &self.last_utc) {
            (Some(first), Some(last)) => format!("{what}, {} to {} UTC", to_seconds(first), to_seconds(last)),
            _ => what,
        }
    }

    /// Lines that are no record, if there are any.
    fn health(&self) -> Option<String> {
        let ReadCounts { torn, malformed, unknown_schema, .. } = self.log;
        let kinds = [
            (torn, "cut off at the end of a file"),
            (malformed, "not a record"),
            (unknown_schema, "of a schema that this program does not know"),
        ];
        let found = kinds.into_iter().filter(|(lines, _)| *lines > 0);
        let found: Vec<String> = found.map(|(lines, what)| format!("{} {what}", counted(lines, "line"))).collect();
        (!found.is_empty()).then(|| format!("left out: {}", found.join(", ")))
    }
}

fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// `2026-11-24T04:00:01.000250Z` as `2026-11-24 04:00:01`; what does not look like a time stays as it is.
fn to_seconds(time_utc: &str) -> String {
    match time_utc.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => time_utc.to_owned(),
    }
}

fn write_text(out: &mut dyn Write, overview: &Overview) -> io::Result<()> {
    writeln!(out, "log: {}", overview.heading())?;
    if let Some(health) = overview.health() {
        writeln!(out, "log: {health}")?;
    }
    write_summary(out, &overview.summary)
}

fn write_battery(out: &mut dyn Write, summary: &SummaryReport, watt_hours: f64) -> io::Result<()> {
    writeln!(out)?;
    if summary.energy.is_empty() {
        return writeln!(out, "a battery of {watt_hours} Wh lasts -: the log has no energy (docs/energy.md)");
    }
    for report in &summary.energy {
        let Some(hours) = battery_hours(report, watt_hours) else { continue };
        let (days, source) = (hours / 24.0, &report.source);
        writeln!(out, "a battery of {watt_hours} Wh lasts {hours:.1} h = {days:.2} days by {source}")?;
    }
    Ok(())
}

/// Replaces a file as a whole, so that nobody ever sees half a page. What is no plain file, such as `/dev/null`, is
/// written to: replaced, it would be gone for everybody.
fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return File::options().write(true).open(path)?.write_all(content);
    }
    // The file behind a link, not the link.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let path = real.as_path();
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let temporary = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to tell; without a temporary file there is nothing to remove.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
