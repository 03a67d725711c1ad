//! Settings: defaults < file < environment < flags. clap reads environment and flags; this file reads the file, merges
//! the two and gives defaults.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tinysaver_board::{DecodeLimits, DisplayAddress, SourceAddress};
use tinysaver_core::energy::Attached;
use tinysaver_core::spend::Prices;
use tinysaver_core::{ReuseSettings, Temperature, Threshold};
use tinysaver_engine::KernelChoice;

use crate::energy::{EnergyArgs, EnergyFile, EnergySettings};
use crate::exit_log::LogOptions;
use crate::face::{DisplayFile, FaceArgs, FaceSettings, HttpFile};
use crate::feed::Pace;
use crate::offload::{OffloadArgs, OffloadFile, OffloadSettings};
use crate::spending::{BudgetArgs, BudgetFile, BudgetSettings, PriceArgs, PriceFile};
use crate::threads::{ThreadArgs, ThreadCount};

/// The pair that `make run` builds.
const DEFAULT_PAIR: &str = "models/imagenet-lite/pair.toml";
const MIB: u64 = 1 << 20;

/// The configuration file, key by key. Every key may be missing; an unknown one is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSettings {
    pair: Option<PathBuf>,
    source: Option<String>,
    truth: Option<PathBuf>,
    saver: Option<String>,
    base: Option<String>,
    threshold: Option<Threshold>,
    temperature: Option<Temperature>,
    policy: Option<PathBuf>,
    max_pixels: Option<u64>,
    threads: Option<ThreadCount>,
    realtime: Option<bool>,
    fps: Option<Rate>,
    board: Option<String>,
    #[serde(default)]
    power: EnergyFile,
    #[serde(default)]
    budget: BudgetFile,
    #[serde(default)]
    price: PriceFile,
    #[serde(default)]
    change: ChangeSettings,
    #[serde(default)]
    log: LogSettings,
    #[serde(default)]
    offload: OffloadFile,
    display: Option<DisplayFile>,
    #[serde(default)]
    http: HttpFile,
}

/// When the last answer is given again.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeSettings {
    reuse: Option<bool>,
    max_age_ms: Option<u64>,
    check_every: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSettings {
    folder: Option<PathBuf>,
    max_bytes: Option<LogBytes>,
    max_file_bytes: Option<LogBytes>,
    sync_interval_ms: Option<u64>,
}

/// A size that at least a few records fit into.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
struct LogBytes(u64);

impl TryFrom<u64> for LogBytes {
    type Error = String;

    fn try_from(bytes: u64) -> Result<Self, String> {
        const SMALLEST: u64 = 4096;
        if bytes >= SMALLEST { Ok(Self(bytes)) } else { Err(format!("{bytes} bytes are too few: at least {SMALLEST}")) }
    }
}

/// Which kernels the int8 engine takes.
#[derive(Debug, Default, Clone, Copy, clap::Args)]
pub struct KernelArgs {
    /// Kernels of the int8 engine, to compare them: auto takes the fastest that this processor has [default: auto]
    #[arg(long, value_name = "NAME", env = "TINYSAVER_KERNEL", value_parser = parse_kernel)]
    pub kernel: Option<KernelChoice>,
}

impl KernelArgs {
    /// What was asked for, or the fastest.
    pub fn choice(self) -> KernelChoice {
        self.kernel.unwrap_or_default()
    }
}

/// Frames per second.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Rate(f64);

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, String> {
        if (0.001..=1000.0).contains(&rate) { Ok(Self(rate)) } else { Err(format!("{rate} is not from 0.001 to 1000")) }
    }
}

/// What environment and flags may set. Relative paths are taken from the current folder.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct SettingsArgs {
    /// Settings from this TOML file; environment and flags override it
    #[arg(long, value_name = "FILE", env = "TINYSAVER_CONFIG")]
    pub config: Option<PathBuf>,
    /// The pair: a pair.toml or the folder that holds one [default: models/imagenet-lite/pair.toml]
    #[arg(long, value_name = "PATH", env = "TINYSAVER_PAIR")]
    pub pair: Option<PathBuf>,
    /// Another model of the pair as the saver, by its id
    #[arg(long, value_name = "ID", env = "TINYSAVER_SAVER")]
    pub saver: Option<String>,
    /// Another model of the pair as the base, by its id
    #[arg(long, value_name = "ID", env = "TINYSAVER_BASE")]
    pub base: Option<String>,
    /// The saver answers when its confidence is above this, 0 to 1 [default: the pair's, not calibrated]
    #[arg(long, value_name = "P", env = "TINYSAVER_THRESHOLD", value_parser = parse_threshold)]
    pub threshold: Option<Threshold>,
    /// Divides the saver's logits before its confidence is computed [default: the pair's]
    #[arg(long, value_name = "T", env = "TINYSAVER_TEMPERATURE", value_parser = parse_temperature)]
    pub temperature: Option<Temperature>,
    /// Threshold, temperature and score from a policy that `tinysaver calibrate` wrote for these two models
    #[arg(long, value_name = "FILE", env = "TINYSAVER_POLICY")]
    pub policy: Option<PathBuf>,
    /// Refuse pictures of more pixels than this [default: 64000000]
    #[arg(long, value_name = "N", env = "TINYSAVER_MAX_PIXELS")]
    pub max_pixels: Option<u64>,
    #[command(flatten)]
    pub kernel: KernelArgs,
    #[command(flatten)]
    pub threads: ThreadArgs,
}

