//! Plots as inline SVG. Drawings stretch to the width there is, so all words stand beside them in HTML: text inside a
//! stretched drawing would be unreadable on a phone.

use maud::{Markup, html};
use tinysaver_core::{CONFIDENCE_BINS, ConfidenceReport, Exit, Percentiles, SummaryReport};

use super::details::Timeline;
use crate::summary_text::{bins, milliseconds, percent};

/// Drawing units across; what they measure depends on the window.
pub const WIDTH: f64 = 1000.0;
/// Drawing units from top to bottom of a plot.
pub const HEIGHT: f64 = 200.0;

#[expect(clippy::cast_precision_loss, reason = "a place on the screen")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// A drawing that stretches to the width there is.
pub fn drawing(class: &str, height: f64, label: &str, content: &Markup) -> Markup {
    html! {
        svg class=(class) viewBox=(format!("0 0 {WIDTH} {height}")) preserveAspectRatio="none" role="img"
            aria-label=(label) { (content) }
    }
}

/// With a text that appears where one points at it.
pub fn rectangle(class: &str, (x, y): (f64, f64), (width, height): (f64, f64), title: &str) -> Markup {
    html! {
        rect class=(class) x=(format!("{x:.2}")) y=(format!("{y:.2}")) width=(format!("{width:.2}"))
            height=(format!("{height:.2}")) { title { (title) } }
    }
}

/// A legend line of coloured names.
pub fn legend(items: &[(&str, String)]) -> Markup {
    html! {
        ul.legend { @for (class, text) in items { li { span class={ "swatch " (class) } {} (text) } } }
    }
}

/// One bar of all frames, split by exit, and its legend.
pub(super) fn exit_bar(report: &SummaryReport) -> Markup {
    let exits = report.exits.iter().map(|row| (row.exit.name(), row.frames));
    let parts: Vec<_> = exits.chain([("dropped", report.dropped)]).filter(|(_, frames)| *frames > 0).collect();
    let of_all = |frames| percent(share(frames, report.frames_in));
    let mut left = 0.0;
    let bar = html! {
        @for (name, frames) in &parts {
            @let width = WIDTH * share(*frames, report.frames_in);
            (rectangle(name, (left, 0.0), (width, 40.0), &format!("{name}: {frames} frames, {}", of_all(*frames))))
            ({ left += width; "" })
        }
    };
    let items: Vec<_> = parts.iter().map(|(name, frames)| (*name, format!("{name} {}", of_all(*frames)))).collect();
    html! { (drawing("bar", 40.0, "frames by exit", &bar)) (legend(&items)) }
}

/// One row a name: three bars over each other, and the figures.
pub(super) fn latencies(rows: &[(&str, Percentiles)]) -> Markup {
    let longest = rows.iter().map(|(_, row)| row.p99_us).max().unwrap_or(0);
    html! {
        div.latencies {
            span {} span {} span.figures { "p50" } span.figures { "p90" } span.figures { "p99" }
            @for (name, row) in rows {
                span.name { (name) }
                (latency_bar(name, row, longest))
                span.figures { (milliseconds(row.p50_us)) }
                span.figures { (milliseconds(row.p90_us)) }
                span.figures { (milliseconds(row.p99_us)) }
            }
        }
    }
}

fn latency_bar(name: &str, row: &Percentiles, longest: u64) -> Markup {
    let title = format!(
        "{name}: p50 {} ms, p90 {} ms, p99 {} ms, slowest {} ms, {} frames",
        milliseconds(row.p50_us),
        milliseconds(row.p90_us),
        milliseconds(row.p99_us),
        milliseconds(row.max_us),
        row.n
    );
    let bars = html! {
        // The longest first: the others lie on it.
        @for (class, micros) in [("p99", row.p99_us), ("p90", row.p90_us), ("p50", row.p50_us)] {
            (rectangle(class, (0.0, 0.0), ((WIDTH * share(micros, longest)).max(2.0), 20.0), &title))
        }
    };
    drawing("row", 20.0, &title, &bars)
}

/// Confidence in columns of right, wrong and unknown, with the gate's threshold.
pub(super) fn confidence(confidence: &ConfidenceReport, thresholds: Option<(f32, f32)>) -> Markup {
    let columns: Vec<_> = bins(confidence).collect();
    let most = columns.iter().map(|(right, wrong, unknown)| right + wrong + unknown).max().unwrap_or(0);
    let width = WIDTH / columns.len().max(1) as f64;
    let plot = html! {
        @for (column, (right, wrong, unknown)) in columns.iter().enumerate() {
            @let (low, high) = (column * 100 / CONFIDENCE_BINS, (column + 1) * 100 / CONFIDENCE_BINS);
            @let title = format!("confidence {low} to {high} %: {right} right, {wrong} wrong, {unknown} unknown");
            @let parts = [("right", *right), ("wrong", *wrong), ("unknown", *unknown)];
            (stack(&parts, most, (column as f64 * width, width), &title))
        }
        @if let Some((low, high)) = thresholds {
            (threshold_line(low))
            @if high > low { (threshold_line(high)) }
        }
    };
    html! {
        div.most { (most) " frames" }
        (drawing("plot", HEIGHT, "saver confidence", &plot))
        div.axis { span { "0" } span { "0.25" } span { "0.5" } span { "0.75" } span { "1" } }
    }
}

/// A column of parts from the bottom up; a little narrower than its place.
pub fn stack(parts: &[(&str, u64)], most: u64, (x, width): (f64, f64), title: &str) -> Markup {
    let mut bottom = HEIGHT;
    html! {
        @for (class, frames) in parts {
            @if *frames > 0 {
                @let height = HEIGHT * share(*frames, most);
                ({ bottom -= height; "" })
                (rectangle(class, (x + 0.05 * width, bottom), (0.9 * width, height), title))
            }
        }
    }
}

fn threshold_line(threshold: f32) -> Markup {
    let x = format!("{:.2}", WIDTH * f64::from(threshold));
    html! {
        line.threshold x1=(x) x2=(x) y1="0" y2=(HEIGHT) { title { "threshold " (threshold) } }
    }
}

/// Each exit's share from the first frame to the last.
pub(super) fn over_time(timeline: &Timeline) -> Markup {
    let width = WIDTH / timeline.bins.len().max(1) as f64;
    let plot = html! {
        @for (column, bin) in timeline.bins.iter().enumerate() {
            @let names = Exit::ALL.iter().map(|exit| exit.name()).zip(bin.exits).chain([("dropped", bin.dropped)]);
            @let parts: Vec<_> = names.filter(|(_, frames)| *frames > 0).collect();
            @let counts: Vec<_> = parts.iter().map(|(name, frames)| format!("{name} {frames}")).collect();
            @let title = format!("{} to {}: {}", bin.first_utc, bin.last_utc, counts.join(", "));
            (stack(&parts, bin.frames, (column as f64 * width, width), &title))
        }
    };
    html! {
        div.most { "100 %" }
        (drawing("plot", HEIGHT, "share of each exit over time", &plot))
        div.axis { span { "first frame" } span { "last frame" } }
    }
}
