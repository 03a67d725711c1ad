//! The report as one HTML page that needs nothing else: no script, no font, no network.

mod details;
mod energy;
pub mod plot;
pub mod style;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use tinysaver_core::{Percentiles, SummaryReport};

pub use details::Details;
use details::Frame;

use crate::summary_text::{milliseconds, operations, percent, thresholds, wilson_95};

/// What stands under the title.
#[derive(Debug, Clone)]
pub struct Heading {
    /// Files, runs and time span.
    pub line: String,
    /// Lines that had to be left out, if any.
    pub health: Option<String>,
}

/// A page: its title, style that is not common to all, what to point at, and what is between title and footer.
pub fn page(title: &str, more_style: &str, marks: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(style::sheet())) (PreEscaped(more_style)) }
            }
            body {
                main {
                    h1 { (title) }
                    (content)
                    footer { "tinysaver " (env!("CARGO_PKG_VERSION")) " · point at a " (marks) " for its figures" }
                }
            }
        }
    }
}

/// The report.
pub fn render(report: &SummaryReport, heading: &Heading, details: &Details) -> Markup {
    let content = html! {
        p { (heading.line) }
        @if let Some(health) = &heading.health { p.health { (health) } }
        (tiles(report))
        (cards(report, details))
    };
    page("tinysaver report", "", "bar", &content)
}

fn tiles(report: &SummaryReport) -> Markup {
    let answers = format!("{} answered, {} dropped", report.answered, report.dropped);
    let none = || "–".to_owned();
    let (saved_what, saved) = match report.operations.saved_ratio {
        Some(saved) if saved < 0.0 => ("more operations", percent(-saved)),
        saved => ("operations saved", saved.map_or_else(none, percent)),
    };
    let accuracy = report.accuracy.accuracy.map_or_else(none, percent);
    let interval = wilson_95(report.accuracy.right, report.accuracy.known).map_or_else(
        || "no right class known".to_owned(),
        |(low, high)| format!("{:.1} to {:.1} %, n = {}", 100.0 * low, 100.0 * high, report.accuracy.known),
    );
    let time = |pick: fn(Percentiles) -> u64| report.latency.map_or_else(none, |all| milliseconds(pick(all)) + " ms");
    let slowest = format!("slowest {}", time(|all| all.max_us));
    html! {
        div.tiles {
            (tile("frames", &report.frames_in.to_string(), &answers))
            (tile(saved_what, &saved, &spent(report)))
            (tile("accuracy", &accuracy, &interval))
            (tile("median latency", &time(|all| all.p50_us), "half of the answers are faster"))
            (tile("p99 latency", &time(|all| all.p99_us), &slowest))
        }
    }
}

/// The tile has the percentage already.
fn spent(report: &SummaryReport) -> String {
    let text = operations(&report.operations);
    text.split_once(", ").map_or(text.clone(), |(amounts, _)| amounts.to_owned())
}

fn tile(what: &str, value: &str, note: &str) -> Markup {
    html! { div.card.tile { div.what { (what) } div.value { (value) } div.note { (note) } } }
}

fn cards(report: &SummaryReport, details: &Details) -> Markup {
    let exits = report.exits.iter().filter_map(|row| Some((row.exit.name(), row.latency?)));
    let exits: Vec<_> = exits.chain(report.latency.map(|all| ("all", all))).collect();
    let stages: Vec<_> = report.stages.iter().map(|(stage, latency)| (stage.name(), *latency)).collect();
    let per_bin = details.timeline.frames_per_bin;
    html! {
        div.grid {
            section.card.wide { h2 { "Who answered" } (plot::exit_bar(report)) }
            section.card { h2 { "Latency by exit, ms" } (plot::latencies(&exits)) }
            section.card { h2 { "Time by stage, ms" } (plot::latencies(&stages)) }
            @for energy in &report.energy { (energy::card(energy)) }
            section.card.wide {
                h2 { "How sure the saver was" }
                (plot::confidence(&report.confidence, report.threshold_range))
                (confidence_legend(report))
            }
            section.card.wide {
                h2 { "Exits over time" }
                (plot::over_time(&details.timeline))
                p.note { "One column is " (per_bin) @if per_bin == 1 { " frame" } @else { " frames" } ", in log order; colours as under “Who answered”." }
            }
            (frames("Slowest frames", details.slowest()))
            (frames("Least sure frames", details.least_sure()))
        }
    }
}

fn confidence_legend(report: &SummaryReport) -> Markup {
    let name = |text: &str| text.to_owned();
    let mut items =
        vec![("right", name("saver right")), ("wrong", name("saver wrong")), ("unknown", name("not known"))];
    items
        .extend(thresholds(report).map(|range| ("mark", format!("threshold {range}: to its right the saver answers"))));
    plot::legend(&items)
}

fn frames(title: &str, frames: &[Frame]) -> Markup {
    html! {
        section.card.wide {
            h2 { (title) }
            @if frames.is_empty() { p { "No answers." } } @else {
                div.frames { table {
                    tr { th { "source" } th { "answer" } th { "by" } th { "sure" } th { "ms" } }
                    @for frame in frames {
                        tr title=(frame.time_utc) {
                            td.source { (frame.source) }
                            td { (frame.answer.label) (verdict(frame.correct)) }
                            td { (frame.answer.exit.name()) }
                            td.figures { (format!("{:.3}", frame.answer.confidence)) }
                            td.figures { (milliseconds(frame.latency_us)) }
                        }
                    }
                } }
            }
        }
    }
}

fn verdict(correct: Option<bool>) -> &'static str {
    match correct {
        Some(true) => " ✓",
        Some(false) => " ✗",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_log::tests::sample;
    use tinysaver_core::{Record, Summary};

    fn page(records: &[Record]) -> String {
        let (mut summary, mut details) = (Summary::new().unwrap(), Details::default());
        for record in records {
            summary.add(record);
            details.add(record);
        }
        let heading = Heading { line: "1 file".into(), health: None };
        render(&summary.report(), &heading, &details).into_string()
    }

    #[test]
    fn names_from_outside_cannot_become_markup() {
        let record = Record { source: "<script>alert(1)</script>\".jpg".into(), ..sample(0) };
        let page = page(&[record]);
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;.jpg"), "{page}");
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        let page = page(&[sample(0), sample(1)]);
        for outside in ["http:", "https:", "url(", "@import", "src=", "href="] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn figures_are_on_the_page_and_none_is_not_a_number() {
        let full = page(&[sample(0), sample(1)]);
        for text in ["77.1 %", "0.4 of 1.7 GMAC", "100.0 %", "n = 2", "10.0 ms", "threshold 0.7"] {
            assert!(full.contains(text), "{text}");
        }
        let empty = page(&[]);
        assert!(empty.contains("No answers."));
        assert!(!empty.contains("NaN") && !empty.contains("inf"));
    }

    #[test]
    fn the_page_stays_small_however_many_frames() {
        let records: Vec<Record> = (0..5000).map(sample).collect();
        assert!(page(&records).len() < 100_000);
    }
}
