//! `tinysaver run`: the main job. A live source has a thread of its own; inference, log and table are in this one. The
//! base is the slow local path.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::json;
use tinysaver_board::{CaptureStatus, Dropped, Fault, Next};
use tinysaver_core::{DropReason, Outcome, RECORD_SCHEMA, Record, StageMicros, Summary};

use crate::cascade::Cascade;
use crate::config::{RunSettingsArgs, Settings, SettingsArgs};
use crate::exit_log::LogWriter;
use crate::failure::Failure;
use crate::feed::Feed;
use crate::frames::{Drop, Image, micros_since};
use crate::interrupt::Interrupt;
use crate::pair::Pair;
use crate::summary_text::{write_capture, write_summary};
use crate::table::{HEADER, row};
use crate::truth::Truth;

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    run: RunSettingsArgs,
    /// Stop after so many frames; those that a camera made while nobody had time do not count
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// No line per frame; a progress bar where the terminal can show one
    #[arg(short, long)]
    quiet: bool,
    /// JSON Lines: the exit log's record of each frame, then {"summary": ...}
    #[arg(long)]
    json: bool,
}

/// One run of the program over one source.
struct Run<'a> {
    settings: &'a Settings,
    feed: Feed,
    cascade: Cascade,
    truth: Truth,
    name: String,
    started: Instant,
    next_sequence: u64,
}

/// Where records go.
struct Sinks<'a> {
    args: &'a RunArgs,
    log: Option<LogWriter>,
    summary: Summary,
    progress: ProgressBar,
    out: &'a mut dyn Write,
}

/// Classifies every frame of the source.
pub fn execute(args: &RunArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = Settings::gather(&args.settings, &args.run).map_err(Failure::config)?;
    let mut run = Run::prepare(&settings).map_err(Failure::Config)?;
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let progress = progress_bar(args.quiet && !args.json, run.feed.count());
    let log = settings.log.clone().map(LogWriter::new);
    let mut sinks = Sinks { args, log, summary: Summary::new()?, progress, out };
    let result = run.classify(&interrupt, &mut sinks);
    if let Some(log) = &mut sinks.log {
        log.finish();
    }
    let fault = result?;
    sinks.finish(&settings, interrupt.requested(), run.feed.status())?;
    fault.map_or(Ok(()), |fault| Err(Failure::Run(fault.into())))
}

