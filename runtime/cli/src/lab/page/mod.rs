//! Plots of a pair on a data set, as one HTML page that needs nothing else.

mod curves;
mod plots;
mod pool;

use anyhow::Result;
use maud::{Markup, html};
use tinysaver_core::risk::{Judged, Method, Promise, Ranked};
use tinysaver_core::{Score, Temperature};

use crate::lab::calibration::{Judge, best_temperature};
use crate::lab::evaluation::{Figures, Test};
use crate::report_page::{page, plot};
use curves::{Reliability, accuracy_curve, harm_curves, risk_coverage};
use plots::{Axes, Line, Mark, chart};
pub use pool::pool_page;

/// What thresholds do, as a place in the plot of accuracy against operations.
pub struct Point<'a> {
    /// What it is called.
    pub name: String,
    /// Chosen on the samples that are shown: no promise.
    pub is_swept: bool,
    /// Where it is.
    pub figures: &'a Figures,
}

/// What is shown.
pub struct Page<'a> {
    /// Models and samples.
    pub title: String,
    /// The pair on the samples; of several savers the first is shown.
    pub test: &'a Test<'a>,
    /// What the gate judges by.
    pub judge: Judge,
    /// The gate's.
    pub threshold: Option<f32>,
    /// What the threshold promises.
    pub promise: Option<(Method, Promise)>,
    /// Chosen thresholds.
    pub points: Vec<Point<'a>>,
}

