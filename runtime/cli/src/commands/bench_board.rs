//! `tinysaver bench --all`: every model of the pair and every other stage, single stream: milliseconds, joules, heat; what
//! changed since an older bench; and from which exit ratio the cascade pays on this board.

mod compare;
mod report;

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tinysaver_board::power::{RealTree, read_health};
use tinysaver_board::{Preprocessor, TestPattern, decode, encode_jpeg};
use tinysaver_core::Element;
use tinysaver_core::energy::{Account, EnergyStage, FrameEnergy, FrameWork};
use tinysaver_engine::{Input, Threads};

use crate::cascade::load_engine;
use crate::commands::bench::{BenchArgs, made_up};
use crate::config::Settings;
use crate::energy::{EnergyFile, EnergyMeter, EnergySettings};
use crate::failure::Failure;
use crate::pair::{ModelEntry, Pair, Precision};
use crate::threads::ThreadCount;

/// The clock does not count before so long.
const WARM_UP: Duration = Duration::from_secs(1);
/// The medians of so many parts of a run tell how steady it was.
const PARTS: usize = 10;
/// Of the JPEG that is decoded and of what is sent: a camera's frame.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const QUALITY: u8 = 90;

/// The whole bench, as `--json` prints it and `--compare` reads it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BoardBench {
    version: String,
    pair: String,
    board: Option<String>,
    seconds_each: f64,
    /// Of one inference.
    #[serde(default)]
    threads: ThreadCount,
    /// Who measured or modelled the joules; absent where nobody can.
    energy_source: Option<String>,
    /// Power while nothing was done.
    idle_watts: Option<f64>,
    items: Vec<Item>,
    break_even: Vec<BreakEven>,
}

/// One stage or model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Item {
    name: String,
    queries: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    mean_ms: f64,
    /// Standard deviation of the medians of ten parts of the run.
    noise_ms: f64,
    /// MLPerf's: mean power x duration / queries, idle power included.
    joules: Option<f64>,
    /// The same above idling.
    joules_above_idle: Option<f64>,
    mean_watts: Option<f64>,
    /// Before and after the run.
    mhz: [Option<f64>; 2],
    celsius: [Option<f64>; 2],
    /// All bits that were seen; absent where the board cannot tell.
    throttle: Option<u32>,
}

/// From which exit ratio the saver pays before a base.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct BreakEven {
    base: String,
    /// By time.
    exit_ratio_ms: f64,
    /// By joules; absent where nobody can tell.
    exit_ratio_joules: Option<f64>,
}

/// Runs all of it.
pub(super) fn execute(args: &BenchArgs, settings: &Settings, out: &mut dyn Write) -> Result<(), Failure> {
    let old = args.compare.as_deref().map(compare::read).transpose().map_err(Failure::Config)?;
    let pair = Pair::read(&settings.pair).map_err(Failure::Config)?;
    let energy = EnergySettings::gather(&args.energy, None, EnergyFile::default()).map_err(Failure::Config)?;
    let meter = EnergyMeter::start(&energy).map_err(Failure::Config)?;
    let mut bench =
        Bench { meter, root: energy.root.clone(), each: Duration::from_secs_f64(args.seconds), items: Vec::new() };
    let threads = settings.threads.start(1).map_err(Failure::Config)?;
    let idle_watts = bench.idle()?;
    bench.stages(&pair, settings)?;
    for entry in pair.models() {
        bench.model(&pair, entry, settings, &threads)?;
    }
    let Bench { meter, items, .. } = bench;
    let break_even = break_even(&items, &pair, settings, idle_watts, args.rtt_ms)?;
    let done = BoardBench {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pair: pair.name().to_owned(),
        board: std::fs::read_to_string(energy.root.join("proc/device-tree/model"))
            .ok()
            .map(|name| name.trim_matches('\0').to_owned()),
        seconds_each: args.seconds,
        threads: settings.threads,
        energy_source: meter.map(|meter| meter.source().to_string()),
        idle_watts,
        items,
        break_even,
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&done)?)?;
    } else {
        report::write(out, &done, args.rtt_ms)?;
    }
    if let (Some(old), false) = (old, args.json) {
        compare::write(out, &old, &done)?;
    }
    Ok(())
}

