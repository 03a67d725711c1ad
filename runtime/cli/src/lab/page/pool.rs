//! Candidates of a pool: how much each would save, and how sure that is.

use maud::{Markup, html};

use super::plots;
use crate::lab::selection::{Candidate, Search};
use crate::report_page::page;
use crate::report_page::plot::{WIDTH, drawing, legend, rectangle};

/// The whole page.
pub fn pool_page(title: &str, searches: &[Search]) -> String {
    let content = html! {
        p { (title) }
        p { "Delta cost: the saver's cost as a share of the base's, less the share of frames that exit at parity. Further left is better; right of the line a saver is not worth having." }
        div.grid.top { @for search in searches { (card(search)) } }
    };
    page("tinysaver select", plots::CSS, "bar", &content).into_string()
}

fn card(search: &Search) -> Markup {
    let most = search.candidates.iter().map(reach).fold(0.05, f64::max);
    html! {
        section.card.wide {
            h2 { "Base " (search.base) ", accuracy " (format!("{:.2} %", search.accuracy * 100.0)) }
            @if search.candidates.is_empty() { p { "No model of the pool costs less." } } @else {
                div.pool {
                    @for candidate in &search.candidates {
                        span.name { (candidate.saver) }
                        (bar(candidate, most))
                        span.figures { (format!("{:.3}", candidate.delta_cost)) }
                    }
                    span {}
                    div.axis { span { (format!("{:.2}", -most)) } span { "0" } span { (format!("{most:.2}")) } }
                    span {}
                }
                (legend(&[("saver", "delta cost".to_owned()), ("p90", "its 95 % interval".to_owned())]))
            }
        }
    }
}

/// How far from 0 a candidate's bar goes.
fn reach(candidate: &Candidate) -> f64 {
    let interval = candidate.delta_cost_95.map_or(0.0, |interval| interval.low.abs().max(interval.high.abs()));
    candidate.delta_cost.abs().max(interval)
}

fn bar(candidate: &Candidate, most: f64) -> Markup {
    let place = |value: f64| WIDTH * (value + most) / (2.0 * most);
    let share =
        candidate.best_share.map_or_else(String::new, |share| format!(", best in {:.0} % of draws", share * 100.0));
    let (exits, ratio) = (candidate.exit_ratio * 100.0, candidate.cost_ratio);
    let title = format!("{}: exits {exits:.2} %, C_s/C_b {ratio:.4}{share}", candidate.saver);
    let bars = html! {
        @if let Some(interval) = candidate.delta_cost_95 {
            @let (from, to) = (place(interval.low), place(interval.high));
            (rectangle("p90", (from, 0.0), ((to - from).max(2.0), 20.0), &title))
        }
        (rectangle("saver", (place(candidate.delta_cost) - 3.0, 0.0), (6.0, 20.0), &title))
        line.threshold x1=(place(0.0)) x2=(place(0.0)) y1="0" y2="20" {}
    };
    drawing("row", 20.0, &title, &bars)
}
