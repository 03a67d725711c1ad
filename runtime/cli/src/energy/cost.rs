//! What booking energy costs the board itself: the processor time of a sensor's readings and of a frame's books.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use cpu_time::ThreadTime;
use serde::Serialize;
use tinysaver_board::power::{PowerSensor, RealTree, SysTree, choose_sensor};
use tinysaver_core::energy::{Account, EnergyStage, FrameWork, HeldPower};

use super::meter::{EnergyMeter, SAMPLE_PERIOD};
use super::settings::EnergySettings;

const ROUNDS: usize = 21;
const FRAMES_PER_ROUND: u32 = 10_000;

/// Of one board by one source.
#[derive(Debug, Serialize)]
pub struct BookingCost {
    /// Who measures or models.
    pub source: String,
    /// Of a sensor's thread; `None` of a model.
    pub sampling: Option<SamplingCost>,
    /// Of the books themselves.
    pub ledger: LedgerCost,
}

/// Reading a sensor ten times a second, as a run does.
#[derive(Debug, Serialize)]
pub struct SamplingCost {
    /// How often it was read.
    pub readings: u64,
    /// Of these, how many gave no value.
    pub failed: u64,
    /// How long that was, in seconds.
    pub seconds: f64,
    /// Processor time of a reading, in microseconds.
    pub reading_us: Spread,
    /// Processor time of the whole thread over the time on the clock: the share of one core.
    pub share_of_core: f64,
}

/// Closing the books three times for each frame: before its work, after it, and after its record went out.
#[derive(Debug, Serialize)]
pub struct LedgerCost {
    /// Frames of each of the rounds.
    pub frames_per_round: u32,
    /// Processor time of a frame's books, in microseconds, over the rounds.
    pub frame_us: Spread,
}

/// The middle and the ends of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub n: usize,
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        Some(Self { n: values.len(), median: *values.get(values.len() / 2)?, min, max })
    }
}

impl BookingCost {
    /// Reads the sensor that `run` would book by for so long, and keeps the books of frames that do nothing.
    ///
    /// # Errors
    /// A board or a sensor that was asked for and is not there, or neither of them.
    pub fn measure(settings: &EnergySettings, duration: Duration) -> Result<Self> {
        let Some(mut meter) = EnergyMeter::start(settings)? else {
            bail!(
                "nothing would be booked: no power sensor, and no profile with a model of power; name one with --board"
            );
        };
        let ledger = ledger(&mut meter)?;
        let source = meter.source().clone();
        drop(meter);
        let tree: Arc<dyn SysTree> = Arc::new(RealTree::new(&settings.root));
        let sensor = if source.is_measured() {
            choose_sensor(&settings.sensor, &tree).map_err(|error| anyhow!(error))?
        } else {
            None
        };
        let sampling = sensor.map(|sensor| sampling(sensor, duration)).transpose()?;
        Ok(Self { source: source.to_string(), sampling, ledger })
    }
}

fn ledger(meter: &mut EnergyMeter) -> Result<LedgerCost> {
    let mut work = FrameWork::default();
    for stage in [EnergyStage::Capture, EnergyStage::Decode, EnergyStage::Preprocess, EnergyStage::Saver] {
        work.took(stage, Duration::from_nanos(100), false);
    }
    let rounds = (0..ROUNDS).map(|_| {
        let before = ThreadTime::now();
        for _ in 0..FRAMES_PER_ROUND {
            meter.between(Account::Idle);
            std::hint::black_box(meter.frame(&work));
            meter.between(Account::Sinks);
        }
        before.elapsed().as_secs_f64() * 1e6 / f64::from(FRAMES_PER_ROUND)
    });
    let frame_us = Spread::of(rounds.collect()).context("no rounds")?;
    Ok(LedgerCost { frames_per_round: FRAMES_PER_ROUND, frame_us })
}

/// In this thread, as the sampler's does it: asleep between two readings, so that each finds cold caches.
fn sampling(mut sensor: PowerSensor, duration: Duration) -> Result<SamplingCost> {
    let (began, began_cpu) = (Instant::now(), ThreadTime::now());
    let (mut held, mut readings, mut failed) = (HeldPower::default(), Vec::new(), 0);
    loop {
        let before = ThreadTime::now();
        match sensor.read(began.elapsed()) {
            Ok(Some(watts)) => held.sample(began.elapsed(), watts),
            Ok(None) | Err(_) => failed += 1,
        }
        readings.push(before.elapsed().as_secs_f64() * 1e6);
        if began.elapsed() >= duration {
            break;
        }
        std::thread::sleep(SAMPLE_PERIOD);
    }
    std::hint::black_box(held);
    let seconds = began.elapsed().as_secs_f64();
    Ok(SamplingCost {
        readings: readings.len() as u64,
        failed,
        seconds,
        share_of_core: began_cpu.elapsed().as_secs_f64() / seconds.max(SAMPLE_PERIOD.as_secs_f64()),
        reading_us: Spread::of(readings).context("no readings")?,
    })
}