struct Bench {
    meter: Option<EnergyMeter>,
    root: std::path::PathBuf,
    each: Duration,
    items: Vec<Item>,
}

impl Bench {
    /// Does nothing for as long as a stage gets.
    fn idle(&mut self) -> Result<Option<f64>> {
        let Some(meter) = &mut self.meter else { return Ok(None) };
        meter.between(Account::Idle);
        let began = Instant::now();
        while began.elapsed() < self.each {
            std::thread::sleep(self.each.saturating_sub(began.elapsed()));
        }
        let spent = meter.frame(&FrameWork::default());
        Ok(spent.map(|energy| watts(&energy)))
    }

    /// Everything of a frame that is no model, on a made-up picture.
    fn stages(&mut self, pair: &Pair, settings: &Settings) -> Result<()> {
        let picture = TestPattern { frames: 1, repeat: 1, seed: 1, width: WIDTH, height: HEIGHT }.picture(0);
        let (width, height) = (WIDTH as usize, HEIGHT as usize);
        let jpeg = encode_jpeg(&picture.rgb, width, height, QUALITY)?;
        self.measure("decode 640x480 JPEG", false, || decode(&jpeg, settings.limits).map(drop).map_err(Into::into))?;
        for (role, entry) in
            [("saver", pair.saver(settings.saver.as_deref())?), ("base", pair.base(settings.base.as_deref())?)]
        {
            let (engine, _) = load_engine(pair, entry, pair.load_labels()?.len(), settings.kernel)?;
            let mut preprocessor = Preprocessor::new(&pair.preprocess(entry), engine.input())?;
            let name = format!("preprocess for the {role}, {} px", entry.input);
            self.measure(&name, false, || preprocessor.tensor(&picture).map(drop).map_err(Into::into))?;
        }
        self.measure(ENCODE, false, || encode_jpeg(&picture.rgb, width, height, QUALITY).map(drop).map_err(Into::into))
    }

    fn model(&mut self, pair: &Pair, entry: &ModelEntry, settings: &Settings, threads: &Threads) -> Result<()> {
        let (mut engine, _) = load_engine(pair, entry, pair.load_labels()?.len(), settings.kernel)
            .with_context(|| format!("model '{}'", entry.id))?;
        engine.set_threads(threads);
        let spec = engine.input();
        let (steps, reals) = made_up(&spec);
        let mut logits = vec![0.0; engine.classes()];
        let is_f32 = entry.precision == Precision::F32;
        self.measure(&entry.id, is_f32, || {
            let input = match spec.element {
                Element::U8 { .. } => Input::U8(&steps),
                Element::F32 => Input::F32(&reals),
            };
            Ok(engine.infer(input, &mut logits)?)
        })
    }

    fn measure(&mut self, name: &str, is_f32: bool, mut once: impl FnMut() -> Result<()>) -> Result<()> {
        let warm = Instant::now();
        while warm.elapsed() < WARM_UP.min(self.each) {
            once().with_context(|| name.to_owned())?;
        }
        let before = read_health(&RealTree::new(&self.root));
        let mut times = Vec::new();
        if let Some(meter) = &mut self.meter {
            meter.between(Account::Idle);
        }
        let began = Instant::now();
        while began.elapsed() < self.each || times.len() < PARTS {
            let at = Instant::now();
            once().with_context(|| name.to_owned())?;
            times.push(at.elapsed().as_secs_f64() * 1e3);
        }
        let mut work = FrameWork::default();
        work.took(EnergyStage::Saver, began.elapsed(), is_f32);
        let energy = self.meter.as_mut().and_then(|meter| meter.frame(&work));
        let after = read_health(&RealTree::new(&self.root));
        let health = [before, after];
        let bits = health.iter().filter_map(|health| crate::energy::throttle_bits(health.throttle));
        self.items.push(Item {
            mhz: health.each_ref().map(|health| health.clocks.first()?.current_mhz),
            celsius: health
                .each_ref()
                .map(|health| health.temperatures.iter().map(|zone| zone.celsius).reduce(f64::max)),
            throttle: bits.reduce(|all, bits| all | bits),
            ..item(name, &times, energy.as_ref())
        });
        Ok(())
    }
}

