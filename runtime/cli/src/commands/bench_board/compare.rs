//! What changed since an older bench, and whether that is more than noise.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::{BoardBench, Item};

/// A change counts above so many standard deviations of both medians, and above so large a share.
const DEVIATIONS: f64 = 3.0;
const LEAST_SHARE: f64 = 0.01;

/// An older `bench --all --json`.
pub(super) fn read(path: &Path) -> Result<BoardBench> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--compare {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("--compare {}: not what `tinysaver bench --all --json` writes", path.display()))
}

pub(super) fn write(out: &mut dyn Write, old: &BoardBench, new: &BoardBench) -> io::Result<()> {
    writeln!(out, "\n## Against the older bench\n")?;
    if old.energy_source != new.energy_source {
        writeln!(out, "Joules are of another source than then and are not compared.\n")?;
    }
    writeln!(out, "| stage or model | p50 then | now | change | more than noise | mJ then | now | change |")?;
    writeln!(out, "|---|--:|--:|--:|---|--:|--:|--:|")?;
    for item in &new.items {
        let Some(before) = old.items.iter().find(|before| before.name == item.name) else {
            writeln!(out, "| {} | - | {:.3} | new | - | - | - | - |", item.name, item.p50_ms)?;
            continue;
        };
        let joules = before.joules.zip(item.joules).filter(|_| old.energy_source == new.energy_source);
        let joules = joules.map_or_else(
            || "- | - | -".to_owned(),
            |(then, now)| format!("{:.2} | {:.2} | {:+.1} %", then * 1e3, now * 1e3, 100.0 * (now / then - 1.0)),
        );
        let change = 100.0 * (item.p50_ms / before.p50_ms - 1.0);
        let verdict = if exceeds_noise(before, item) { "yes" } else { "no" };
        writeln!(
            out,
            "| {} | {:.3} | {:.3} | {change:+.1} % | {verdict} | {joules} |",
            item.name, before.p50_ms, item.p50_ms
        )?;
    }
    Ok(())
}

fn exceeds_noise(before: &Item, now: &Item) -> bool {
    let change = (now.p50_ms - before.p50_ms).abs();
    let noise = (before.noise_ms.powi(2) + now.noise_ms.powi(2)).sqrt();
    change > DEVIATIONS * noise && change > LEAST_SHARE * before.p50_ms
}

#[cfg(test)]
mod tests {
    use super::super::item;
    use super::*;

    #[test]
    fn a_change_within_the_noise_is_none() {
        let of = |times: [f64; 10]| item("x", &times, None);
        let steady = of([10.0; 10]);
        let noisy = of([10.0, 12.0, 9.0, 11.0, 10.0, 13.0, 9.0, 10.0, 12.0, 11.0]);
        assert!(exceeds_noise(&steady, &of([12.0; 10])) && exceeds_noise(&of([12.0; 10]), &steady));
        assert!(!exceeds_noise(&noisy, &of([12.0; 10])), "{}", noisy.noise_ms);
        assert!(!exceeds_noise(&steady, &of([10.05; 10])), "half a percent is nothing to talk of");
    }
}
