//! What may be spent.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// A budget of energy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// So much on average, in watts.
    Watts(f64),
    /// So much in every 24 hours from the start, in joules.
    JoulesPerDay(f64),
    /// What a battery holds, in joules, is to last until a moment after the start.
    Battery {
        /// At the start.
        joules: f64,
        /// From the start.
        until: Duration,
    },
}

/// A budget that is none.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is no budget: a number above 0 is wanted")]
pub struct BudgetError(f64);

impl Budget {
    /// Checks its numbers.
    ///
    /// # Errors
    /// One that is not above 0.
    pub fn checked(self) -> Result<Self, BudgetError> {
        let sound = |value: f64| if value.is_finite() && value > 0.0 { Ok(()) } else { Err(BudgetError(value)) };
        match self {
            Self::Watts(watts) => sound(watts)?,
            Self::JoulesPerDay(joules) => sound(joules)?,
            Self::Battery { joules, until } => sound(joules).and_then(|()| sound(until.as_secs_f64()))?,
        }
        Ok(self)
    }

    /// Watts that may be drawn from now on, of which so many joules are spent; `now` and `spent` are since the start.
    /// `battery` is what a battery is known to hold now, if it tells.
    #[must_use]
    pub fn watts(&self, now: Duration, spent: f64, battery: Option<f64>) -> f64 {
        // Towards the end of a span the mean over what is left of it would swing wildly.
        let over = |joules: f64, left: Duration| joules.max(0.0) / left.max(Duration::from_secs(60)).as_secs_f64();
        match *self {
            Self::Watts(watts) => watts,
            Self::JoulesPerDay(joules) => {
                let days = (now.as_secs_f64() / DAY.as_secs_f64()).floor();
                let left = DAY.mul_f64(days + 1.0).saturating_sub(now);
                // What a day left over is not carried into the next; what it overspent is.
                let of_before = joules * days;
                over(joules - (spent - of_before).max(0.0), left)
            }
            Self::Battery { joules, until } => over(battery.unwrap_or(joules - spent), until.saturating_sub(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(hours: f64) -> Duration {
        Duration::from_secs_f64(hours * 3600.0)
    }

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9 * expected.abs().max(1.0), "{value} is not {expected}");
    }

    #[test]
    fn what_is_left_is_spread_over_the_time_that_is_left() {
        close(Budget::Watts(3.0).watts(hours(5.0), 1e9, None), 3.0);
        let day = Budget::JoulesPerDay(86_400.0);
        close(day.watts(Duration::ZERO, 0.0, None), 1.0);
        close(day.watts(hours(12.0), 64_800.0, None), 0.5);
        close(day.watts(hours(12.0), 90_000.0, None), 0.0);
        close(day.watts(hours(24.0), 50_000.0, None), 1.0);
        close(day.watts(hours(24.0), 100_000.0, None), (86_400.0 - 13_600.0) / 86_400.0);
        let battery = Budget::Battery { joules: 36_000.0, until: hours(10.0) };
        close(battery.watts(Duration::ZERO, 0.0, None), 1.0);
        close(battery.watts(hours(5.0), 9_000.0, None), 1.5);
        close(battery.watts(hours(5.0), 9_000.0, Some(18_000.0)), 1.0);
        close(battery.watts(hours(20.0), 0.0, Some(60.0)), 1.0);
    }

    #[test]
    fn nothing_is_no_budget() {
        for budget in
            [Budget::Watts(0.0), Budget::JoulesPerDay(f64::NAN), Budget::Battery { joules: 1.0, until: Duration::ZERO }]
        {
            assert!(budget.checked().is_err(), "{budget:?}");
        }
        assert!(Budget::Watts(2.5).checked().is_ok());
    }
}
