//! Lines, dots and bars with axes. Drawings stretch, so all words stand beside them in HTML.

use maud::{Markup, html};
use tinysaver_core::risk::Judged;

use super::curves::{Curve, Reliability, bin_of};
use crate::report_page::plot::{HEIGHT, WIDTH, drawing, rectangle, stack};

/// Columns of the histogram.
const COLUMNS: usize = 20;

/// What these plots need beside the report's style.
pub(super) const CSS: &str = "
.top { margin-top: 22px; }
.chart { display: grid; grid-template-columns: max-content 1fr; column-gap: 8px; }
.chart .title { grid-column: 1 / -1; font-size: .78rem; color: var(--soft); }
.chart .up { display: flex; flex-direction: column; justify-content: space-between; font-size: .78rem; color: var(--soft);
  text-align: right; font-variant-numeric: tabular-nums; }
.chart svg.plot { height: 240px; border-left: 1px solid var(--soft); }
.chart .axis, .chart .below { grid-column: 2; }
.chart .below { text-align: center; font-size: .78rem; color: var(--soft); }
.grid-line { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.line, .dot { fill: none !important; background: none; vector-effect: non-scaling-stroke; stroke-width: 2; }
.dot { stroke-width: 11; stroke-linecap: round; }
.line.saver, .dot.saver { stroke: var(--saver); } .line.base_local, .dot.base_local { stroke: var(--base_local); }
.line.base_remote, .dot.base_remote { stroke: var(--base_remote); } .line.fallback, .dot.fallback { stroke: var(--fallback); }
.line.wrong, .dot.wrong { stroke: var(--wrong); } .line.p50, .dot.p50 { stroke: var(--p50); }
.marks { list-style: none; padding: 0; margin: 8px 0 0; font-size: .85rem; font-variant-numeric: tabular-nums; }
.pool { display: grid; grid-template-columns: max-content 1fr max-content; gap: 8px 12px; align-items: center; font-size: .85rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); gap: 18px; }
";

/// A line.
pub(super) struct Line<'a> {
    pub(super) class: &'a str,
    pub(super) name: &'a str,
    pub(super) points: Curve,
}

/// A dot.
pub(super) struct Mark<'a> {
    pub(super) class: &'a str,
    pub(super) at: (f64, f64),
    pub(super) text: String,
}

/// What is shown from where to where.
pub(super) struct Axes {
    across: (f64, f64),
    up: (f64, f64),
    across_name: &'static str,
    up_name: &'static str,
}

impl Axes {
    /// All of these points, with a little room.
    pub(super) fn around(
        points: impl Iterator<Item = (f64, f64)>,
        across_name: &'static str,
        up_name: &'static str,
    ) -> Self {
        let (mut across, mut up) = ((f64::INFINITY, f64::NEG_INFINITY), (f64::INFINITY, f64::NEG_INFINITY));
        for (x, y) in points {
            across = (across.0.min(x), across.1.max(x));
            up = (up.0.min(y), up.1.max(y));
        }
        Self { across: with_room(across, 0.02), up: with_room(up, 0.05), across_name, up_name }
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let share = |value: f64, (from, to): (f64, f64)| (value - from) / (to - from);
        (WIDTH * share(x, self.across), HEIGHT * (1.0 - share(y, self.up)))
    }
}

/// A range a little wider; one of no width, or of no points, becomes one.
fn with_room((from, to): (f64, f64), room: f64) -> (f64, f64) {
    if from > to {
        return (0.0, 1.0);
    }
    let width = if to > from { to - from } else { from.abs().max(1.0) };
    // Shares lie between 0 and 1, and so does their axis.
    let (low, high) = (from - room * width, to + room * width);
    (if from >= 0.0 { low.max(0.0) } else { low }, if to <= 1.0 { high.min(1.0) } else { high })
}

/// Five numbers along an axis, with as many digits as tell them apart.
fn ticks((from, to): (f64, f64)) -> [String; 5] {
    let step = (to - from) / 4.0;
    let digits = match step {
        20.0.. => 0,
        0.5.. => 1,
        0.02.. => 2,
        0.002.. => 3,
        _ => 5,
    };
    [0.0, 1.0, 2.0, 3.0, 4.0].map(|tick| format!("{:.digits$}", from + tick * step))
}

