//! `tinysaver power fit`: a board's coefficients from what somebody read off a meter.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use tinysaver_core::energy::{Coefficient, Fitted, PowerFit, PowerReading, fit_power};

use crate::energy::Board;
use crate::failure::Failure;

/// Arguments of `power fit`.
#[derive(clap::Args)]
pub struct FitArgs {
    /// A CSV file with a head: watts,busy_cores and, if they were varied, f32_cores and sent_bytes_per_second; a line for
    /// each load that was held for a minute or so (docs/energy.md)
    #[arg(value_name = "READINGS.csv")]
    readings: PathBuf,
    /// How many cores the board has [default: those of --board's profile, or of this machine]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    cores: Option<u32>,
    /// The board whose profile says how many cores there are
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    /// What stands in the profile as the source: meter, board, date
    #[arg(long, value_name = "TEXT", default_value = "a meter's readings")]
    note: String,
    /// As one JSON object, not as TOML for a profile
    #[arg(long)]
    json: bool,
}

/// The columns that a file may have.
const COLUMNS: [&str; 4] = ["watts", "busy_cores", "f32_cores", "sent_bytes_per_second"];

struct Readings {
    rows: Vec<PowerReading>,
    /// What can be told from them.
    unknowns: Vec<Coefficient>,
}

/// Fits and prints what a profile wants.
pub fn execute(args: &FitArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let (cores, readings) = read(args).map_err(Failure::Config)?;
    let fit = fit_power(&readings.rows, &readings.unknowns)
        .with_context(|| args.readings.display().to_string())
        .map_err(Failure::Config)?;
    if args.json {
        writeln!(out, "{}", as_json(&fit, cores))?;
    } else {
        write!(out, "{}", as_toml(&fit, cores, args, &readings)?)?;
    }
    Ok(())
}

fn read(args: &FitArgs) -> Result<(u32, Readings)> {
    let board = args.board.as_deref().map(|name| Board::find(Some(name), Path::new("/"))).transpose()?.flatten();
    let here = || std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok());
    let cores = args.cores.or_else(|| board?.cores()).or_else(here);
    let cores = cores.context("how many cores has the board? --cores says it")?;
    let text = std::fs::read_to_string(&args.readings).with_context(|| args.readings.display().to_string())?;
    let readings = parse(&text).map_err(|error| anyhow!("{}:{error}", args.readings.display()))?;
    let busiest = readings.rows.iter().map(|row| row.busy_cores + row.f32_cores).fold(0.0, f64::max);
    if busiest > f64::from(cores) * 1.02 {
        bail!("{}: {busiest} cores were busy, the board has {cores}; --cores says how many", args.readings.display());
    }
    Ok((cores, readings))
}

/// Errors begin with the line's number.
fn parse(text: &str) -> Result<Readings> {
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut lines = lines.by_ref().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let (at, head) = lines.next().context("1: the file is empty")?;
    let names: Vec<&str> = head.split(',').map(str::trim).collect();
    if let Some(unknown) = names.iter().find(|name| !COLUMNS.contains(name)) {
        bail!("{at}: unknown column '{unknown}'; there are {}", COLUMNS.join(", "));
    }
    let place = |column: &str| names.iter().position(|name| *name == column);
    let places = COLUMNS.map(place);
    let [Some(_), Some(_), of_f32, of_bytes] = places else {
        bail!("{at}: the columns watts and busy_cores are wanted, at least");
    };
    let mut rows = Vec::new();
    for (at, line) in lines {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if cells.len() != names.len() {
            bail!("{at}: {} values for {} columns", cells.len(), names.len());
        }
        let number = |column: usize| -> Result<f64> {
            let Some(cell) = places.get(column).copied().flatten().and_then(|place| cells.get(place)) else {
                return Ok(0.0);
            };
            let value: f64 = cell.parse().map_err(|_| anyhow!("{at}: '{cell}' is no number"))?;
            if value.is_finite() && value >= 0.0 { Ok(value) } else { bail!("{at}: {cell} is no number from 0 up") }
        };
        rows.push(PowerReading {
            watts: number(0)?,
            busy_cores: number(1)?,
            f32_cores: number(2)?,
            sent_bytes_per_second: number(3)?,
        });
    }
    let optional = [(of_f32, Coefficient::CoreF32), (of_bytes, Coefficient::Byte)];
    let optional = optional.into_iter().filter_map(|(place, unknown)| place.map(|_| unknown));
    Ok(Readings { rows, unknowns: [Coefficient::Idle, Coefficient::Core].into_iter().chain(optional).collect() })
}