/// What only `run` may set.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct RunSettingsArgs {
    /// A camera (/dev/video0, v4l2:///dev/video0?size=640x480&fps=30&format=auto, rpicam://0), a stream
    /// (http://host/stream.mjpg), a .mjpeg or .y4m file, pictures (a folder, a file, 'photos/*.jpg') or test://?frames=20
    #[arg(long, value_name = "SOURCE", env = "TINYSAVER_SOURCE")]
    pub source: Option<String>,
    /// Recorded frames at the speed at which they were taken; none is dropped
    #[arg(long, env = "TINYSAVER_REALTIME")]
    pub realtime: bool,
    /// The speed for --realtime, in frames per second [default: the recording's]
    #[arg(long, value_name = "FPS", env = "TINYSAVER_FPS", value_parser = parse_rate)]
    pub fps: Option<Rate>,
    /// While a camera or a video shows the same scene, give the last answer again (exit `reused`)
    #[arg(long, env = "TINYSAVER_REUSE")]
    pub reuse: bool,
    /// With --reuse: no answer is given again after so long [default: 2000]
    #[arg(long, value_name = "MS", env = "TINYSAVER_REUSE_MAX_AGE_MS")]
    pub reuse_max_age_ms: Option<u64>,
    /// With --reuse: every N-th frame that could be answered again is classified all the same, to count misses; 0: none
    /// [default: 50]
    #[arg(long, value_name = "N", env = "TINYSAVER_REUSE_CHECK_EVERY")]
    pub reuse_check_every: Option<u32>,
    /// Right classes: a CSV file with the columns file,class [default: truth.csv beside the pictures, if any]
    #[arg(long, value_name = "FILE", env = "TINYSAVER_TRUTH")]
    pub truth: Option<PathBuf>,
    /// Write the exit log (JSON Lines, one record a frame) into this folder
    #[arg(long, value_name = "FOLDER", env = "TINYSAVER_LOG")]
    pub log: Option<PathBuf>,
    #[command(flatten)]
    pub energy: EnergyArgs,
    #[command(flatten)]
    pub budget: BudgetArgs,
    #[command(flatten)]
    pub price: PriceArgs,
    #[command(flatten)]
    pub offload: OffloadArgs,
    #[command(flatten)]
    pub face: FaceArgs,
}

/// Every setting with its final value.
#[derive(Debug)]
pub struct Settings {
    /// A pair.toml.
    pub pair: PathBuf,
    /// Where frames come from.
    pub source: Option<String>,
    /// At what speed recorded frames come.
    pub pace: Pace,
    /// A file of right classes.
    pub truth: Option<PathBuf>,
    /// A model id, if not the pair's default.
    pub saver: Option<String>,
    /// A model id, if not the pair's default.
    pub base: Option<String>,
    /// If not the pair's.
    pub threshold: Option<Threshold>,
    /// If not the pair's.
    pub temperature: Option<Temperature>,
    /// A policy file, which has both.
    pub policy: Option<PathBuf>,
    /// What a picture may cost.
    pub limits: DecodeLimits,
    /// Kernels of the int8 engine.
    pub kernel: KernelChoice,
    /// Of one inference.
    pub threads: ThreadCount,
    /// When the last answer is given again; `None` for never.
    pub reuse: Option<ReuseSettings>,
    /// The exit log, if one is wanted.
    pub log: Option<LogOptions>,
    /// What the run's energy is told by.
    pub energy: EnergySettings,
    /// What it may spend, if that is limited.
    pub budget: Option<BudgetSettings>,
    /// What the ways to a base cost, if that is to choose between them.
    pub price: Option<Prices>,
    /// Bases on other machines, if any are named.
    pub offload: Option<OffloadSettings>,
    /// Display and live page.
    pub face: FaceSettings,
}

/// A threshold as flags take it.
///
/// # Errors
/// No number, or one outside 0 to 1.
pub fn parse_threshold(text: &str) -> Result<Threshold, String> {
    let number: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    Threshold::try_from(number).map_err(|error| error.to_string())
}

