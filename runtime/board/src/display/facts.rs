//! What a display tells of one answered frame.

use tinysaver_core::Exit;

use crate::throttle::Throttle;

/// One answered frame, and how the board is.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The answered class.
    pub label: String,
    /// How sure the answer is, 0 to 1.
    pub confidence: f32,
    /// Who answered.
    pub exit: Exit,
    /// From capture to answer.
    pub latency_us: u64,
    /// What the frame cost; `None` where nobody measures or models it.
    pub energy_joules: Option<f64>,
    /// Answered frames per second, lately; `None` before there are two.
    pub frames_per_second: Option<f64>,
    /// Whether the board is held back.
    pub throttle: Throttle,
}

impl Facts {
    /// `12.3 ms`, `123 ms`, `12.3 s`: at most seven letters.
    pub(super) fn latency(&self) -> String {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let ms = self.latency_us as f64 / 1e3;
        match ms {
            ..99.95 => format!("{ms:.1} ms"),
            ..9999.5 => format!("{ms:.0} ms"),
            _ => format!("{:.1} s", ms / 1e3),
        }
    }

    /// `0.12 J`, `1.5 mJ`, or `- J`.
    pub(super) fn energy(&self) -> String {
        match self.energy_joules {
            None => "- J".into(),
            Some(joules) if joules.abs() < 0.1 => format!("{:.1} mJ", joules * 1e3),
            Some(joules) => format!("{joules:.2} J"),
        }
    }

    /// `14.9 fps`, or `- fps`.
    pub(super) fn rate(&self) -> String {
        self.frames_per_second.map_or("- fps".into(), |rate| format!("{rate:.1} fps"))
    }

    /// `73%`, rounded down, so that 100% is said of nothing less.
    pub(super) fn percent(&self) -> String {
        format!("{:.0}%", (self.part() * 100.0).floor())
    }

    /// The confidence as a part of the bar.
    pub(super) fn part(&self) -> f32 {
        if self.confidence.is_finite() { self.confidence.clamp(0.0, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_never_round_up_to_certainty() {
        let facts = |latency_us, energy_joules, confidence| Facts {
            label: String::new(),
            confidence,
            exit: Exit::Saver,
            latency_us,
            energy_joules,
            frames_per_second: None,
            throttle: Throttle::Unknown,
        };
        let shown = |latency_us, energy: Option<f64>, confidence| {
            let facts = facts(latency_us, energy, confidence);
            [facts.latency(), facts.energy(), facts.percent()]
        };
        assert_eq!(shown(12_345, None, 0.999), ["12.3 ms", "- J", "99%"]);
        assert_eq!(shown(99_960, Some(0.0123), 1.0), ["100 ms", "12.3 mJ", "100%"]);
        assert_eq!(shown(9_999_600, Some(1.5), f32::NAN), ["10.0 s", "1.50 J", "0%"]);
        assert_eq!(facts(0, None, 0.5).rate(), "- fps");
    }
}
