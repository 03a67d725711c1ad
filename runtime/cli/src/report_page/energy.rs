//! A card of energy for each source. Measured and modelled ones differ in colour and are never summed.

use maud::{Markup, html};
use tinysaver_core::energy::EnergyReport;

use crate::energy::{alternatives, figures, rows, stage_rows};
use crate::spending::budget_lines;

pub(super) fn card(report: &EnergyReport) -> Markup {
    let kind = if report.is_measured { "measured" } else { "modelled" };
    html! {
        section class={ "card energy-" (kind) } {
            h2 { "Energy, " (report.source) }
            @if let Some(watts) = report.mean_watts { p { "mean power " (format!("{watts:.2}")) " W, " (kind) } }
            table {
                tr { th { "" } th { "frames" } th { "mJ a frame" } th { "of that above idle" } th { "joules" } }
                @for (name, part) in rows(report) {
                    tr { td { (name) } @for figure in figures(part) { td.figures { (figure) } } }
                }
            }
            @for words in report.budget.iter().flat_map(budget_lines) { p.note { (words.trim()) } }
            @for words in alternatives(report) { p.note { (words) } }
            (stages(report))
        }
    }
}

fn stages(report: &EnergyReport) -> Markup {
    let rows = stage_rows(report);
    html! {
        @if !rows.is_empty() {
            table {
                tr { th { "joules in" } @for row in &report.exits { th { (row.exit.name()) } } }
                @for (stage, joules) in rows {
                    tr { td { (stage.name()) } @for figure in joules { td.figures { (figure) } } }
                }
            }
        }
    }
}
