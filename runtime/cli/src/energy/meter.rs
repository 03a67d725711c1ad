//! The ledger with real clocks: closed at the end of each frame's work and of what is between frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use cpu_time::ProcessTime;
use tinysaver_board::power::{PowerSampler, PowerSensor, RealTree, SensorChoice, SysTree, choose_sensor};
use tinysaver_core::energy::{
    Account, Attached, EnergySource, FrameBooking, FrameEnergy, FrameWork, Ledger, Metered, Modeller, Moment,
    PowerSource, Watts,
};

use super::board::Board;
use super::settings::EnergySettings;

/// How often a sensor is read.
pub const SAMPLE_PERIOD: Duration = Duration::from_millis(100);

/// Books a run.
pub struct EnergyMeter {
    books: Books,
    source: EnergySource,
    clocks: Clocks,
}

/// By whom. The two cannot be mixed.
enum Books {
    Modelled(Ledger<Modeller>),
    Measured(Ledger<Metered>, PowerSampler),
}

#[derive(Clone, Copy)]
struct Clocks {
    began: Instant,
    began_cpu: ProcessTime,
}

impl Clocks {
    fn start() -> Result<Self> {
        let began_cpu = ProcessTime::try_now().context("the system has no CPU clock for processes")?;
        Ok(Self { began: Instant::now(), began_cpu })
    }

    /// Should the CPU clock fail, which it does not once it has been read, the processor seems idle.
    fn now(&self) -> Moment {
        let cpu = self.began_cpu.try_elapsed().unwrap_or_default();
        Moment { wall: self.began.elapsed(), cpu }
    }
}

impl EnergyMeter {
    /// Begins to book, where a sensor or a profile can tell what this board draws.
    ///
    /// # Errors
    /// A board or a sensor that was asked for and is not there, or one that cannot be used.
    pub fn start(settings: &EnergySettings) -> Result<Option<Self>> {
        let tree: Arc<dyn SysTree> = Arc::new(RealTree::new(&settings.root));
        let board = Board::find(settings.board.as_deref(), &settings.root)?;
        match choose_sensor(&settings.sensor, &tree).map_err(|error| anyhow!(error))? {
            Some(sensor) => match Self::measured(sensor, settings)? {
                Some(meter) => Ok(Some(meter)),
                None => Self::modelled(board, settings.attached),
            },
            None => Self::modelled(board, settings.attached),
        }
    }

    /// `None` where a sensor that nobody asked for cannot be read.
    fn measured(sensor: PowerSensor, settings: &EnergySettings) -> Result<Option<Self>> {
        let (clocks, source) = (Clocks::start()?, sensor.source());
        let sampler = PowerSampler::start(sensor, SAMPLE_PERIOD, clocks.began).context("power sensor")?;
        if settings.sensor == SensorChoice::Auto && sampler.status().failed > 0 {
            return Ok(None);
        }
        log::info!("energy is {source}");
        let mut metered = Metered::new(settings.idle_watts.map(Watts::new));
        metered.update(sampler.held());
        let mut ledger = Ledger::new(metered, Moment::default());
        // Opens the books: from here on there is a value.
        ledger.close_between(clocks.now(), Account::Idle);
        Ok(Some(Self { books: Books::Measured(ledger, sampler), source, clocks }))
    }

    fn modelled(board: Option<Board>, attached: Attached) -> Result<Option<Self>> {
        let Some(board) = board else { return Ok(None) };
        let Some(model) = board.power_model()? else {
            log::info!("{}: no sensor, and its profile has no modelled power: no energy is booked", board.title());
            return Ok(None);
        };
        log::info!("energy is modelled for {}: {}", board.title(), board.model_source().unwrap_or_default());
        if attached != Attached::default() {
            let source = board.attached_source().unwrap_or("the profile says nothing of them: 0 W");
            log::info!("camera and display are modelled, too: {source}");
        }
        let (clocks, source) = (Clocks::start()?, EnergySource::Modelled { profile: board.name });
        let books = Books::Modelled(Ledger::new(Modeller(model.with(attached)), Moment::default()));
        Ok(Some(Self { books, source, clocks }))
    }

    /// Which sensor or profile tells.
    pub fn source(&self) -> &EnergySource {
        &self.source
    }

    /// What was since the last closing was between frames.
    pub fn between(&mut self, account: Account) {
        let now = self.now();
        match &mut self.books {
            Books::Modelled(ledger) => ledger.close_between(now, account),
            Books::Measured(ledger, _) => ledger.close_between(now, account),
        }
    }

