//! Energy as text for people, at most 80 columns wide.

use std::io::{self, Write};

use tinysaver_core::energy::{Alternative, EnergyPart, EnergyReport, EnergyStage};

use crate::spending::budget_lines;
use crate::summary_text::percent;

/// A block for each source; nothing where nobody knows.
///
/// # Errors
/// Those of `out`.
pub fn write_energy(out: &mut dyn Write, reports: &[EnergyReport]) -> io::Result<()> {
    for report in reports {
        writeln!(out, "\nenergy, {}", report.source)?;
        writeln!(out, "{:<12}{:>11}{:>14}{:>20}{:>14}", "", "frames", "mJ a frame", "of that above idle", "joules")?;
        for (name, part) in rows(report) {
            let [frames, each, above_idle, joules] = figures(part);
            writeln!(out, "{name:<12}{frames:>11}{each:>14}{above_idle:>20}{joules:>14}")?;
        }
        if let (Some(watts), seconds) = (report.mean_watts, seconds(report.all.wall_us)) {
            writeln!(out, "mean power: {watts:.2} W in {seconds:.1} s")?;
        }
        for line in report.budget.iter().flat_map(budget_lines) {
            writeln!(out, "{line}")?;
        }
        for line in alternatives(report) {
            writeln!(out, "{line}")?;
        }
        write_stages(out, report)?;
    }
    Ok(())
}

