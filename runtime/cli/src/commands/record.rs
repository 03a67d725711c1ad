//! `tinysaver record`: what a pool of models says of a data set, as a Parquet file.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::{RunSettingsArgs, Settings, SettingsArgs};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::lab::dataset::{Dataset, Format, SampleRange};
use crate::lab::recording::Recording;
use crate::pair::Pair;

/// Up to so many classes, logits are kept without being asked for.
const FEW_CLASSES: usize = 100;

/// What to record.
#[derive(Debug, Clone, clap::Args)]
pub struct RecordArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// The data set: a file or a folder, as --format says
    #[arg(long, value_name = "PATH")]
    data: PathBuf,
    /// In which form it is
    #[arg(long, value_name = "NAME", value_enum)]
    format: Format,
    /// Right classes, where the form keeps them in a file of their own
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Models, by their ids in the pair [default: all of them]
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    models: Vec<String>,
    /// Only these samples, counted from 0: 50000..60000, 50000.. or ..1000 [default: all of them]
    #[arg(long, value_name = "FROM..TO")]
    range: Option<SampleRange>,
    /// Keep all logits, which fitting a temperature needs [default: with up to 100 classes]
    #[arg(long)]
    logits: bool,
    /// Threads [default: one a core]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// The records to write; stopped and started again, it goes on where it was
    #[arg(long, value_name = "FILE.parquet")]
    out: PathBuf,
}

/// Records.
pub fn execute(args: &RecordArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = Settings::gather(&args.settings, &RunSettingsArgs::default()).map_err(Failure::config)?;
    let pair = Pair::read(&settings.pair).map_err(Failure::config)?;
    let labels = pair.load_labels().map_err(Failure::config)?;
    let models: Vec<_> = if args.models.is_empty() {
        pair.models().iter().collect()
    } else {
        args.models.iter().map(|id| pair.saver(Some(id))).collect::<Result<_, _>>().map_err(Failure::config)?
    };
    let mut dataset =
        Dataset::open(args.format, &args.data, args.truth.as_deref(), &labels).map_err(Failure::config)?;
    if let Some(range) = args.range {
        dataset.narrow(range).with_context(|| args.data.display().to_string()).map_err(Failure::config)?;
    }
    let interrupt = Interrupt::listen().context("cannot listen for Ctrl-C")?;
    let progress = progress_bar((dataset.len() * models.len()) as u64);
    let recording = Recording {
        pair: &pair,
        models,
        dataset: &dataset,
        classes: labels.len(),
        settings: &settings,
        keep_logits: args.logits || labels.len() <= FEW_CLASSES,
        out: &args.out,
        jobs: args.jobs.or(std::thread::available_parallelism().ok()).map_or(1, std::num::NonZero::get),
    };
    let records = recording.run(&progress, &interrupt)?;
    progress.finish_and_clear();
    match records {
        Some(records) => {
            let (samples, models) = (records.samples.len(), records.models.len());
            writeln!(out, "{}: {models} models, {samples} samples", args.out.display())?;
        }
        None => writeln!(out, "interrupted; the same command goes on from here")?,
    }
    Ok(())
}

fn progress_bar(answers: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(answers);
    match ProgressStyle::with_template("{wide_bar} {pos}/{len} answers, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