fn parse_kernel(text: &str) -> Result<KernelChoice, String> {
    text.parse()
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    text.parse::<f64>().map_err(|_| "not a number".to_owned()).and_then(Rate::try_from)
}

fn parse_temperature(text: &str) -> Result<Temperature, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Temperature::try_from(number).map_err(|error| error.to_string())
}

impl Settings {
    /// Merges file, environment and flags.
    ///
    /// # Errors
    /// A configuration file that cannot be read or says something impossible: file, line and key are named.
    pub fn gather(args: &SettingsArgs, run: &RunSettingsArgs) -> Result<Self> {
        let file: FileSettings = match &args.config {
            Some(path) => read_toml(path)?,
            None => FileSettings::default(),
        };
        let pair = args.pair.clone().or(file.pair).unwrap_or_else(|| DEFAULT_PAIR.into());
        let log_folder = run.log.clone().or(file.log.folder);
        let max_bytes = file.log.max_bytes.map_or(64 * MIB, |bytes| bytes.0);
        let max_file_bytes = file.log.max_file_bytes.map_or((8 * MIB).min(max_bytes), |bytes| bytes.0);
        let source = run.source.clone().or(file.source);
        let face = FaceSettings::gather(&run.face, file.display, &file.http)?;
        let mut energy = EnergySettings::gather(&run.energy, file.board, file.power)?;
        energy.attached = attached(source.as_deref(), &face);
        let offload = OffloadSettings::gather(&run.offload, file.offload)?;
        let price = run.price.gather(&file.price)?;
        if price.is_some() && offload.is_none() {
            bail!("prices choose between bases, and without --offload there is only the one on this board");
        }
        Ok(Self {
            pair: if pair.is_dir() { pair.join("pair.toml") } else { pair },
            source,
            pace: Pace {
                realtime: run.realtime || file.realtime.unwrap_or(false),
                frames_per_second: run.fps.or(file.fps).map(|rate| rate.0),
            },
            truth: run.truth.clone().or(file.truth),
            saver: args.saver.clone().or(file.saver),
            base: args.base.clone().or(file.base),
            threshold: args.threshold.or(file.threshold),
            temperature: args.temperature.or(file.temperature),
            policy: args.policy.clone().or(file.policy),
            limits: args
                .max_pixels
                .or(file.max_pixels)
                .map_or_else(DecodeLimits::default, |max_pixels| DecodeLimits { max_pixels }),
            kernel: args.kernel.choice(),
            threads: args.threads.threads.or(file.threads).unwrap_or_default(),
            reuse: reuse(run, &file.change),
            face,
            energy,
            budget: BudgetSettings::gather(&run.budget, &file.budget, &jiff::Zoned::now())?,
            offload,
            price,
            log: log_folder.map(|folder| LogOptions {
                folder,
                max_bytes,
                max_file_bytes,
                sync_interval: Duration::from_millis(file.log.sync_interval_ms.unwrap_or(1000)),
            }),
        })
    }
}

/// What of camera and display the board feeds itself: no camera elsewhere, no monitor.
fn attached(source: Option<&str>, face: &FaceSettings) -> Attached {
    let address = source.and_then(|source| source.parse::<SourceAddress>().ok());
    let is_panel =
        |display: &DisplayAddress| matches!(display, DisplayAddress::SpiPanel(_) | DisplayAddress::Ssd1306 { .. });
    Attached {
        camera: matches!(address, Some(SourceAddress::V4l2(_) | SourceAddress::Rpicam { .. })),
        display: face.displays.iter().any(is_panel),
    }
}

fn reuse(run: &RunSettingsArgs, file: &ChangeSettings) -> Option<ReuseSettings> {
    let max_age_ms = run.reuse_max_age_ms.or(file.max_age_ms).unwrap_or(2000);
    let settings = ReuseSettings {
        max_age_us: max_age_ms.saturating_mul(1000),
        recheck_every: run.reuse_check_every.or(file.check_every).unwrap_or(50),
    };
    (run.reuse || file.reuse.unwrap_or(false)).then_some(settings)
}

/// Reads a TOML file; an error says `FILE:LINE: what is wrong`, with the line itself.
///
/// # Errors
/// The file cannot be read, is no TOML, or holds what `T` does not allow.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    parse_toml(path, &text)
}

