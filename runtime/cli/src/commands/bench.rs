//! `tinysaver bench`: what an inference costs on this board.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cpu_time::{ProcessTime, ThreadTime};
use serde::Serialize;
use serde_json::json;
use tinysaver_core::{Element, InputSpec};
use tinysaver_engine::{Engine, Input, KernelChoice, LoadError, load_best};

use super::bench_board;
use crate::config::{RunSettingsArgs, Settings, SettingsArgs};
use crate::energy::EnergyArgs;
use crate::failure::Failure;
use crate::pair::Pair;

/// Inferences before the clock counts: caches, page faults and the processor's own clock settle.
const WARM_UP: usize = 10;

const NO_CLOCK: &str = "the system has no CPU clock for threads and processes";

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct BenchArgs {
    /// ONNX files to time; without any, the pair's saver and base
    #[arg(value_name = "FILE.onnx")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Inferences that are timed, one after the other
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Height and width of the input, where a file leaves them open
    #[arg(long, value_name = "N")]
    pixels: Option<usize>,
    /// As one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Every model of the pair and every other stage, with joules, as Markdown or, with --json, as what --compare takes
    #[arg(long, conflicts_with_all = ["files", "count", "pixels"])]
    all: bool,
    /// With --all: how long each is run after its warm-up
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = parse_seconds, requires = "all")]
    pub(super) seconds: f64,
    /// With --all: what changed since an older `bench --all --json`
    #[arg(long, value_name = "OLD.json", requires = "all")]
    pub(super) compare: Option<PathBuf>,
    /// With --all: the round trip to a base elsewhere, inference included, for the break-even
    #[arg(long, value_name = "MS", default_value_t = 50.0, value_parser = parse_round_trip, requires = "all")]
    pub(super) rtt_ms: f64,
    #[command(flatten)]
    pub(super) energy: EnergyArgs,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    parse_within(text, 0.01, 3600.0)
}

fn parse_round_trip(text: &str) -> Result<f64, String> {
    parse_within(text, 0.0, 1e6)
}

fn parse_within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(format!("not from {least} to {most}")) }
}

/// A model to be timed.
struct Candidate {
    name: String,
    path: PathBuf,
    bytes: Vec<u8>,
    pixels: Option<usize>,
}

/// Median, p10 and p90 in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
struct Spread {
    median_ms: f64,
    p10_ms: f64,
    p90_ms: f64,
}

/// What one model costs.
#[derive(Debug, Serialize)]
struct Timing {
    model: String,
    /// The backend and, for int8, its kernels.
    engine: &'static str,
    macs: u64,
    /// Time on the processor, of all threads together.
    cpu: Spread,
    wall: Spread,
    /// Multiply-accumulates a second of CPU time, at the median.
    macs_per_second: f64,
    /// The same as a share of what the processor's instruction for 8-bit products does at best; absent for other kernels.
    share_of_peak: Option<f64>,
}

/// Times every model.
pub fn execute(args: &BenchArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let settings = Settings::gather(&args.settings, &RunSettingsArgs::default()).map_err(Failure::config)?;
    if args.all {
        return bench_board::execute(args, &settings, out);
    }
    let candidates = candidates(args, &settings).map_err(Failure::config)?;
    let threads = settings.threads.start(1).map_err(Failure::config)?;
    let mut timings = Vec::new();
    for candidate in candidates {
        let pixels = candidate.pixels.map(|side| (side, side));
        let loaded = load_best(&candidate.path, candidate.bytes, pixels, settings.kernel);
        let mut engine = loaded.map_err(Failure::config)?.engine;
        engine.set_threads(&threads);
        timings.push(time(candidate.name, engine.as_mut(), args.count)?);
    }
    let peak = peak(settings.kernel).map_err(Failure::config)?;
    for timing in timings.iter_mut().filter(|timing| timing.engine.starts_with("int8")) {
        timing.share_of_peak = peak.map(|peak| timing.macs_per_second / peak);
    }
    if args.json {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(
            out,
            "{}",
            json!({
                "version": version, "count": args.count, "threads": settings.threads, "peak_macs_per_second": peak, "models": timings,
            })
        )?;
        return Ok(());
    }
    writeln!(out, "{:34} {:16} {:>8}  {:>28}  {:>28}  {:>7}  of peak", "model", "engine", "MMAC", CPU, WALL, "GMAC/s")?;
    for timing in &timings {
        let Timing { model, engine, macs, cpu, wall, macs_per_second, share_of_peak } = timing;
        let (mega, giga) = (mega(*macs), macs_per_second / 1e9);
        let share = share_of_peak.map_or_else(String::new, |share| format!("{:.0} %", 100.0 * share));
        writeln!(
            out,
            "{model:34} {engine:16} {mega:>8.1}  {:>28}  {:>28}  {giga:>7.1}  {share:>7}",
            cpu.text(),
            wall.text()
        )?;
    }
    let threads = settings.threads;
    writeln!(out, "{threads}, {} inferences after {WARM_UP} that do not count", args.count)?;
    Ok(())
}

