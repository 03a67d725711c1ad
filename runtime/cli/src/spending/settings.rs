//! Settings of a budget: flags and variables, over the section `[budget]` of the file.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::{Span, SpanRelativeTo, Timestamp, Unit, Zoned, civil};
use serde::Deserialize;
use tinysaver_core::spend::Budget;

/// Frames come at most so far apart unless somebody says otherwise.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);
const JOULES_PER_WATT_HOUR: f64 = 3600.0;
/// A battery that is to last longer is a solar panel.
const LONGEST_UNTIL: Duration = Duration::from_secs(366 * 86_400);

/// What environment and flags may set.
#[derive(Debug, Default, Clone, clap::Args)]
pub struct BudgetArgs {
    /// Draw so much on average: the threshold rises and falls with it, never below its certified point (docs/energy.md)
    #[arg(long, value_name = "WATTS", env = "TINYSAVER_BUDGET_WATTS")]
    budget_watts: Option<f64>,
    /// The same by joules in every 24 hours from the start
    #[arg(long, value_name = "JOULES", env = "TINYSAVER_BUDGET_JOULES_PER_DAY")]
    budget_joules_per_day: Option<f64>,
    /// The same by a battery that holds so many watt-hours now; if it tells what it holds, that counts
    #[arg(long, value_name = "WH", env = "TINYSAVER_BATTERY_WH")]
    battery_wh: Option<f64>,
    /// How long that battery is to last: 8h, 1h30m or 2d from now, or until 18:30 or 2026-11-25T06:00
    #[arg(long, value_name = "DURATION|TIME", env = "TINYSAVER_BATTERY_UNTIL")]
    battery_until: Option<String>,
    /// Under a budget, frames come at least so often, in frames per second [default: 1]
    #[arg(long, value_name = "FPS", env = "TINYSAVER_SLOWEST_FPS", conflicts_with = "longest_interval_ms")]
    slowest_fps: Option<f64>,
    /// The same as the longest time between two frames
    #[arg(long, value_name = "MS", env = "TINYSAVER_LONGEST_INTERVAL_MS")]
    longest_interval_ms: Option<u64>,
    /// Let a budget that is too small push the threshold below its certified point; such answers are marked
    #[arg(long, env = "TINYSAVER_ALLOW_UNCERTIFIED")]
    allow_uncertified: bool,
}

/// Section `[budget]` of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetFile {
    watts: Option<f64>,
    joules_per_day: Option<f64>,
    battery_wh: Option<f64>,
    battery_until: Option<String>,
    slowest_fps: Option<f64>,
    longest_interval_ms: Option<u64>,
    allow_uncertified: Option<bool>,
}

/// A budget that is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetSettings {
    /// What may be spent.
    pub budget: Budget,
    /// Frames come at most so far apart.
    pub longest_interval: Duration,
    /// Permission to go below the certified threshold.
    pub allow_uncertified: bool,
}

impl BudgetSettings {
    /// Merges the two; a budget on the command line replaces the file's. `None` where there is none.
    ///
    /// # Errors
    /// More than one budget, half of one, numbers that are none, a time that is past.
    pub fn gather(args: &BudgetArgs, file: &BudgetFile, now: &Zoned) -> Result<Option<Self>> {
        let asked = args.budget_watts.is_some()
            || args.budget_joules_per_day.is_some()
            || args.battery_wh.is_some()
            || args.battery_until.is_some();
        let (watts, joules_per_day) =
            if asked { (args.budget_watts, args.budget_joules_per_day) } else { (file.watts, file.joules_per_day) };
        // Half a battery on the command line completes the file's; another budget replaces it.
        let replaced = asked && (watts.is_some() || joules_per_day.is_some());
        let battery_wh = args.battery_wh.or(file.battery_wh.filter(|_| !replaced));
        let until = args.battery_until.clone().or_else(|| file.battery_until.clone().filter(|_| !replaced));
        let battery = match (battery_wh, until) {
            (None, None) => None,
            (Some(watt_hours), Some(until)) => Some(Budget::Battery {
                joules: watt_hours * JOULES_PER_WATT_HOUR,
                until: time_until(&until, now).with_context(|| format!("battery_until = {until}"))?,
            }),
            (Some(_), None) => {
                bail!("battery_wh: until when is it to last? Say so with battery_until, such as 8h or 18:30")
            }
            (None, Some(_)) => bail!("battery_until: what does the battery hold? Say so with battery_wh"),
        };
        let wanted = [watts.map(Budget::Watts), joules_per_day.map(Budget::JoulesPerDay), battery];
        let mut budgets = wanted.into_iter().flatten();
        let Some(budget) = budgets.next() else { return without_budget(args, file) };
        if budgets.next().is_some() {
            bail!("more than one budget: watts, joules per day, or a battery with its time, but only one of them");
        }
        let checked = budget.checked().context("[budget]")?;
        Ok(Some(Self {
            budget: checked,
            longest_interval: longest_interval(args, file)?,
            allow_uncertified: args.allow_uncertified || file.allow_uncertified.unwrap_or(false),
        }))
    }
}