/// The same from a text that was read already.
///
/// # Errors
/// It is no TOML, or holds what `T` does not allow.
pub fn parse_toml<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let what = error.message().trim().replace('\n', "; ");
        let Some(span) = error.span() else { return anyhow!("{}: {what}", path.display()) };
        let before = text.get(..span.start).unwrap_or_default();
        let line_number = before.matches('\n').count() + 1;
        let line = text.lines().nth(line_number - 1).unwrap_or_default().trim();
        anyhow!("{}:{line_number}: `{line}`: {what}", path.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_toml::<FileSettings>(Path::new("c.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn mistakes_name_file_line_and_key() {
        let check = |text: &str, parts: &[&str]| {
            let error = error(text);
            assert!(parts.iter().all(|part| error.contains(part)), "{text:?}: {error}");
        };
        check(
            "pair = \"a\"\nthresold = 0.5\n",
            &["c.toml:2: `thresold = 0.5`", "unknown field `thresold`", "`threshold`"],
        );
        check("threshold = \"high\"", &["c.toml:1: `threshold = \"high\"`", "invalid type"]);
        check("\n\nthreshold = 1.5", &["c.toml:3: `threshold = 1.5`", "must lie between 0"]);
        check("temperature = 0.0", &["c.toml:1:", "must be a finite number above 0"]);
        check("[log]\nmax_bytes = 10", &["c.toml:2: `max_bytes = 10`", "at least 4096"]);
        check("[log]\nmax_bytes = -10", &["c.toml:2: `max_bytes = -10`"]);
        check("[lag]\nfolder = \"x\"", &["c.toml:1: `[lag]`", "unknown field `lag`"]);
        check("[change]\nmax_age = 1", &["c.toml:2: `max_age = 1`", "`max_age_ms`"]);
        check("threads = 0", &["c.toml:1: `threads = 0`", "from 1 to 64"]);
        check("fps = 0", &["c.toml:1: `fps = 0`", "0.001 to 1000"]);
        check("threshold 0.5", &["c.toml:1:"]);
    }

    #[test]
    fn the_order_is_file_then_flags() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("c.toml");
        fs::write(
            &config,
            "threshold = 0.25\nthreads = 2\nsource = \"file/\"\n[log]\nmax_bytes = 5000\nfolder = \"l\"\n",
        )
        .unwrap();
        let mut args = SettingsArgs { config: Some(config), ..SettingsArgs::default() };
        let mut run = RunSettingsArgs::default();
        let from_file = Settings::gather(&args, &run).unwrap();
        assert_eq!(from_file.threshold.map(Threshold::value), Some(0.25));
        assert_eq!((from_file.source.as_deref(), from_file.pair.as_path()), (Some("file/"), Path::new(DEFAULT_PAIR)));
        let log = from_file.log.unwrap();
        assert_eq!((log.max_bytes, log.max_file_bytes), (5000, 5000));
        assert_eq!(from_file.reuse, None, "off by default");
        assert_eq!(from_file.threads.get(), 2);
        args.threshold = Some(Threshold::try_from(0.75).unwrap());
        args.threads.threads = Some("3".parse().unwrap());
        run.source = Some("flag/".into());
        let both = Settings::gather(&args, &run).unwrap();
        assert_eq!(both.threads.get(), 3);
        assert_eq!((both.threshold.map(Threshold::value), both.source.as_deref()), (Some(0.75), Some("flag/")));
    }

    #[test]
    fn the_board_feeds_its_own_camera_and_panel_and_no_others() {
        let of = |source: &str, display: &str| {
            let mut run = RunSettingsArgs { source: Some(source.into()), ..RunSettingsArgs::default() };
            run.face.displays = display.split_whitespace().map(str::to_owned).collect();
            let Attached { camera, display } =
                Settings::gather(&SettingsArgs::default(), &run).unwrap().energy.attached;
            (camera, display)
        };
        assert_eq!(of("/dev/video0", "st7789:///dev/spidev0.0?dc=25&rst=27&size=240x240"), (true, true));
        assert_eq!(of("rpicam://0", "ssd1306:///dev/i2c-1?size=128x64"), (true, true));
        assert_eq!(of("http://camera/stream.mjpg", "fb:///dev/fb0"), (false, false));
        assert_eq!(of("test://?frames=1", ""), (false, false));
    }

    #[test]
    fn reuse_is_asked_for_in_either_place() {
        let asked = RunSettingsArgs { reuse: true, reuse_check_every: Some(0), ..RunSettingsArgs::default() };
        let in_file = |text: &str| parse_toml::<FileSettings>(Path::new("c.toml"), text).unwrap().change;
        let settings = |max_age_us, recheck_every| Some(ReuseSettings { max_age_us, recheck_every });
        assert_eq!(reuse(&RunSettingsArgs::default(), &in_file("[change]\nmax_age_ms = 5")), None);
        assert_eq!(reuse(&RunSettingsArgs::default(), &in_file("[change]\nreuse = true")), settings(2_000_000, 50));
        assert_eq!(reuse(&asked, &in_file("[change]\nmax_age_ms = 5\ncheck_every = 9")), settings(5000, 0));
    }
}
