//! A card of energy for each source. Measured and modelled ones differ in colour and are never summed.

use maud::{Markup, html};
use tinysaver_core::energy::EnergyReport;

use crate::energy::{always_base, figures, rows};

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
            @if let Some(base) = &report.always_base { p.note { (always_base(base)) } }
        }
    }
}
