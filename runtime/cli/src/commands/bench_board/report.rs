//! A bench as Markdown.

use std::io::{self, Write};

use super::{BoardBench, Item};

pub(super) fn write(out: &mut dyn Write, bench: &BoardBench, rtt_ms: f64) -> io::Result<()> {
    let source = bench.energy_source.as_deref().unwrap_or("nobody: no sensor and no profile (docs/energy.md)");
    writeln!(out, "# Bench of {} on {}", bench.pair, bench.board.as_deref().unwrap_or("this machine"))?;
    writeln!(
        out,
        "\ntinysaver {}, single stream, {}, {} s each after a warm-up. Joules by {source}.",
        bench.version, bench.threads, bench.seconds_each
    )?;
    if let Some(watts) = bench.idle_watts {
        writeln!(out, "Idle: {watts:.3} W.")?;
    }
    writeln!(out, "\n| stage or model | n | p50 ms | p90 ms | p99 ms | mJ | mJ above idle | W | MHz | C | throttle |")?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for item in &bench.items {
        writeln!(out, "{}", row(item))?;
    }
    writeln!(
        out,
        "\nmJ: mean power x duration / queries, as MLPerf has it. MHz, C and throttle bits before and after.\n"
    )?;
    writeln!(out, "| the saver pays before a base that is | by time from an exit ratio of | by joules |")?;
    writeln!(out, "|---|--:|--:|")?;
    for even in &bench.break_even {
        writeln!(
            out,
            "| {} | {} | {} |",
            even.base,
            percent(Some(even.exit_ratio_ms)),
            percent(even.exit_ratio_joules)
        )?;
    }
    writeln!(out, "\nRemote: coding, then idling for {rtt_ms} ms; without what the radio draws. Above 100 %: never.")
}

fn row(item: &Item) -> String {
    let number =
        |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
    let two = |[before, after]: [Option<f64>; 2]| {
        if before.is_none() && after.is_none() {
            "-".to_owned()
        } else {
            format!("{}, {}", number(before, 0), number(after, 0))
        }
    };
    format!(
        "| {} | {} | {:.3} | {:.3} | {:.3} | {} | {} | {} | {} | {} | {} |",
        item.name,
        item.queries,
        item.p50_ms,
        item.p90_ms,
        item.p99_ms,
        number(item.joules.map(|joules| joules * 1e3), 2),
        number(item.joules_above_idle.map(|joules| joules * 1e3), 2),
        number(item.mean_watts, 2),
        two(item.mhz),
        two(item.celsius),
        item.throttle.map_or_else(|| "unknown".to_owned(), |bits| format!("{bits:#x}"))
    )
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{:.1} %", 100.0 * ratio))
}