impl<'a> Run<'a> {
    fn prepare(settings: &'a Settings) -> anyhow::Result<Self> {
        let source = settings
            .source
            .as_deref()
            .context("no source: name one with --source, such as --source photos/, /dev/video0 or test://?frames=20")?;
        let pair = Pair::read(&settings.pair)?;
        let cascade = Cascade::load(&pair, settings)?;
        // Last, so that a camera's first frame is not old before the models are there.
        let feed = Feed::open(source, settings.pace)?;
        let truth = Truth::find(settings.truth.as_deref(), feed.paths(), cascade.labels.len())?;
        let name = format!("{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), std::process::id());
        Ok(Self { settings, feed, cascade, truth, name, started: Instant::now(), next_sequence: 0 })
    }

    /// Until the source ends, the user has had enough, or a recorded source cannot be read on, which is returned.
    fn classify(&mut self, interrupt: &Interrupt, sinks: &mut Sinks) -> Result<Option<Fault>, Failure> {
        sinks.begin(self.feed.status())?;
        let mut left = sinks.args.frames.unwrap_or(u64::MAX);
        let mut fault = None;
        while left > 0 && !interrupt.requested() {
            let next = self.feed.next();
            self.drops(sinks)?;
            match next {
                Ok(Next::Frame) => {
                    let record = self.frame();
                    self.emit(record, sinks)?;
                }
                Ok(Next::Dropped(reason, detail)) => {
                    let record = self.unusable(reason, detail);
                    self.emit(record, sinks)?;
                }
                Ok(Next::Idle) => {
                    sinks.idle(self.started);
                    continue;
                }
                Ok(Next::End) => break,
                Err(failed) => {
                    fault = Some(failed);
                    break;
                }
            }
            left -= 1;
        }
        self.feed.stop();
        self.drops(sinks)?;
        Ok(fault)
    }

    fn emit(&mut self, record: Record, sinks: &mut Sinks) -> Result<(), Failure> {
        self.next_sequence = self.next_sequence.saturating_add(record.frames());
        sinks.take(&record, &self.cascade.labels, self.started)
    }

    /// What the source dropped since the last frame goes before the next one.
    fn drops(&mut self, sinks: &mut Sinks) -> Result<(), Failure> {
        for Dropped { reason, frames, detail } in self.feed.take_drops() {
            let outcome = Outcome::Dropped { reason, detail, frames };
            let record = self.record(self.feed.address().to_owned(), outcome, StageMicros::default(), (None, 0));
            self.emit(record, sinks)?;
        }
        Ok(())
    }

    /// Takes the frame in hand all the way; it always yields a record.
    fn frame(&mut self) -> Record {
        let mut stages = self.feed.stages();
        let answer = Image::of(self.feed.frame(), self.settings.limits, &mut stages)
            .and_then(|image| self.cascade.answer(&image, &mut stages));
        match answer {
            Ok(answer) => {
                let times = self.feed.age_and_latency_us();
                self.record(self.feed.frame().name.clone(), Outcome::Answered(answer), stages, times)
            }
            Err(Drop { reason, detail }) => self.dropped(reason, detail, stages),
        }
    }

    /// A frame that the source itself could not give.
    fn unusable(&self, reason: DropReason, detail: String) -> Record {
        self.dropped(reason, detail, self.feed.stages())
    }

    fn dropped(&self, reason: DropReason, detail: String, stages: StageMicros) -> Record {
        let name = self.feed.frame().name.clone();
        log::info!("{name}: {detail}");
        let outcome = Outcome::Dropped { reason, detail, frames: 1 };
        self.record(name, outcome, stages, self.feed.age_and_latency_us())
    }

    fn record(&self, source: String, outcome: Outcome, stages_us: StageMicros, times: (Option<u64>, u64)) -> Record {
        Record {
            schema: RECORD_SCHEMA,
            run: self.name.clone(),
            sequence: self.next_sequence,
            time_utc: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            monotonic_us: micros_since(self.started),
            truth: self.truth.class(Path::new(&source)),
            source,
            outcome,
            stages_us,
            latency_us: times.1,
            frame_age_us: times.0,
            saver_model: self.cascade.saver.short_hash.clone(),
            base_model: self.cascade.base.short_hash.clone(),
        }
    }
}

impl Sinks<'_> {
    fn shows_table(&self) -> bool {
        !self.args.quiet && !self.args.json
    }

    fn begin(&mut self, status: Option<CaptureStatus>) -> Result<(), Failure> {
        if let Some(status) = status {
            log::info!("{}", status.description);
            if !self.args.json {
                writeln!(self.out, "{}", status.description)?;
            }
        }
        if self.shows_table() {
            writeln!(self.out, "{HEADER}")?;
        }
        Ok(())
    }

    fn take(&mut self, record: &Record, labels: &[String], started: Instant) -> Result<(), Failure> {
        self.summary.add(record);
        if let Some(log) = &mut self.log {
            log.append(record, started.elapsed());
        }
        // The record is on its way to the disk before anybody sees the answer: what is shown is logged.
        if self.args.json {
            writeln!(self.out, "{}", serde_json::to_string(record)?)?;
        } else if let Some(row) = self.shows_table().then(|| row(record, labels)).flatten() {
            writeln!(self.out, "{row}")?;
        }
        self.progress.inc(record.frames());
        Ok(())
    }

    fn idle(&mut self, started: Instant) {
        if let Some(log) = &mut self.log {
            log.sync_if_due(started.elapsed());
        }
    }

    fn finish(self, settings: &Settings, interrupted: bool, status: Option<CaptureStatus>) -> Result<(), Failure> {
        let Self { args, log, summary, progress, out } = self;
        progress.finish_and_clear();
        let report = summary.report();
        if args.json {
            let mut object = json!({ "summary": report });
            if let (Some(status), Some(fields)) = (status, object.as_object_mut()) {
                fields.insert("capture".into(), serde_json::to_value(status)?);
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
        if let (Some(log), Some(options)) = (&log, &settings.log) {
            writeln!(out, "exit log: {} records in {}, {} lost", log.written(), options.folder.display(), log.lost())?;
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