/// What only a budget gives a meaning.
fn without_budget(args: &BudgetArgs, file: &BudgetFile) -> Result<Option<BudgetSettings>> {
    let is_set = args.slowest_fps.is_some()
        || args.longest_interval_ms.is_some()
        || args.allow_uncertified
        || file.slowest_fps.is_some()
        || file.longest_interval_ms.is_some()
        || file.allow_uncertified.is_some();
    if is_set {
        bail!(
            "slowest_fps, longest_interval_ms and allow_uncertified belong to a budget, and there is none: name one with \
             --budget-watts, --budget-joules-per-day, or --battery-wh and --battery-until"
        );
    }
    Ok(None)
}

fn longest_interval(args: &BudgetArgs, file: &BudgetFile) -> Result<Duration> {
    let (fps, millis) = if args.slowest_fps.is_some() || args.longest_interval_ms.is_some() {
        (args.slowest_fps, args.longest_interval_ms)
    } else {
        (file.slowest_fps, file.longest_interval_ms)
    };
    match (fps, millis) {
        (Some(_), Some(_)) => bail!("[budget]: slowest_fps or longest_interval_ms, not both"),
        (Some(fps), None) if (0.0001..=1000.0).contains(&fps) => Ok(Duration::from_secs_f64(1.0 / fps)),
        (Some(fps), None) => bail!("slowest_fps = {fps}: must be from 0.0001 to 1000"),
        (None, Some(millis)) if (1..=10_000_000).contains(&millis) => Ok(Duration::from_millis(millis)),
        (None, Some(millis)) => bail!("longest_interval_ms = {millis}: must be from 1 to 10000000"),
        (None, None) => Ok(LONGEST_INTERVAL),
    }
}

/// From now to the end of a duration, the next time that a clock shows this, or a date.
fn time_until(text: &str, now: &Zoned) -> Result<Duration> {
    let text = text.trim();
    let end = if let Ok(moment) = text.parse::<Timestamp>() {
        moment
    } else if text.contains(':') && !text.contains(['T', ' ']) {
        let clock: civil::Time = text.parse().context("no time of a day, such as 18:30")?;
        let today = now.date().to_datetime(clock).to_zoned(now.time_zone().clone())?;
        let day = if today > *now { now.date() } else { now.date().tomorrow()? };
        day.to_datetime(clock).to_zoned(now.time_zone().clone())?.timestamp()
    } else if text.starts_with(|first: char| first.is_ascii_digit()) && text.contains(['T', ' ']) && text.contains('-')
    {
        let date: civil::DateTime = text.parse().context("no date with a time, such as 2026-11-25T06:00")?;
        date.to_zoned(now.time_zone().clone())?.timestamp()
    } else {
        let span: Span =
            text.parse().context("neither a duration, such as 8h, 1h30m or 2d, nor a time, such as 18:30")?;
        // A day has 24 hours here, whatever clocks do in between.
        let seconds = span.total((Unit::Second, SpanRelativeTo::days_are_24_hours())).context("no months or years")?;
        return in_range(seconds);
    };
    in_range(end.duration_since(now.timestamp()).as_secs_f64())
}

