//! Where the records of a run go: exit log, terminal, summary, and those who look on.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tinysaver_board::{CaptureStatus, FrameBuffer};
use tinysaver_core::energy::FrameEnergy;
use tinysaver_core::{Record, Summary};
use tinysaver_offload::client::ClientCounts;

use crate::exit_log::{LogOptions, LogWriter};
use crate::face::Followers;
use crate::failure::Failure;
use crate::summary_text::{write_capture, write_offload, write_summary};
use crate::table::{HEADER, row};

/// What the terminal is told.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// No line per frame.
    pub quiet: bool,
    /// JSON Lines instead of a table.
    pub json: bool,
}

/// Where records go.
pub struct Sinks<'a> {
    style: Style,
    log: Option<LogWriter>,
    summary: Summary,
    followers: Followers,
    progress: ProgressBar,
    out: &'a mut dyn Write,
}

impl<'a> Sinks<'a> {
    /// Opens the log, if one is wanted. `frames` is how many there will be, where that is known.
    ///
    /// # Errors
    /// The summary's histograms cannot be made.
    pub fn new(
        style: Style,
        log: Option<LogOptions>,
        followers: Followers,
        frames: Option<u64>,
        out: &'a mut dyn Write,
    ) -> Result<Self, Failure> {
        let progress = progress_bar(style.quiet && !style.json, frames);
        Ok(Self { style, log: log.map(LogWriter::new), summary: Summary::new()?, followers, progress, out })
    }

    /// Nobody looks on any more, and the log is whole on the disk.
    pub fn stop(&mut self) {
        self.followers.finish();
        if let Some(log) = &mut self.log {
            log.finish();
        }
    }

    /// What was booked after the last frame.
    pub fn add_rest(&mut self, rest: &FrameEnergy) {
        self.summary.add_rest(rest);
    }

    /// Shows a frame to those who look on.
    pub fn see(&mut self, sequence: u64, frame: &FrameBuffer) {
        self.followers.see(sequence, frame);
    }

    fn shows_table(&self) -> bool {
        !self.style.quiet && !self.style.json
    }

    /// The first lines: what the source is, and the table's head.
    pub fn begin(&mut self, status: Option<CaptureStatus>) -> Result<(), Failure> {
        if let Some(status) = status {
            self.announce(&status.description)?;
        }
        if self.shows_table() {
            writeln!(self.out, "{HEADER}")?;
        }
        Ok(())
    }

    /// For people; at once, because whoever started the program may wait for it.
    pub fn announce(&mut self, line: &str) -> Result<(), Failure> {
        log::info!("{line}");
        if !self.style.json {
            writeln!(self.out, "{line}")?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// A frame is done.
    pub fn take(&mut self, record: &Record, labels: &[String], started: Instant) -> Result<(), Failure> {
        self.summary.add(record);
        if let Some(log) = &mut self.log {
            log.append(record, started.elapsed());
        }
        // The record is on its way to the disk before anybody sees the answer: what is shown is logged.
        if self.style.json {
            writeln!(self.out, "{}", serde_json::to_string(record)?)?;
        } else if let Some(row) = self.shows_table().then(|| row(record, labels)).flatten() {
            writeln!(self.out, "{row}")?;
        }
        self.followers.take(record);
        self.progress.inc(record.frames());
        Ok(())
    }

    /// Nothing came for a while.
    pub fn idle(&mut self, started: Instant) {
        if let Some(log) = &mut self.log {
            log.sync_if_due(started.elapsed());
        }
    }

    /// The last lines: the summary.
    pub fn finish(
        self,
        interrupted: bool,
        status: Option<CaptureStatus>,
        counts: Option<ClientCounts>,
    ) -> Result<(), Failure> {
        let Self { style, log, summary, progress, out, .. } = self;
        progress.finish_and_clear();
        let report = summary.report();
        if style.json {
            let mut object = json!({ "summary": report });
            if let (Some(status), Some(fields)) = (status, object.as_object_mut()) {
                fields.insert("capture".into(), serde_json::to_value(status)?);
            }
            if let (Some(counts), Some(fields)) = (counts, object.as_object_mut()) {
                fields.insert("offload".into(), serde_json::to_value(counts)?);
            }
            writeln!(out, "{object}")?;
            return Ok(());
        }
        writeln!(out)?;
        if interrupted {
            writeln!(out, "interrupted after {} frames", report.frames_in)?;
        }
        write_summary(out, &report)?;
        if let Some(status) = status {
            write_capture(out, &status)?;
        }
        if let Some(counts) = counts {
            write_offload(out, &counts)?;
        }
        if let Some(log) = &log {
            writeln!(out, "exit log: {} records in {}, {} lost", log.written(), log.folder().display(), log.lost())?;
        }
        Ok(())
    }
}

fn progress_bar(wanted: bool, frames: Option<u64>) -> ProgressBar {
    if !wanted || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let Some(frames) = frames else { return ProgressBar::no_length() };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames, {eta} left");
    let bar = ProgressBar::new(frames);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