const ENCODE: &str = "encode 640x480 JPEG";

fn watts(energy: &FrameEnergy) -> f64 {
    energy.energy_uj as f64 / energy.energy_wall_us.max(1) as f64
}

fn item(name: &str, times: &[f64], energy: Option<&FrameEnergy>) -> Item {
    let queries = times.len();
    let each = |uj: i64| uj as f64 / 1e6 / queries.max(1) as f64;
    let part = queries.div_ceil(PARTS).max(1);
    let medians: Vec<f64> = times.chunks(part).map(|part| quantile(part, 0.5)).collect();
    Item {
        name: name.to_owned(),
        queries: queries as u64,
        p50_ms: quantile(times, 0.5),
        p90_ms: quantile(times, 0.9),
        p99_ms: quantile(times, 0.99),
        mean_ms: mean(times),
        noise_ms: mean(&medians.iter().map(|median| (median - mean(&medians)).powi(2)).collect::<Vec<_>>()).sqrt(),
        joules: energy.map(|energy| each(energy.energy_uj)),
        joules_above_idle: energy.and_then(|energy| energy.energy_above_idle_uj).map(each),
        mean_watts: energy.map(watts),
        mhz: [None; 2],
        celsius: [None; 2],
        throttle: None,
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The nearest rank.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// The saver with its preprocessing against each way to a base: the one of this board, and one elsewhere at a round trip,
/// while which the board idles.
fn break_even(
    items: &[Item],
    pair: &Pair,
    settings: &Settings,
    idle_watts: Option<f64>,
    rtt_ms: f64,
) -> Result<Vec<BreakEven>> {
    let find = |name: &str| items.iter().find(|item| item.name == name);
    let (saver, base) = (pair.saver(settings.saver.as_deref())?, pair.base(settings.base.as_deref())?);
    let (Some(saver), Some(local), Some(encode)) = (find(&saver.id), find(&base.id), find(ENCODE)) else {
        return Ok(Vec::new());
    };
    let waiting = idle_watts.map(|watts| watts * rtt_ms / 1e3);
    let ratio = |saver: Option<f64>, base: Option<f64>| saver.zip(base.filter(|base| *base > 0.0)).map(|(s, b)| s / b);
    let remote_joules = encode.joules.zip(waiting).map(|(encode, waiting)| encode + waiting);
    Ok(vec![
        BreakEven {
            base: format!("local, {}", local.name),
            exit_ratio_ms: saver.mean_ms / local.mean_ms,
            exit_ratio_joules: ratio(saver.joules, local.joules),
        },
        BreakEven {
            base: format!("remote, {rtt_ms} ms round trip"),
            exit_ratio_ms: saver.mean_ms / (encode.mean_ms + rtt_ms),
            exit_ratio_joules: ratio(saver.joules, remote_joules),
        },
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joules_are_mean_power_times_duration_over_queries() {
        let times: Vec<f64> = (1..=100).map(f64::from).collect();
        let energy: FrameEnergy = serde_json::from_value(serde_json::json!({
            "energy_source": "modelled:pi4", "energy_uj": 20_000_000, "energy_above_idle_uj": 5_000_000,
            "energy_wall_us": 5_000_000, "energy_cpu_us": 5_000_000, "energy_idle_uj": 0, "energy_idle_us": 0,
        }))
        .unwrap();
        let item = item("x", &times, Some(&energy));
        assert_eq!((item.queries, item.p50_ms, item.p90_ms, item.p99_ms), (100, 50.0, 90.0, 99.0));
        assert_eq!((item.mean_watts, item.joules, item.joules_above_idle), (Some(4.0), Some(0.2), Some(0.05)));
        assert!(item.noise_ms > 20.0, "it grew all the time: {}", item.noise_ms);
    }
}