fn in_range(seconds: f64) -> Result<Duration> {
    let until = Duration::try_from_secs_f64(seconds).ok().filter(|until| !until.is_zero() && *until <= LONGEST_UNTIL);
    until.context("must be after now, and within a year")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2026-11-24T20:00:00+01:00[Europe/Paris]"
            .parse()
            .unwrap_or_else(|_| "2026-11-24T20:00:00+01:00[+01:00]".parse().unwrap())
    }

    fn gather(args: &BudgetArgs, file: &str) -> Result<Option<BudgetSettings>> {
        BudgetSettings::gather(args, &toml::from_str(file).unwrap(), &now())
    }

    #[test]
    fn a_time_is_a_duration_a_clock_or_a_date() {
        for (text, hours) in [
            ("8h", 8.0),
            ("90m", 1.5),
            ("1h30m", 1.5),
            ("2d", 48.0),
            ("PT36H", 36.0),
            ("21:30", 1.5),
            ("06:00", 10.0),
            ("20:00", 24.0),
            ("2026-11-25T06:00", 10.0),
            ("2026-11-25 06:00", 10.0),
            ("2026-11-25T06:00:00Z", 11.0),
        ] {
            let until = time_until(text, &now()).unwrap_or_else(|error| panic!("{text}: {error:#}"));
            assert!((until.as_secs_f64() / 3600.0 - hours).abs() < 1e-9, "{text}: {until:?}");
        }
        for text in ["", "8", "soon", "-1h", "0s", "25:00", "2026-11-24T06:00", "400d", "3mo"] {
            assert!(time_until(text, &now()).is_err(), "{text}");
        }
    }

    #[test]
    fn one_budget_and_the_command_line_goes_first() {
        let budget = |args: &BudgetArgs, file: &str| gather(args, file).unwrap().map(|settings| settings.budget);
        let none = BudgetArgs::default();
        assert_eq!(budget(&none, ""), None);
        assert_eq!(budget(&none, "watts = 3.5"), Some(Budget::Watts(3.5)));
        let by_day = BudgetArgs { budget_joules_per_day: Some(1e5), ..none.clone() };
        assert_eq!(budget(&by_day, "watts = 3.5"), Some(Budget::JoulesPerDay(1e5)));
        assert_eq!(budget(&by_day, "battery_wh = 20\nbattery_until = \"8h\""), Some(Budget::JoulesPerDay(1e5)));
        let until = BudgetArgs { battery_until: Some("10h".into()), ..none };
        let battery = Budget::Battery { joules: 72_000.0, until: Duration::from_secs(36_000) };
        assert_eq!(budget(&until, "battery_wh = 20\nbattery_until = \"8h\""), Some(battery));
        let settings = gather(&by_day, "slowest_fps = 0.5\nallow_uncertified = true").unwrap().unwrap();
        assert_eq!((settings.longest_interval, settings.allow_uncertified), (Duration::from_secs(2), true));
    }

    #[test]
    fn mistakes_say_what_to_do() {
        let watts = BudgetArgs { budget_watts: Some(3.0), ..BudgetArgs::default() };
        for (args, file, part) in [
            (BudgetArgs { budget_joules_per_day: Some(1.0), ..watts.clone() }, "", "more than one budget"),
            (BudgetArgs::default(), "watts = 1\njoules_per_day = 1", "more than one budget"),
            (BudgetArgs { battery_wh: Some(20.0), ..BudgetArgs::default() }, "", "battery_until, such as 8h"),
            (BudgetArgs { battery_until: Some("8h".into()), ..BudgetArgs::default() }, "", "battery_wh"),
            (BudgetArgs::default(), "battery_wh = 1\nbattery_until = \"later\"", "battery_until = later"),
            (BudgetArgs::default(), "watts = -1.0", "-1 is no budget"),
            (BudgetArgs::default(), "slowest_fps = 1", "there is none"),
            (BudgetArgs { slowest_fps: Some(0.0), ..watts.clone() }, "", "slowest_fps = 0"),
            (BudgetArgs { longest_interval_ms: Some(0), ..watts.clone() }, "", "longest_interval_ms = 0"),
            (watts, "slowest_fps = 1\nlongest_interval_ms = 1", "not both"),
        ] {
            let error = format!("{:#}", gather(&args, file).unwrap_err());
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
