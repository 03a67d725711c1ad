//! `tinysaver run`: the main job. One frame after the other; the base is the slow local path.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde_json::json;
use tinysaver_core::{Exit, Outcome, RECORD_SCHEMA, Record, StageMicros, Summary};

use crate::cascade::Cascade;
use crate::config::{RunSettingsArgs, Settings, SettingsArgs};
use crate::exit_log::LogWriter;
use crate::failure::Failure;
use crate::frames::{Frames, micros_since};
use crate::interrupt::Interrupt;
use crate::pair::Pair;
use crate::summary_text::{milliseconds, write_summary};
use crate::truth::Truth;

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    run: RunSettingsArgs,
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
    frames: Frames,
    cascade: Cascade,
    truth: Truth,
    name: String,
    started: Instant,
}

/// Classifies every frame of the source.
pub fn execute(args: &RunArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = Settings::gather(&args.settings, &args.run).map_err(Failure::config)?;
    let run = Run::prepare(&settings).map_err(Failure::Config)?;
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let mut log = settings.log.clone().map(LogWriter::new);
    let mut summary = Summary::new()?;
    let result = run.classify(args, &interrupt, &mut log, &mut summary, out);
    if let Some(log) = &mut log {
        log.finish();
    }
    result?;
    let report = summary.report();
    if args.json {
        writeln!(out, "{}", json!({ "summary": report }))?;
    } else {
        writeln!(out)?;
        if interrupt.requested() {
            writeln!(out, "interrupted after {} frames", report.frames_in)?;
        }
        write_summary(out, &report)?;
        if let (Some(log), Some(options)) = (&log, &settings.log) {
            writeln!(out, "exit log: {} records in {}, {} lost", log.written(), options.folder.display(), log.lost())?;
        }
    }
    Ok(())
}

impl<'a> Run<'a> {
    fn prepare(settings: &'a Settings) -> anyhow::Result<Self> {
        let source = settings.source.as_deref().context(
            "no source: name pictures with --source, such as --source photos/ or --source test://?frames=20",
        )?;
        let frames = Frames::open(source)?;
        let pair = Pair::read(&settings.pair)?;
        let cascade = Cascade::load(&pair, settings)?;
        let truth = Truth::find(settings.truth.as_deref(), frames.paths(), cascade.labels.len())?;
        let name = format!("{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), std::process::id());
        Ok(Self { settings, frames, cascade, truth, name, started: Instant::now() })
    }

    fn classify(
        mut self,
        args: &RunArgs,
        interrupt: &Interrupt,
        log: &mut Option<LogWriter>,
        summary: &mut Summary,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let table = !args.quiet && !args.json;
        let progress = progress_bar(args.quiet && !args.json, self.frames.count());
        if table {
            writeln!(out, "{HEADER}")?;
        }
        for index in 0..self.frames.count() {
            if interrupt.requested() {
                break;
            }
            let record = self.frame(index);
            summary.add(&record);
            if let Some(log) = log {
                log.append(&record, self.started.elapsed());
            }
            // The record is on its way to the disk before anybody sees the answer: what is shown is logged.
            if args.json {
                writeln!(out, "{}", serde_json::to_string(&record)?)?;
            } else if table {
                writeln!(out, "{}", row(&record, &self.cascade.labels))?;
            }
            progress.inc(1);
        }
        progress.finish_and_clear();
        Ok(())
    }

    /// Takes one frame all the way; it always yields a record.
    fn frame(&mut self, index: u64) -> Record {
        let taken = Instant::now();
        let mut stages = StageMicros::default();
        let answer = self
            .frames
            .picture(index, self.settings.limits, &mut stages)
            .and_then(|picture| self.cascade.answer(&picture, &mut stages));
        let outcome = match answer {
            Ok(answer) => Outcome::Answered(answer),
            Err(dropped) => {
                log::info!("{}: {}", self.frames.name(index), dropped.detail);
                Outcome::Dropped { reason: dropped.reason, detail: dropped.detail }
            }
        };
        let source = self.frames.name(index);
        Record {
            schema: RECORD_SCHEMA,
            run: self.name.clone(),
            sequence: index,
            time_utc: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            monotonic_us: micros_since(self.started),
            truth: self.truth.class(Path::new(&source)),
            source,
            outcome,
            stages_us: stages,
            latency_us: micros_since(taken),
            saver_model: self.cascade.saver.short_hash.clone(),
            base_model: self.cascade.base.short_hash.clone(),
        }
    }
}

const HEADER: &str = "photo                     exit        class                       sure      ms";

/// One line for people: who answered, what, how sure; where the base answered, what the saver would have said.
fn row(record: &Record, labels: &[String]) -> String {
    let photo = shorten(record.source.rsplit('/').next().unwrap_or_default(), 24);
    let ms = milliseconds(record.latency_us);
    match &record.outcome {
        Outcome::Dropped { reason, detail } => format!("{photo:24}  {:10}  {}: {detail}", "dropped", reason.name()),
        Outcome::Answered(answer) => {
            let mark = match record.correct() {
                Some(true) => " right",
                Some(false) => " WRONG",
                None => "",
            };
            let saver = labels.get(answer.saver_class).map_or("?", String::as_str);
            let note = match answer.exit {
                Exit::BaseLocal | Exit::BaseRemote => format!("  (saver: {saver} {:.2})", answer.confidence),
                Exit::Reused | Exit::Saver | Exit::Fallback => String::new(),
            };
            let label = shorten(&answer.label, 24);
            format!(
                "{photo:24}  {:10}  {label:24}  {:6.2}  {ms:>6}{mark}{note}",
                answer.exit.name(),
                answer.probability
            )
        }
    }
}

fn shorten(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

fn progress_bar(wanted: bool, frames: u64) -> ProgressBar {
    if !wanted || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} frames, {eta} left");
    let bar = ProgressBar::new(frames);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
