//! `tinysaver power`: what this board tells of its power, temperature and clock.

use std::io::{self, Write};
use std::time::Duration;

use tinysaver_board::Throttle;
use tinysaver_board::power::Health;

use super::{power_cost, power_fit};
use crate::energy::{EnergyArgs, EnergyFile, EnergySettings, SensorReading, Survey};
use crate::failure::Failure;

/// Arguments of `power`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PowerArgs {
    #[command(flatten)]
    energy: EnergyArgs,
    /// Read each sensor for so many seconds, ten times a second; of an idle board, the mean is what --idle-watts wants
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = parse_seconds)]
    seconds: f64,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<PowerCommand>,
}

#[derive(clap::Subcommand)]
enum PowerCommand {
    /// Fit a profile's coefficients to readings of a plug's or USB meter; prints TOML for the profile
    Fit(power_fit::FitArgs),
    /// What booking costs the board itself: readings of the sensor, and a frame's books
    Cost(power_cost::CostArgs),
}

/// Seconds as flags take them.
///
/// # Errors
/// No number, or one beyond a day.
pub fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("not from 0 to 86400".to_owned()) }
}

/// Reads and shows them.
pub fn execute(args: &PowerArgs, out: &mut dyn Write) -> Result<(), Failure> {
    match &args.command {
        Some(PowerCommand::Fit(args)) => return power_fit::execute(args, out),
        Some(PowerCommand::Cost(args)) => return power_cost::execute(args, out),
        None => {}
    }
    let settings = EnergySettings::gather(&args.energy, None, EnergyFile::default()).map_err(Failure::Config)?;
    let survey = Survey::take(&settings, Duration::from_secs_f64(args.seconds)).map_err(Failure::Config)?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&survey)?)?;
    } else {
        write_survey(out, &survey)?;
    }
    Ok(())
}

fn write_survey(out: &mut dyn Write, survey: &Survey) -> io::Result<()> {
    writeln!(out, "board: {}", survey.board.as_deref().unwrap_or("no profile of this one; --board names one"))?;
    writeln!(out, "run books energy by: {}", survey.booked_by.as_deref().unwrap_or("-"))?;
    if let Some(source) = &survey.model_source {
        writeln!(out, "  {source}")?;
    }
    if survey.sensors.is_empty() {
        writeln!(out, "\nno power sensor")?;
    } else {
        writeln!(out, "\n{:<28}{:<18}{:>9}{:>9}{:>9}", "sensor", "sees", "mean W", "min W", "max W")?;
    }
    for sensor in &survey.sensors {
        write_sensor(out, sensor)?;
    }
    if let (Some(busy), Some(cores)) = (survey.busy_cores, survey.cores) {
        writeln!(out, "busy cores: {busy:.2} of {cores}")?;
    }
    for problem in &survey.problems {
        writeln!(out, "cannot be used: {problem}")?;
    }
    write_health(out, &survey.health)
}

fn write_sensor(out: &mut dyn Write, sensor: &SensorReading) -> io::Result<()> {
    let watts = [sensor.mean_watts, sensor.min_watts, sensor.max_watts];
    let [mean, min, max] = watts.map(|watts| watts.map_or_else(|| "-".to_owned(), |watts| format!("{watts:.3}")));
    writeln!(out, "{:<28}{:<18}{mean:>9}{min:>9}{max:>9}", sensor.name, sensor.domain.name())?;
    for remark in [&sensor.note, &sensor.error].into_iter().flatten() {
        writeln!(out, "  {remark}")?;
    }
    Ok(())
}

fn write_health(out: &mut dyn Write, health: &Health) -> io::Result<()> {
    writeln!(out)?;
    let zones: Vec<String> =
        health.temperatures.iter().map(|zone| format!("{} {:.1} C", zone.zone, zone.celsius)).collect();
    writeln!(out, "temperature: {}", or_unknown(&zones.join(", ")))?;
    writeln!(out, "throttling: {}", throttling(health.throttle))?;
    let mhz = |mhz: Option<f64>| mhz.map_or_else(|| "?".to_owned(), |mhz| format!("{mhz:.0}"));
    let clocks = health.clocks.iter().map(|clock| {
        let governor = clock.governor.as_deref().unwrap_or("?");
        format!("{} {} of {} MHz, {governor}", clock.policy, mhz(clock.current_mhz), mhz(clock.max_mhz))
    });
    let clocks: Vec<String> = clocks.collect();
    writeln!(out, "clock: {}", or_unknown(&clocks.join("; ")))?;
    for battery in &health.batteries {
        let percent = battery.percent.map_or_else(|| "?".to_owned(), |percent| format!("{percent:.0}"));
        let holds = battery.joules.map_or_else(String::new, |joules| format!(", {:.1} Wh", joules / 3600.0));
        let low = if battery.is_low { ", low" } else { "" };
        let feeds = if battery.is_discharging { ", discharging" } else { "" };
        writeln!(out, "battery: {} {percent} %{holds}{feeds}{low}", battery.name)?;
    }
    if let Some(mode) = &health.power_mode {
        writeln!(out, "power mode: {mode}")?;
    }
    Ok(())
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn throttling(throttle: Throttle) -> String {
    let Throttle::Bits(bits) = throttle else { return "unknown".into() };
    let now = throttle.now();
    let now = if now.is_empty() { "no".to_owned() } else { now.join(", ") };
    let ever = if throttle.since_boot().is_empty() { "" } else { "; some since the start" };
    format!("{now} (bits {bits:#x}{ever})")
}