const CPU: &str = "CPU ms, median [p10, p90]";
const WALL: &str = "wall ms, median [p10, p90]";

fn candidates(args: &BenchArgs, settings: &Settings) -> Result<Vec<Candidate>> {
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
        Ok(Candidate { name: file_name(path), path: path.clone(), bytes, pixels: args.pixels })
    };
    if !args.files.is_empty() {
        return args.files.iter().map(read).collect();
    }
    let pair = Pair::read(&settings.pair)?;
    let entries = [pair.saver(settings.saver.as_deref())?, pair.base(settings.base.as_deref())?];
    let load = |entry| {
        let model = pair.load_model(entry)?;
        Ok(Candidate { name: entry.id.clone(), path: model.path, bytes: model.bytes, pixels: Some(entry.input) })
    };
    entries.into_iter().map(load).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// A picture that shows nothing, as bytes and as real numbers.
pub(super) fn made_up(spec: &InputSpec) -> (Vec<u8>, Vec<f32>) {
    let steps: Vec<u8> = (0u8..=250).cycle().step_by(37).take(spec.len()).collect();
    let reals = steps.iter().map(|&step| f32::from(step) / 128.0 - 1.0).collect();
    (steps, reals)
}

/// Times `count` inferences of a made-up picture: what is on it does not change what it costs.
fn time(model: String, engine: &mut dyn Engine, count: u32) -> Result<Timing> {
    let spec = engine.input();
    let (steps, reals) = made_up(&spec);
    let input = match spec.element {
        Element::U8 { .. } => Input::U8(&steps),
        Element::F32 => Input::F32(&reals),
    };
    let mut logits = vec![0.0; engine.classes()];
    for _ in 0..WARM_UP {
        engine.infer(input, &mut logits)?;
    }
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (began, began_cpu) = (Instant::now(), ProcessTime::try_now().context(NO_CLOCK)?);
        engine.infer(input, &mut logits)?;
        cpu.push(began_cpu.try_elapsed().context(NO_CLOCK)?);
        wall.push(began.elapsed());
    }
    let (cpu, wall) = (Spread::of(cpu), Spread::of(wall));
    let macs = engine.macs();
    let macs_per_second = mega(macs) * 1e9 / cpu.median_ms;
    Ok(Timing { model, engine: engine.name(), macs, cpu, wall, macs_per_second, share_of_peak: None })
}

/// Multiply-accumulates a second that the processor does at best, if the kernels have an instruction for them: the best
/// of a few short runs.
fn peak(kernel: KernelChoice) -> Result<Option<f64>> {
    let mut best: Option<f64> = None;
    for _ in 0..5 {
        let began = ThreadTime::try_now().context(NO_CLOCK)?;
        let Some(macs) = kernel.multiply_at_peak(1_000_000).map_err(anyhow::Error::msg)? else { return Ok(None) };
        let rate = mega(macs) * 1e6 / began.try_elapsed().context(NO_CLOCK)?.as_secs_f64();
        best = Some(best.map_or(rate, |best| best.max(rate)));
    }
    Ok(best)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mega(count: u64) -> f64 {
    count as f64 / 1e6
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |tenths: usize| {
            let index = (times.len() * tenths / 10).min(times.len().saturating_sub(1));
            times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        Self { median_ms: at(5), p10_ms: at(1), p90_ms: at(9) }
    }

    fn text(self) -> String {
        format!("{:.3} [{:.3}, {:.3}]", self.median_ms, self.p10_ms, self.p90_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_the_sorted_times() {
        let spread = |times: &[u64]| Spread::of(times.iter().map(|&ms| Duration::from_millis(ms)).collect());
        assert_eq!(spread(&[3, 1, 2]).text(), "2.000 [1.000, 3.000]");
        assert_eq!(spread(&[7]).text(), "7.000 [7.000, 7.000]");
        let times: Vec<u64> = (0..100).rev().collect();
        assert_eq!(spread(&times).text(), "50.000 [10.000, 90.000]");
    }
}