/// Axes, lines, dots, and two dashed lines: one upright, one across.
pub(super) fn chart(axes: &Axes, lines: &[Line], marks: &[Mark], upright: Option<f64>, across: Option<f64>) -> Markup {
    let path = |line: &Line| -> String {
        // What lies far outside would only be cut off.
        let inside = line.points.iter().filter(|(_, y)| *y <= axes.up.1 + (axes.up.1 - axes.up.0));
        inside.map(|point| axes.place(*point)).map(|(x, y)| format!("{x:.2},{y:.2} ")).collect()
    };
    let plot = html! {
        @for quarter in [0.25, 0.5, 0.75] {
            line.grid-line x1="0" x2=(WIDTH) y1=(HEIGHT * quarter) y2=(HEIGHT * quarter) {}
            line.grid-line x1=(WIDTH * quarter) x2=(WIDTH * quarter) y1="0" y2=(HEIGHT) {}
        }
        @for line in lines { polyline class={ "line " (line.class) } points=(path(line)) { title { (line.name) } } }
        @if let Some(value) = upright {
            @let (x, _) = axes.place((value, 0.0));
            line.threshold x1=(format!("{x:.2}")) x2=(format!("{x:.2}")) y1="0" y2=(HEIGHT) { title { (format!("{value:.4}")) } }
        }
        @if let Some(value) = across {
            @let (_, y) = axes.place((0.0, value));
            line.threshold x1="0" x2=(WIDTH) y1=(format!("{y:.2}")) y2=(format!("{y:.2}")) { title { (format!("{value:.4}")) } }
        }
        @for mark in marks {
            @let (x, y) = axes.place(mark.at);
            path class={ "dot " (mark.class) } d=(format!("M{x:.2} {y:.2}h.01")) { title { (mark.text) } }
        }
    };
    framed(axes, &plot)
}

fn framed(axes: &Axes, plot: &Markup) -> Markup {
    let label = format!("{} by {}", axes.up_name, axes.across_name);
    html! {
        div.chart {
            div.title { (axes.up_name) }
            div.up { @for tick in ticks(axes.up).iter().rev() { span { (tick) } } }
            (drawing("plot", HEIGHT, &label, plot))
            div.axis { @for tick in ticks(axes.across) { span { (tick) } } }
            div.below { (axes.across_name) }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a place on the screen")]
fn column(index: usize, columns: usize) -> (f64, f64) {
    let width = WIDTH / columns.max(1) as f64;
    (index as f64 * width, width)
}

/// Confidences in columns of right and wrong, with the gate's threshold.
pub(super) fn histogram(judged: &[Judged], threshold: Option<f32>) -> Markup {
    let mut counts = [(0u64, 0u64); COLUMNS];
    for sample in judged {
        if let Some((right, wrong)) = counts.get_mut(bin_of(sample.confidence, COLUMNS)) {
            *(if sample.error { wrong } else { right }) += 1;
        }
    }
    let most = counts.iter().map(|(right, wrong)| right + wrong).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
    let axes = Axes { across: (0.0, 1.0), up: (0.0, most as f64), across_name: "confidence", up_name: "samples" };
    let plot = html! {
        @for (index, (right, wrong)) in counts.iter().enumerate() {
            @let title = format!("confidence {} to {} %: {right} right, {wrong} wrong", index * 100 / COLUMNS, (index + 1) * 100 / COLUMNS);
            (stack(&[("right", *right), ("wrong", *wrong)], most, column(index, COLUMNS), &title))
        }
        @if let Some(threshold) = threshold {
            @let x = format!("{:.2}", WIDTH * f64::from(threshold));
            line.threshold x1=(x) x2=(x) y1="0" y2=(HEIGHT) { title { "threshold " (threshold) } }
        }
    };
    framed(&axes, &plot)
}

/// Accuracy in each tenth of confidence beside the line on which both are equal.
pub(super) fn reliability(reliability: &Reliability, name: &str) -> Markup {
    let axes = Axes { across: (0.0, 1.0), up: (0.0, 1.0), across_name: "confidence", up_name: "accuracy" };
    let plot = html! {
        @for (index, (samples, confidence, right)) in reliability.bins.iter().enumerate() {
            @if *samples > 0 {
                @let (x, width) = column(index, reliability.bins.len());
                @let title = format!("{samples} samples, mean confidence {confidence:.3}, accuracy {right:.3}");
                (rectangle("p90", (x + 0.05 * width, HEIGHT * (1.0 - right)), (0.9 * width, HEIGHT * right), &title))
                @let (at, top) = axes.place((*confidence, *right));
                path class="dot saver" d=(format!("M{at:.2} {top:.2}h.01")) { title { (title) } }
            }
        }
        line.threshold x1="0" x2=(WIDTH) y1=(HEIGHT) y2="0" {}
    };
    html! {
        p { (name) ", expected calibration error " (format!("{:.2}", reliability.error * 100.0)) " pp" }
        (framed(&axes, &plot))
    }
}
