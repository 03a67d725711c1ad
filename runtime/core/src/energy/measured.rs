//! Energy from a sensor that is read now and then: the last value holds until the next one.

use std::time::Duration;

use super::joules::{Joules, Measured, Watts};
use super::ledger::{Moment, PowerSource, Spent};

/// How long a value holds. After this, nobody knows.
pub const STALE_AFTER: Duration = Duration::from_secs(1);

/// The integral of samples so far, and the sample that holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct HeldPower {
    joules: f64,
    sample: Option<(Duration, f64)>,
    /// Time during which no sample held.
    unknown: Duration,
}

impl HeldPower {
    /// Takes a sample in. What is no number, or runs backwards, changes nothing. Watts may be negative: a battery that is
    /// being charged.
    pub fn sample(&mut self, at: Duration, watts: Watts<Measured>) {
        if !watts.value().is_finite() || self.sample.is_some_and(|(last, _)| at < last) {
            return;
        }
        let (joules, unknown) = self.until(at);
        *self = Self { joules, unknown, sample: Some((at, watts.value())) };
    }

    /// Joules since the first sample, and for how long before `at` nobody knew.
    fn until(&self, at: Duration) -> (f64, Duration) {
        let Some((since, watts)) = self.sample else { return (self.joules, self.unknown) };
        let passed = at.saturating_sub(since);
        let held = passed.min(STALE_AFTER);
        (self.joules + watts * held.as_secs_f64(), self.unknown + (passed - held))
    }
}

/// A sensor as the source of a ledger's joules. Give it the newest [`HeldPower`] before every closing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metered {
    held: HeldPower,
    idle: Option<Watts<Measured>>,
    booked: Option<(f64, Duration)>,
}

impl Metered {
    /// `idle` is what the same sensor shows while the board idles, if somebody has measured that.
    #[must_use]
    pub fn new(idle: Option<Watts<Measured>>) -> Self {
        Self { held: HeldPower::default(), idle, booked: None }
    }

    /// The samples until now.
    pub fn update(&mut self, held: HeldPower) {
        self.held = held;
    }
}

impl PowerSource for Metered {
    type Origin = Measured;

    /// `None` where no sample held for a part of the time.
    fn spend(&mut self, from: Moment, to: Moment, _f32_share: f64, _sent_bytes: u64) -> Option<Spent<Measured>> {
        let now = self.held.sample.map(|_| self.held.until(to.wall));
        let before = std::mem::replace(&mut self.booked, now);
        let ((now_joules, now_unknown), (joules, unknown)) = now.zip(before)?;
        if now_unknown > unknown {
            return None;
        }
        let spent = Joules::new(now_joules - joules);
        let above_idle = self.idle.map(|idle| spent - idle * to.wall.saturating_sub(from.wall));
        Some(Spent { joules: spent, above_idle, radio: Joules::ZERO })
    }
}
