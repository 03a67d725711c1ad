//! A server that fails is left alone for a while, so that no frame waits for it and it is not trampled when it comes
//! back.

use std::time::Duration;

/// When a server is left alone, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Pause after the first opening; each further failure doubles it.
    pub first_pause: Duration,
    /// The longest pause, before jitter.
    pub longest_pause: Duration,
    /// Up to this share of a pause is added by chance.
    pub jitter: f64,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 3,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            jitter: 0.25,
        }
    }
}

/// The field's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Asked as usual.
    Closed,
    /// Left alone.
    Open,
    /// One try is under way.
    HalfOpen,
}

impl BreakerState {
    /// The name in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A change that an operator wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It answers again.
    Closed,
    /// It is left alone from now on.
    Opened,
}

/// One server's breaker.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed { failures: u32 },
    Open { until: Duration, openings: u32 },
    HalfOpen { openings: u32 },
}

impl Breaker {
    /// Closed.
    #[must_use]
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Closed { failures: 0 } }
    }

    /// Open, to be tried at once: nobody knows yet whether the server is there.
    #[must_use]
    pub fn unproven(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Open { until: Duration::ZERO, openings: 0 } }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// When the pause ends; `None` if there is none.
    #[must_use]
    pub fn retry_at(&self) -> Option<Duration> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Begins the one try after a pause; false where it is not the time.
    pub fn try_again(&mut self, now: Duration) -> bool {
        match self.state {
            State::Open { until, openings } if now >= until => {
                self.state = State::HalfOpen { openings };
                true
            }
            _ => false,
        }
    }

    /// An answer came. One that was asked for before the opening does not close it: the try will.
    pub fn succeeded(&mut self) -> Option<Change> {
        match self.state {
            State::Closed { .. } => {
                self.state = State::Closed { failures: 0 };
                None
            }
            State::HalfOpen { .. } => {
                self.state = State::Closed { failures: 0 };
                Some(Change::Closed)
            }
            State::Open { .. } => None,
        }
    }

    /// No answer came. `random` in 0..1.
    pub fn failed(&mut self, now: Duration, random: f64) -> Option<Change> {
        match self.state {
            State::Closed { failures } if failures + 1 < self.policy.failures => {
                self.state = State::Closed { failures: failures + 1 };
                None
            }
            State::Closed { .. } => {
                self.state = self.open(now, 1, random);
                Some(Change::Opened)
            }
            State::HalfOpen { openings } => {
                self.state = self.open(now, openings.saturating_add(1), random);
                None
            }
            // Requests from before the opening fail one after the other; they say nothing new.
            State::Open { .. } => None,
        }
    }

    fn open(&self, now: Duration, openings: u32, random: f64) -> State {
        let doubled = 2u32.saturating_pow(openings.saturating_sub(1));
        let pause = self.policy.first_pause.saturating_mul(doubled).min(self.policy.longest_pause);
        let jitter = Duration::try_from_secs_f64(pause.as_secs_f64() * self.policy.jitter * random.clamp(0.0, 1.0));
        State::Open { until: now.saturating_add(pause).saturating_add(jitter.unwrap_or_default()), openings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn breaker() -> Breaker {
        Breaker::new(BreakerPolicy { failures: 2, first_pause: ms(100), longest_pause: ms(350), jitter: 0.5 })
    }

    #[test]
    fn a_life() {
        let mut breaker = breaker();
        assert_eq!(breaker.failed(ms(0), 0.0), None);
        assert_eq!(breaker.succeeded(), None, "one answer wipes the slate");
        assert_eq!(breaker.failed(ms(1), 0.0), None);
        assert_eq!(breaker.failed(ms(2), 0.0), Some(Change::Opened));
        assert_eq!((breaker.state(), breaker.retry_at()), (BreakerState::Open, Some(ms(102))));
        assert_eq!((breaker.failed(ms(3), 0.0), breaker.succeeded()), (None, None), "stragglers");
        assert!(!breaker.try_again(ms(101)) && breaker.try_again(ms(102)));
        assert!(!breaker.try_again(ms(103)), "one try at a time");
        assert_eq!(breaker.failed(ms(110), 1.0), None, "still open is no news");
        assert_eq!(breaker.retry_at(), Some(ms(110 + 200 + 100)), "twice the pause and all of the jitter");
        assert!(breaker.try_again(ms(500)));
        assert_eq!(breaker.succeeded(), Some(Change::Closed));
        assert_eq!((breaker.state(), breaker.retry_at()), (BreakerState::Closed, None));
    }

    proptest! {
        #[test]
        fn pauses_stay_within_bounds(tries in 1u32..100, random in 0.0f64..1.0) {
            let mut breaker = breaker();
            let mut now = ms(0);
            breaker.failed(now, random);
            breaker.failed(now, random);
            for _ in 0..tries {
                let until = breaker.retry_at().unwrap();
                prop_assert!(until - now >= ms(100) && until - now <= ms(525));
                now = until;
                prop_assert!(breaker.try_again(now));
                breaker.failed(now, random);
            }
        }

        #[test]
        fn open_is_left_by_a_try_only(events in prop::collection::vec(0u8..4, 0..200)) {
            let mut breaker = breaker();
            for (step, event) in events.into_iter().enumerate() {
                let before = breaker.state();
                let now = ms(step as u64 * 20);
                let tried = event == 2 && breaker.try_again(now);
                match event {
                    0 => drop(breaker.succeeded()),
                    1 => drop(breaker.failed(now, 0.5)),
                    _ => {}
                }
                if before == BreakerState::Open {
                    prop_assert_eq!(breaker.state() != BreakerState::Open, tried);
                }
            }
        }
    }
}
