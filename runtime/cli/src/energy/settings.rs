//! Settings of the ledger: flags and variables, over the file.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use serde::Deserialize;
use tinysaver_board::power::SensorChoice;
use tinysaver_core::energy::Attached;

/// Where the board's `/sys` is, for commands that look there.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct SystemRootArgs {
    /// The folder below which /sys, /proc and /dev of the board are, as in a container [default: /]
    #[arg(long, value_name = "FOLDER", env = "TINYSAVER_SYSTEM_ROOT")]
    system_root: Option<PathBuf>,
}

impl SystemRootArgs {
    /// The folder.
    pub fn path(&self) -> PathBuf {
        self.system_root.clone().unwrap_or_else(|| "/".into())
    }
}

/// What environment and flags may set.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct EnergyArgs {
    /// The board whose profile models its power where no sensor is: pi4, a profile's path, or none [default: this board's,
    /// if there is a profile of it]
    #[arg(long, value_name = "NAME|FILE", env = "TINYSAVER_BOARD")]
    board: Option<String>,
    /// The sensor that measures its power: a name from `tinysaver power`, file:PATH, command:PROGRAM, or none [default: the
    /// one that sees most of the board, if any]
    #[arg(long, value_name = "NAME", env = "TINYSAVER_POWER_SENSOR")]
    power_sensor: Option<String>,
    /// What that sensor shows while the board idles, in watts: then energy above idling is known, too
    #[arg(long, value_name = "WATTS", env = "TINYSAVER_IDLE_WATTS")]
    idle_watts: Option<f64>,
    #[command(flatten)]
    root: SystemRootArgs,
}

/// Section `[power]` of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnergyFile {
    sensor: Option<String>,
    idle_watts: Option<f64>,
}

/// With their final values.
#[derive(Debug, Clone, PartialEq)]
pub struct EnergySettings {
    /// A profile's name or path, or `none`.
    pub board: Option<String>,
    /// Which sensor.
    pub sensor: SensorChoice,
    /// What it shows while the board idles.
    pub idle_watts: Option<f64>,
    /// Where `/proc` and `/sys` are.
    pub root: PathBuf,
    /// What the board feeds meanwhile, for a model.
    pub attached: Attached,
}

impl EnergySettings {
    /// Merges the two.
    ///
    /// # Errors
    /// A sensor's name that is none, or watts that no board draws.
    pub fn gather(args: &EnergyArgs, board: Option<String>, file: EnergyFile) -> Result<Self> {
        let sensor = args.power_sensor.clone().or(file.sensor).unwrap_or_else(|| "auto".to_owned());
        let idle_watts = args.idle_watts.or(file.idle_watts);
        if let Some(watts) = idle_watts.filter(|watts| !(0.0..=1000.0).contains(watts)) {
            return Err(anyhow!("idle_watts = {watts}: must be from 0 to 1000"));
        }
        Ok(Self {
            board: args.board.clone().or(board),
            sensor: sensor.parse().map_err(|error| anyhow!("power sensor: {error}"))?,
            idle_watts,
            root: args.root.path(),
            attached: Attached::default(),
        })
    }
}