impl Page<'_> {
    /// The whole page.
    ///
    /// # Errors
    /// Logits that the judge's temperature needs are not there.
    pub fn render(&self) -> Result<String> {
        let cards = [
            ("Accuracy against operations", true, self.accuracy()?),
            ("Harm against the threshold", true, self.harm()?),
            ("Risk and coverage", false, self.risk_coverage()?),
            ("How sure the saver was", false, self.histogram()?),
            ("Reliability", true, self.reliability()?),
        ];
        let content = html! {
            p { (self.title) }
            p { (self.gate_text()) }
            @if self.test.savers.len() > 1 { p { "Below, what is not about all models is about the first and the last." } }
            div.grid.top {
                @for (title, is_wide, content) in &cards {
                    section.card.wide[*is_wide] { h2 { (title) } (content) }
                }
            }
        };
        Ok(page("tinysaver calibration", plots::CSS, "dot or bar", &content).into_string())
    }

    fn gate_text(&self) -> String {
        let gate = format!("Gate: {} at temperature {:.3}", self.judge.score.name(), self.judge.temperature.value());
        let threshold = self.threshold.map_or_else(String::new, |threshold| format!(", threshold {threshold:.4}"));
        let promise = self.promise.map_or_else(String::new, |(method, promise)| {
            let (epsilon, delta) = (promise.epsilon() * 100.0, promise.delta());
            format!("; {}, epsilon {epsilon} pp, delta {delta}: {}", method.name(), method.promises())
        });
        gate + &threshold + &promise + "."
    }

    fn judged(&self, judge: Judge) -> Result<Vec<Judged>> {
        self.test.savers.first().map_or(Ok(Vec::new()), |saver| self.test.judged(saver, judge))
    }

    fn accuracy(&self) -> Result<Markup> {
        let (judged, stages) = (self.judged(self.judge)?, self.test.stages(&vec![self.judge; self.test.savers.len()])?);
        let curve = accuracy_curve(self.test, &Ranked::new(judged)?);
        let (saver, base) = self.test.ends(&stages);
        let base_macs = base.macs.max(1.0);
        let place = |figures: &Figures| (figures.macs / base_macs, figures.accuracy);
        let told = |name: &str, figures: &Figures| {
            let (drop, macs) = (figures.drop_pp, 100.0 * figures.macs / base_macs);
            format!(
                "{name}: accuracy {:.2} %, drop {drop:.3} pp, operations {macs:.1} % of always-base",
                figures.accuracy * 100.0
            )
        };
        let mut marks = vec![
            Mark { class: "fallback", at: place(&saver), text: told("always saver", &saver) },
            Mark { class: "base_local", at: place(&base), text: told("always base", &base) },
        ];
        marks.extend(self.points.iter().map(|point| Mark {
            class: if point.is_swept { "wrong" } else { "base_remote" },
            at: place(point.figures),
            text: told(&point.name, point.figures),
        }));
        let axes = Axes::around(
            curve.iter().copied().chain(marks.iter().map(|mark| mark.at)),
            "operations, share of always-base",
            "accuracy",
        );
        let lines = [Line { class: "saver", name: "every threshold of this gate", points: curve }];
        let legend = [
            ("saver", "every threshold of this gate".to_owned()),
            ("fallback", "always saver".to_owned()),
            ("base_local", "always base".to_owned()),
            ("base_remote", "chosen on calibration samples".to_owned()),
            ("wrong", "swept on the samples that it is judged on".to_owned()),
        ];
        let table = html! {
            ul.marks { @for mark in &marks { li { span class={ "swatch " (mark.class) } {} (mark.text) } } }
        };
        Ok(html! { (chart(&axes, &lines, &marks, None, None)) (plot::legend(&legend)) (table) })
    }

    fn harm(&self) -> Result<Markup> {
        let delta = self.promise.map_or(0.05, |(_, promise)| promise.delta());
        let (observed, bound) = harm_curves(&Ranked::new(self.judged(self.judge)?)?, delta);
        let epsilon = self.promise.map(|(_, promise)| promise.epsilon());
        // Beyond a few epsilon nobody chooses; what lies there would press the rest to the ground.
        let most = epsilon.map_or(f64::INFINITY, |epsilon| 4.0 * epsilon);
        let inside = observed.iter().chain(&bound).copied().filter(|(_, y)| *y <= most);
        let axes = Axes::around(inside.chain([(1.0, 0.0)]), "threshold", "harms, share of all frames");
        let legend = [
            ("saver", "harms seen: base right, accepted saver wrong".to_owned()),
            ("p50", format!("upper bound (Clopper-Pearson, delta {delta})")),
            ("mark", "dashed: epsilon, and the chosen threshold".to_owned()),
        ];
        let lines = [
            Line { class: "saver", name: "harms", points: observed },
            Line { class: "p50", name: "upper bound", points: bound },
        ];
        let threshold = self.threshold.map(f64::from);
        Ok(html! { (chart(&axes, &lines, &[], threshold, epsilon)) (plot::legend(&legend)) })
    }

    fn risk_coverage(&self) -> Result<Markup> {
        let mut scores =
            vec![(Score::MaxSoftmax, "saver"), (Score::Margin, "base_local"), (Score::Entropy, "fallback")];
        if !scores.iter().any(|(score, _)| *score == self.judge.score) {
            scores.push((self.judge.score, "base_remote"));
        }
        let (mut lines, mut legend) = (Vec::new(), Vec::new());
        for (score, class) in &scores {
            let judged = self.judged(Judge { score: *score, ..self.judge })?;
            lines.push(Line { class, name: score.name(), points: risk_coverage(&Ranked::new(judged)?) });
            legend.push((*class, score.name().to_owned()));
        }
        let all: Vec<(f64, f64)> = lines.iter().flat_map(|line| line.points.iter().copied()).collect();
        let axes = Axes::around(
            all.into_iter().chain([(0.0, 0.0), (1.0, 0.0)]),
            "coverage: share that exits",
            "wrong among these",
        );
        Ok(html! { (chart(&axes, &lines, &[], None, None)) (plot::legend(&legend)) })
    }

    fn histogram(&self) -> Result<Markup> {
        let judged = self.judged(self.judge)?;
        let legend = [
            ("right", "saver right".to_owned()),
            ("wrong", "saver wrong".to_owned()),
            ("mark", "threshold: to its right the saver answers".to_owned()),
        ];
        Ok(html! { (plots::histogram(&judged, self.threshold)) (plot::legend(&legend)) })
    }

    fn reliability(&self) -> Result<Markup> {
        let plain = Judge { temperature: Temperature::ONE, score: Score::MaxSoftmax };
        let before = Reliability::of(&self.judged(plain)?);
        let given = (self.judge.temperature != Temperature::ONE).then_some(self.judge.temperature);
        let fitted = self.test.savers.first().and_then(|saver| best_temperature(saver, &self.test.targets).ok());
        let after = given.or(fitted).map(|temperature| -> Result<_> {
            Ok((temperature, Reliability::of(&self.judged(Judge { temperature, ..plain })?)))
        });
        let after = after.transpose()?;
        Ok(html! {
            div.pair {
                div { (plots::reliability(&before, "temperature 1")) }
                @if let Some((temperature, after)) = &after {
                    div { (plots::reliability(after, &format!("temperature {:.3}", temperature.value()))) }
                }
            }
            @if after.is_none() { p.note { "The records hold no logits, so there is nothing to show after temperature." } }
            @if given.is_none() && after.is_some() {
                p.note { "The gate works at temperature 1; beside it what fitting one to these very samples would give." }
            }
            p.note { "Bars: share of right answers in each tenth of confidence. On the dashed line confidence is what it says." }
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