/// The profile's keys with their values.
fn keys(fit: &PowerFit, cores: u32) -> Vec<(&'static str, f64, &Fitted)> {
    let idle = fit.value(Coefficient::Idle);
    let full = |core: f64| idle + f64::from(cores) * core;
    let key = |fitted: &Fitted| match fitted.coefficient {
        Coefficient::Idle => ("idle_watts", idle),
        Coefficient::Core => ("full_cpu_watts", full(fitted.value)),
        Coefficient::CoreF32 => ("full_cpu_f32_watts", full(fitted.value)),
        Coefficient::Byte => ("radio_microjoules_per_byte", fitted.value * 1e6),
    };
    fit.coefficients.iter().map(|fitted| (key(fitted).0, key(fitted).1, fitted)).collect()
}

fn as_toml(fit: &PowerFit, cores: u32, args: &FitArgs, readings: &Readings) -> Result<String> {
    let mut text = String::new();
    let (worst, at) = fit.worst;
    let residual =
        format!("residual {:.3} W (root mean square), worst {worst:+.3} W in reading {}", fit.residual_watts, at + 1);
    writeln!(text, "# {} readings, {cores} cores; {residual}", fit.readings)?;
    let mean = readings.rows.iter().map(|row| row.watts).sum::<f64>() / fit.readings.max(1) as f64;
    if fit.residual_watts > 0.05 * mean {
        writeln!(
            text,
            "# the residual is above 5 % of the mean: the loads were not steady, or something else drew power"
        )?;
    }
    writeln!(text, "[power.modelled]")?;
    for (key, value, fitted) in keys(fit, cores) {
        let (per, scale, unit) = match fitted.coefficient {
            Coefficient::Idle => ("", 1.0, "W"),
            Coefficient::Core | Coefficient::CoreF32 => (" a core", 1.0, "W"),
            Coefficient::Byte => (" a byte", 1e6, "uJ"),
        };
        let note = match fitted.standard_error {
            Some(error) => format!("{:.4} +- {:.4} {unit}{per}", fitted.value * scale, error * scale),
            None => "the readings show no such power".to_owned(),
        };
        writeln!(text, "{key} = {value:.4} # {note}")?;
    }
    let source = format!("{}: {} readings, {residual}", args.note, fit.readings);
    writeln!(text, "source = {}", toml::Value::String(source))?;
    Ok(text)
}

fn as_json(fit: &PowerFit, cores: u32) -> serde_json::Value {
    let coefficients = keys(fit, cores).into_iter().map(|(key, value, fitted)| {
        json!({ "key": key, "value": value, "coefficient": fitted.value, "standard_error": fitted.standard_error })
    });
    json!({
        "readings": fit.readings, "cores": cores, "residual_watts": fit.residual_watts,
        "worst_residual_watts": fit.worst.0, "worst_reading": fit.worst.1 + 1,
        "coefficients": coefficients.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_which_unknowns_there_are() {
        let readings = parse("# USB meter\nbusy_cores, watts\n0,2.8\n\n4,6.4\n").unwrap();
        assert_eq!(readings.unknowns, [Coefficient::Idle, Coefficient::Core]);
        assert_eq!((readings.rows[1].watts, readings.rows[1].busy_cores), (6.4, 4.0));
        let all = parse("watts,busy_cores,f32_cores,sent_bytes_per_second\n1,2,3,4\n").unwrap();
        assert_eq!((all.unknowns.len(), all.rows[0].sent_bytes_per_second), (4, 4.0));
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, words) in [
            ("", "1: the file is empty"),
            ("watts\n1\n", "1: the columns watts and busy_cores"),
            ("watts,busy_cores,usb\n", "1: unknown column 'usb'"),
            ("watts,busy_cores\n1,2\n1,2,3\n", "3: 3 values for 2 columns"),
            ("watts,busy_cores\n\n1,two\n", "3: 'two' is no number"),
            ("watts,busy_cores\n-1,2\n", "2: -1 is no number from 0 up"),
        ] {
            let error = parse(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(words), "{text:?}: {error}");
        }
    }
}
