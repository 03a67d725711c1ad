//! A summary as text for people, at most 80 columns wide.

use std::io::{self, Write};

use tinysaver_board::CaptureStatus;
use tinysaver_core::{
    AccuracyReport, CONFIDENCE_BINS, ConfidenceReport, OperationsReport, Percentiles, ReuseReport, SummaryReport,
};
use tinysaver_offload::client::ClientCounts;

use crate::energy::write_energy;

/// Characters of the longest bar of the confidence histogram.
const BAR_COLUMNS: u64 = 40;

/// Writes frames, exits, stages, operations, accuracy and confidence; what has no frames is left out.
///
/// # Errors
/// Those of `out`.
pub fn write_summary(out: &mut dyn Write, report: &SummaryReport) -> io::Result<()> {
    let SummaryReport { frames_in, answered, dropped, .. } = report;
    writeln!(out, "frames: {frames_in} in = {answered} answered + {dropped} dropped{}", reasons(report))?;
    if report.answered > 0 {
        write_exits(out, report)?;
    }
    if !report.degraded_by_reason.is_empty() {
        let reasons = report.degraded_by_reason.iter().map(|(reason, frames)| format!("{} {frames}", reason.name()));
        writeln!(out, "no base answered: {}", reasons.collect::<Vec<_>>().join(", "))?;
    }
    write_stages(out, report)?;
    write_energy(out, &report.energy)?;
    if report.answered == 0 {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(out, "operations: {}", operations(&report.operations))?;
    if let Some(reuse) = &report.reuse {
        write_reuse(out, reuse, report.answered)?;
    }
    writeln!(out, "accuracy: {}", accuracy(&report.accuracy))?;
    if let Some(thresholds) = thresholds(report) {
        writeln!(out, "threshold: {thresholds}")?;
    }
    write_confidence(out, &report.confidence)
}

/// What the change gate saved, and what it missed of what was checked.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn write_reuse(out: &mut dyn Write, reuse: &ReuseReport, answered: u64) -> io::Result<()> {
    let ReuseReport { reused, macs_saved, models_us_saved, checked, differed } = *reuse;
    let share = percent(reused as f64 / answered.max(1) as f64);
    let (scale, unit) = mac_unit(macs_saved as f64);
    let time = milliseconds(u64::try_from(models_us_saved).unwrap_or(u64::MAX));
    writeln!(
        out,
        "reused: {reused} of {answered} answers ({share}), about {:.1} {unit} and {time} ms of the models saved",
        macs_saved as f64 / scale
    )?;
    match wilson_95(differed, checked) {
        None => writeln!(out, "reused, checked: none, so that misses are not known"),
        Some((low, high)) => {
            let (low, high) = (100.0 * low, 100.0 * high);
            let missed = percent(differed as f64 / checked as f64);
            write!(out, "reused, checked: {differed} of {checked} frames had another answer by then ({missed}, ")?;
            writeln!(out, "95 % interval {low:.1} to {high:.1} %)")
        }
    }
}

/// A live source's faults.
///
/// # Errors
/// Those of `out`.
pub fn write_capture(out: &mut dyn Write, status: &CaptureStatus) -> io::Result<()> {
    let CaptureStatus { reopens, faults, last_fault, .. } = status;
    if faults.is_empty() {
        return writeln!(out, "\nsource: no faults");
    }
    let faults: Vec<String> = faults.iter().map(|(kind, times)| format!("{} {times}", kind.name())).collect();
    writeln!(out, "\nsource: opened again {reopens} times; faults: {}", faults.join(", "))?;
    writeln!(out, "last fault: {}", last_fault.as_deref().unwrap_or("-"))
}

/// What became of the questions to bases on other machines.
///
/// # Errors
/// Those of `out`.
pub fn write_offload(out: &mut dyn Write, counts: &ClientCounts) -> io::Result<()> {
    let ClientCounts { asked, answered, deadline, link, server, sent_bytes, .. } = counts;
    writeln!(
        out,
        "\noffload: {asked} asked = {answered} answered + {deadline} late or silent + {link} link + {server} server; \
         {sent_bytes} bytes sent"
    )
}

fn reasons(report: &SummaryReport) -> String {
    let reasons = report.dropped_by_reason.iter().filter(|(_, frames)| **frames > 0);
    let reasons: Vec<String> = reasons.map(|(reason, frames)| format!("{} {frames}", reason.name())).collect();
    if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) }
}

fn write_exits(out: &mut dyn Write, report: &SummaryReport) -> io::Result<()> {
    let with_accuracy = report.accuracy.known > 0;
    write!(out, "\nexit             frames   ratio    p50 ms    p90 ms    p99 ms")?;
    writeln!(out, "{}", if with_accuracy { "  accuracy" } else { "" })?;
    let exits = report.exits.iter().filter(|exit| exit.frames > 0);
    let rows = exits.map(|exit| (exit.exit.name(), exit.frames, exit.ratio, exit.latency, exit.accuracy));
    let all = ("all", report.answered, Some(1.0), report.latency, report.accuracy);
    for (name, frames, ratio, latency, accuracy) in rows.chain([all]) {
        let ratio = ratio.map_or_else(|| "-".into(), percent);
        write!(out, "{name:<12}{frames:>11} {ratio:>7}{}", columns(latency))?;
        let accuracy = accuracy.accuracy.map_or_else(|| "-".into(), percent);
        if with_accuracy { writeln!(out, "{accuracy:>10}")? } else { writeln!(out)? }
    }
    Ok(())
}