    /// What was since the last closing was a frame's work.
    pub fn frame(&mut self, work: &FrameWork) -> Option<FrameEnergy> {
        let now = self.now();
        let source = self.source.clone();
        match &mut self.books {
            Books::Modelled(ledger) => booked(source, ledger.close_frame(now, work)),
            Books::Measured(ledger, _) => booked(source, ledger.close_frame(now, work)),
        }
    }

    /// What was booked after the last frame, if anything was.
    pub fn rest(&mut self) -> Option<FrameEnergy> {
        self.between(Account::Idle);
        let source = self.source.clone();
        let rest = match &mut self.books {
            Books::Modelled(ledger) => finish(source, ledger),
            Books::Measured(ledger, _) => finish(source, ledger),
        };
        (rest.total().1 > 0).then_some(rest)
    }

    /// Reads the clocks and the newest sample.
    fn now(&mut self) -> Moment {
        if let Books::Measured(ledger, sampler) = &mut self.books {
            ledger.source().update(sampler.held());
        }
        self.clocks.now()
    }
}

fn booked<O: Copy>(source: EnergySource, booking: Option<FrameBooking<O>>) -> Option<FrameEnergy> {
    booking.map(|booking| FrameEnergy::new(source, &booking))
}

fn finish<P: PowerSource>(source: EnergySource, ledger: &mut Ledger<P>) -> FrameEnergy
where
    P::Origin: Copy,
{
    let unknown = ledger.unknown();
    // A counter tells nothing before its second reading.
    if unknown > 3 * SAMPLE_PERIOD {
        log::warn!("the energy of {:.1} s is not known: {source} gave no value", unknown.as_secs_f64());
    }
    FrameEnergy::rest(source, ledger.take_between())
}

#[cfg(test)]
mod tests {
    use cpu_time::ThreadTime;
    use tinysaver_core::energy::EnergyStage;

    use super::*;

    fn settings(sensor: SensorChoice) -> EnergySettings {
        EnergySettings {
            board: Some("pi4".into()),
            sensor,
            idle_watts: None,
            root: "/no/such/root".into(),
            attached: Attached::default(),
        }
    }

    /// The best of some: whatever else the machine does is not the ledger's cost.
    fn best_per_frame(meter: &mut EnergyMeter) -> Duration {
        const FRAMES: u32 = 10_000;
        let mut work = FrameWork::default();
        for stage in [EnergyStage::Capture, EnergyStage::Decode, EnergyStage::Preprocess, EnergyStage::Saver] {
            work.took(stage, Duration::from_nanos(100), false);
        }
        let cost = (0..9).map(|_| {
            let before = ThreadTime::now();
            for _ in 0..FRAMES {
                meter.between(Account::Idle);
                assert!(meter.frame(&work).is_some());
                meter.between(Account::Sinks);
            }
            before.elapsed() / FRAMES
        });
        cost.min().unwrap()
    }

    #[test]
    fn the_books_of_a_frame_cost_less_than_two_microseconds() {
        let mut modelled = EnergyMeter::start(&settings(SensorChoice::None)).unwrap().unwrap();
        let cost = best_per_frame(&mut modelled);
        assert!(cost <= Duration::from_micros(2), "modelled: {cost:?} a frame");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("watts");
        std::fs::write(&file, "4.5\n").unwrap();
        // However long this takes, the meter is not a silent one.
        let later = std::time::SystemTime::now() + Duration::from_secs(3600);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        let mut measured = EnergyMeter::start(&settings(SensorChoice::File(file))).unwrap().unwrap();
        let cost = best_per_frame(&mut measured);
        assert!(cost <= Duration::from_micros(2), "measured: {cost:?} a frame");
    }

    /// Ten readings a second may cost 5 ms of a core: half a millisecond each. The chip's own answer is waited for, not
    /// worked for.
    #[test]
    fn a_sample_costs_less_than_half_a_millisecond_of_a_core() {
        let root = tempfile::tempdir().unwrap();
        let chip = root.path().join("sys/class/hwmon/hwmon1");
        std::fs::create_dir_all(&chip).unwrap();
        for (file, content) in
            [("name", "ina3221"), ("in1_label", "VDD_IN"), ("in1_input", "5008"), ("curr1_input", "912")]
        {
            std::fs::write(chip.join(file), content).unwrap();
        }
        let tree: Arc<dyn SysTree> = Arc::new(RealTree::new(root.path()));
        let mut sensor = choose_sensor(&SensorChoice::Auto, &tree).unwrap().unwrap();
        let before = ThreadTime::now();
        for reading in 0..1000 {
            assert!(sensor.read(SAMPLE_PERIOD * reading).unwrap().is_some());
        }
        let cost = before.elapsed() / 1000;
        assert!(cost <= Duration::from_micros(500), "{cost:?} a sample");
    }
}
