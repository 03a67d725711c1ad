//! A budget in words.

use tinysaver_core::Gate;
use tinysaver_core::energy::EnergySource;
use tinysaver_core::spend::{Budget, BudgetReport, Degradation};

use super::settings::BudgetSettings;
use crate::cascade::GateOrigin;

/// One line at the start: what may be spent, by whose word, and what the floor of the threshold is worth.
pub fn opening_line(settings: &BudgetSettings, source: &EnergySource, gate: &Gate, origin: &GateOrigin) -> String {
    let budget = match settings.budget {
        Budget::Watts(watts) => format!("{watts} W on average"),
        Budget::JoulesPerDay(joules) => format!("{joules} J a day"),
        Budget::Battery { joules, until } => {
            format!("{:.1} Wh within {:.1} h", joules / 3600.0, until.as_secs_f64() / 3600.0)
        }
    };
    let floor = match origin {
        GateOrigin::Policy { path, method } if method.holds_above() => {
            format!("certified by {} ({})", path.display(), method.name())
        }
        GateOrigin::Policy { path, method } => {
            format!("not certified: {} is by {}, whose promise does not hold above it", path.display(), method.name())
        }
        GateOrigin::Operator => "the operator's, not certified".to_owned(),
        GateOrigin::Pair => "the pair's, not certified".to_owned(),
    };
    let below = if settings.allow_uncertified { "; below it where that is not enough, marked uncertified" } else { "" };
    let interval = settings.longest_interval.as_secs_f64();
    let threshold = gate.threshold.value();
    format!(
        "budget: {budget}, {source}; threshold {threshold} or more ({floor}){below}; frames at most {interval:.3} s apart"
    )
}

/// What was made of it, a line for the whole and one for each degradation.
pub fn budget_lines(report: &BudgetReport) -> Vec<String> {
    let watts = |watts: Option<f64>| watts.map_or_else(|| "-".to_owned(), |watts| format!("{watts:.2} W"));
    let marked =
        if report.uncertified > 0 { format!(", {} answers uncertified", report.uncertified) } else { String::new() };
    let whole = format!("budget: {}, {} spent{marked}", watts(report.budget_watts), watts(report.mean_watts));
    let parts = report.degradations.iter().map(|(degradation, part)| {
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        let seconds = part.wall_us as f64 / 1e6;
        format!("{:<28}{:>9} frames{seconds:>12.1} s", in_words(*degradation), part.frames)
    });
    std::iter::once(whole).chain(parts).collect()
}

fn in_words(degradation: Degradation) -> &'static str {
    match degradation {
        Degradation::None => "  threshold above its floor",
        Degradation::Floor => "  at its floor",
        Degradation::Slower => "  and frames less often",
        Degradation::Uncertified => "  below its floor",
        Degradation::Starved => "  and still over budget",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tinysaver_core::spend::DegradationPart;

    use super::*;

    #[test]
    fn every_degradation_has_its_line_and_fits_a_terminal() {
        let part = DegradationPart { frames: 1_234_567, wall_us: 86_400_000_000, uj: 1 };
        let degradations: BTreeMap<_, _> =
            Degradation::ALL.into_iter().map(|degradation| (degradation, part)).collect();
        let report =
            BudgetReport { budget_watts: Some(4.2), mean_watts: Some(4.1949), degradations, uncertified: 1_000_000 };
        let lines = budget_lines(&report);
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "budget: 4.20 W, 4.19 W spent, 1000000 answers uncertified");
        assert_eq!(lines[3], "  and frames less often       1234567 frames     86400.0 s");
        assert!(lines.iter().all(|line| line.len() <= 80), "{lines:?}");
    }
}
