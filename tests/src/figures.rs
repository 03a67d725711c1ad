//! What measuring programs share: numbers of many, and where they are written.

use std::fs;
use std::io;
use std::process::Command;

use crate::root;

/// The value that so large a share of the values does not exceed; 0 of none.
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (share * sorted.len() as f64) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The mean; 0 of none.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation divided by the mean.
#[must_use]
pub fn variation(values: &[f64]) -> f64 {
    let middle = mean(values);
    let squares: Vec<f64> = values.iter().map(|value| (value - middle).powi(2)).collect();
    mean(&squares).sqrt() / middle.max(f64::MIN_POSITIVE)
}

/// When and how busy: the date, and the machine's load average over the last 15 minutes, other work included.
///
/// # Errors
/// The system's.
pub fn circumstances() -> io::Result<(String, String)> {
    let date = Command::new("date").arg("+%F").output()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').nth(2).unwrap_or_default().to_owned();
    Ok((String::from_utf8_lossy(&date.stdout).trim().to_owned(), load))
}

/// Writes `docs/figures/NAME.md` and `NAME.json`.
///
/// # Errors
/// The file system's.
pub fn write_figure(name: &str, text: &str, numbers: &serde_json::Value) -> io::Result<()> {
    let figures = root().join("docs/figures");
    fs::write(figures.join(format!("{name}.md")), text)?;
    fs::write(figures.join(format!("{name}.json")), serde_json::to_string_pretty(numbers)? + "\n")
}