fn write_stages(out: &mut dyn Write, report: &SummaryReport) -> io::Result<()> {
    if report.stages.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nstage            frames            p50 ms    p90 ms    p99 ms")?;
    for (stage, latency) in &report.stages {
        writeln!(out, "{:<12}{:>11} {:>7}{}", stage.name(), latency.n, "", columns(Some(*latency)))?;
    }
    Ok(())
}

fn columns(latency: Option<Percentiles>) -> String {
    let Some(latency) = latency else { return format!("{:>10}{:>10}{:>10}", "-", "-", "-") };
    [latency.p50_us, latency.p90_us, latency.p99_us].map(|micros| format!("{:>10}", milliseconds(micros))).concat()
}

/// Microseconds as milliseconds with about three significant digits: all that a histogram keeps.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn milliseconds(micros: u64) -> String {
    let milliseconds = micros as f64 / 1000.0;
    match micros {
        0..10_000 => format!("{milliseconds:.2}"),
        10_000..100_000 => format!("{milliseconds:.1}"),
        _ => format!("{milliseconds:.0}"),
    }
}

/// A ratio as a percentage with one decimal.
pub fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

const MAC_UNITS: [(f64, &str); 5] = [(1e15, "PMAC"), (1e12, "TMAC"), (1e9, "GMAC"), (1e6, "MMAC"), (1e3, "kMAC")];

fn mac_unit(macs: f64) -> (f64, &'static str) {
    MAC_UNITS.into_iter().find(|(scale, _)| macs >= *scale).unwrap_or((1.0, "MAC"))
}

/// Spent and always-base operations in one unit, and what that saves.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn operations(operations: &OperationsReport) -> String {
    let (spent, base) = (operations.macs as f64, operations.macs_always_base as f64);
    // The unit of the larger of the two, so that both can be compared at a glance.
    let (scale, unit) = mac_unit(spent.max(base));
    let digits = if scale > 1.0 { 1 } else { 0 };
    let (spent, base) = (spent / scale, base / scale);
    match saving(operations) {
        None => format!("{spent:.digits$} {unit}"),
        Some(saving) => format!("{spent:.digits$} of {base:.digits$} {unit}, {saving}"),
    }
}

/// What the cascade saves, or costs more, in words.
pub fn saving(operations: &OperationsReport) -> Option<String> {
    let saved = operations.saved_ratio?;
    Some(if saved >= 0.0 {
        format!("{} saved against always running the base", percent(saved))
    } else {
        format!("{} more than always running the base", percent(-saved))
    })
}

/// Accuracy with its count and 95 % interval.
pub fn accuracy(accuracy: &AccuracyReport) -> String {
    let Some((value, (low, high))) = accuracy.accuracy.zip(wilson_95(accuracy.right, accuracy.known)) else {
        return "unknown (no frame has a known right class)".into();
    };
    let AccuracyReport { right, known, .. } = accuracy;
    let (low, high) = (100.0 * low, 100.0 * high);
    format!("{} ({right} of {known} right, 95 % interval {low:.1} to {high:.1} %)", percent(value))
}

/// The Wilson score interval, which is good for few frames and near 0 or 1 too.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn wilson_95(right: u64, known: u64) -> Option<(f64, f64)> {
    if known == 0 {
        return None;
    }
    const Z: f64 = 1.959_963_985;
    let (n, p) = (known as f64, right as f64 / known as f64);
    let denominator = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / denominator;
    let half = Z / denominator * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

/// The threshold in force, or the range of those that were.
pub fn thresholds(report: &SummaryReport) -> Option<String> {
    let (low, high) = report.threshold_range?;
    Some(if low < high { format!("{low} to {high}") } else { low.to_string() })
}

fn write_confidence(out: &mut dyn Write, confidence: &ConfidenceReport) -> io::Result<()> {
    let rows: Vec<_> = bins(confidence).collect();
    let total = |(right, wrong, unknown): &(u64, u64, u64)| right + wrong + unknown;
    let most = rows.iter().map(total).max().unwrap_or(0).max(1);
    writeln!(out, "\nsaver confidence   frames  (# right, x wrong, . unknown)")?;
    for (bin, row) in rows.iter().enumerate().filter(|(_, row)| total(row) > 0) {
        let (low, high) = (bin * 100 / CONFIDENCE_BINS, (bin + 1) * 100 / CONFIDENCE_BINS);
        let label = format!("0.{low:02} to {}.{:02}", high / 100, high % 100);
        writeln!(out, "{label:<14}{:>11}  {}", total(row), bar(*row, most))?;
    }
    Ok(())
}

/// Right, wrong and unknown frames of each bin.
pub fn bins(confidence: &ConfidenceReport) -> impl Iterator<Item = (u64, u64, u64)> {
    let ConfidenceReport { right, wrong, unknown } = confidence.clone();
    right.into_iter().zip(wrong).zip(unknown).map(|((right, wrong), unknown)| (right, wrong, unknown))
}

/// Ends are rounded, not lengths, so that the parts add up to the whole; a single frame still shows.
fn bar((right, wrong, unknown): (u64, u64, u64), most: u64) -> String {
    let column = |frames: u64| {
        let wide = (u128::from(frames) * u128::from(BAR_COLUMNS)).div_ceil(u128::from(most));
        usize::try_from(wide).unwrap_or(0)
    };
    let (first, second, third) = (column(right), column(right + wrong), column(right + wrong + unknown));
    "#".repeat(first) + &"x".repeat(second - first) + &".".repeat(third - second)
}

#[cfg(test)]
#[path = "summary_text_tests.rs"]
mod tests;