/// Joules by stage and exit; nothing for logs that do not say.
fn write_stages(out: &mut dyn Write, report: &EnergyReport) -> io::Result<()> {
    let rows = stage_rows(report);
    if rows.is_empty() {
        return Ok(());
    }
    write!(out, "{:<12}", "joules in")?;
    for row in &report.exits {
        write!(out, "{:>13}", row.exit.name())?;
    }
    writeln!(out)?;
    for (stage, joules) in rows {
        write!(out, "{:<12}", stage.name())?;
        for joules in joules {
            write!(out, "{joules:>13}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Stages that some frame had, each with its joules for each exit of the report; `-` where it never ran.
pub fn stage_rows(report: &EnergyReport) -> Vec<(EnergyStage, Vec<String>)> {
    let of = |stage: EnergyStage| {
        let exits = report.exits.iter().map(move |row| row.stages.iter().find(|part| part.stage == stage));
        let joules = |energy: &EnergyPart| format!("{:.3}", energy.joules());
        exits
            .clone()
            .any(|part| part.is_some())
            .then(|| exits.map(|part| part.map_or_else(|| "-".to_owned(), |part| joules(&part.energy))).collect())
    };
    EnergyStage::ALL.into_iter().filter_map(|stage| Some((stage, of(stage)?))).collect()
}

/// Accounts with something on them, and their sum.
pub fn rows(report: &EnergyReport) -> impl Iterator<Item = (&'static str, &EnergyPart)> {
    let exits = report.exits.iter().map(|row| (row.exit.name(), &row.energy));
    let dropped = report.dropped.iter().map(|part| ("dropped", part));
    let between = [("waiting", &report.waiting), ("sinks", &report.sinks), ("idle", &report.idle)];
    let between = between.into_iter().filter(|(_, part)| part.wall_us > 0);
    exits.chain(dropped).chain(between).chain([("all", &report.all)])
}

/// Frames, millijoules of a frame, of that above idling, and joules in all; `-` where there is none.
pub fn figures(part: &EnergyPart) -> [String; 4] {
    let dash = || "-".to_owned();
    let frames = if part.frames > 0 { part.frames.to_string() } else { dash() };
    let each = |millijoules: Option<f64>| millijoules.map_or_else(dash, |millijoules| format!("{millijoules:.2}"));
    let joules = format!("{:.3}", part.joules());
    [frames, each(part.millijoules_per_frame()), each(part.above_idle_millijoules_per_frame()), joules]
}

/// The comparisons in words.
pub fn alternatives(report: &EnergyReport) -> impl Iterator<Item = String> {
    let all = [("always the base", report.always_base), ("always the saver", report.always_saver)];
    all.into_iter().filter_map(|(what, alternative)| Some(in_words(what, &alternative?)))
}

fn in_words(what: &str, alternative: &Alternative) -> String {
    let Alternative { frames, joules, saved_ratio } = alternative;
    let (share, word) = if *saved_ratio >= 0.0 { (*saved_ratio, "saved") } else { (-saved_ratio, "more spent") };
    format!("{what}: {joules:.3} J, {} {word} (estimated from {frames} frames)", percent(share))
}

/// How long a battery of so many watt-hours lasts at the mean power.
pub fn battery_hours(report: &EnergyReport, watt_hours: f64) -> Option<f64> {
    report.mean_watts.filter(|watts| *watts > 0.0).map(|watts| watt_hours / watts)
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use tinysaver_core::energy::{EnergyTotals, FrameEnergy, StageEnergies, StageEnergy};
    use tinysaver_core::{Exit, Outcome, Record};

    use super::*;
    use crate::exit_log::tests::sample;

    fn record(exit: Exit, source: &str, energy_uj: i64) -> Record {
        let mut record = sample(0);
        record.energy = Some(FrameEnergy {
            energy_source: source.parse().unwrap(),
            energy_uj,
            energy_above_idle_uj: source.starts_with("modelled").then_some(energy_uj / 4),
            energy_wall_us: 10_000,
            energy_cpu_us: 10_000,
            energy_idle_uj: 28_100,
            energy_idle_us: 10_000,
            energy_waiting_uj: 0,
            energy_waiting_us: 0,
            energy_stages: StageEnergies::default(),
        });
        if let Outcome::Answered(answer) = &mut record.outcome {
            answer.exit = exit;
        }
        if exit == Exit::BaseLocal {
            (record.stages_us.saver, record.stages_us.base) = (Some(2_000), Some(7_000));
            let spent = |us, uj| StageEnergy { us, cpu_us: us, uj, above_idle_uj: None };
            let stages = record.energy.as_mut().map(|energy| &mut energy.energy_stages).unwrap();
            stages.set(EnergyStage::Saver, spent(2_000, 12_000));
            stages.set(EnergyStage::BaseLocal, spent(7_000, 44_000));
            stages.set(EnergyStage::Other, spent(1_000, 4_000));
        }
        record
    }

    #[test]
    fn a_block_for_each_source() {
        let mut totals = EnergyTotals::default();
        totals.add(&record(Exit::Saver, "modelled:pi4", 36_000));
        totals.add(&record(Exit::BaseLocal, "modelled:pi4", 60_000));
        totals.add(&record(Exit::Saver, "measured:ina3221 VDD_IN [module]", 45_000));
        let mut out = Vec::new();
        write_energy(&mut out, &totals.reports()).unwrap();
        let text = String::from_utf8(out).unwrap();
        let expected = "
energy, measured:ina3221 VDD_IN [module]
                 frames    mJ a frame  of that above idle        joules
saver                 1         45.00                   -         0.045
idle                  -             -                   -         0.028
all                   1         73.10                   -         0.073
mean power: 3.65 W in 0.0 s
always the saver: 0.045 J, 0.0 % saved (estimated from 1 frames)

energy, modelled:pi4
                 frames    mJ a frame  of that above idle        joules
saver                 1         36.00                9.00         0.036
base_local            1         60.00               15.00         0.060
idle                  -             -                   -         0.056
all                   2         76.10                   -         0.152
mean power: 3.81 W in 0.0 s
always the base: 0.096 J, 0.0 % saved (estimated from 1 frames)
always the saver: 0.052 J, 84.6 % more spent (estimated from 2 frames)
joules in           saver   base_local
saver                   -        0.012
base_local              -        0.044
other                   -        0.004
";
        assert_eq!(text, expected);
        let hours = battery_hours(&totals.reports()[1], 7.61);
        assert!(hours.is_some_and(|hours| (hours - 2.0).abs() < 1e-9), "{hours:?}");
    }
}
