//! A budget that refills: so many bytes, or requests, a second, and some in store.

use std::time::Duration;

/// A token bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenBucket {
    per_second: f64,
    capacity: f64,
    level: f64,
    at: Duration,
}

impl TokenBucket {
    /// Full at first. `capacity` is what may be used at once after a quiet time.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a budget need not be exact beyond 2^53")]
    pub fn new(per_second: f64, capacity: u64) -> Self {
        let capacity = capacity as f64;
        Self { per_second: per_second.max(0.0), capacity, level: capacity, at: Duration::ZERO }
    }

    /// Whether so much may be used now. A clock that goes back refills nothing.
    #[expect(clippy::cast_precision_loss, reason = "a budget need not be exact beyond 2^53")]
    pub fn holds(&mut self, now: Duration, amount: u64) -> bool {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        self.level = (self.level + passed.as_secs_f64() * self.per_second).min(self.capacity);
        self.level >= amount as f64
    }

    /// Uses it, if it is there.
    #[expect(clippy::cast_precision_loss, reason = "a budget need not be exact beyond 2^53")]
    pub fn take(&mut self, now: Duration, amount: u64) -> bool {
        let enough = self.holds(now, amount);
        if enough {
            self.level -= amount as f64;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_empties_and_refills() {
        let mut bucket = TokenBucket::new(10.0, 20);
        let at = |ms| Duration::from_millis(ms);
        assert!(bucket.take(at(0), 20) && !bucket.take(at(0), 1));
        assert!(!bucket.take(at(99), 1) && bucket.take(at(100), 1));
        assert!(!bucket.take(at(50), 1), "a clock that goes back");
        assert!(bucket.take(at(60_000), 20) && !bucket.take(at(60_000), 1), "no more than its capacity");
        assert!(!TokenBucket::new(0.0, 5).take(at(10_000), 6));
    }

    proptest! {
        #[test]
        fn never_more_than_promised(takes in prop::collection::vec((0u64..500, 0u64..50), 1..200), rate in 0.0f64..1000.0, capacity in 0u64..100) {
            let mut bucket = TokenBucket::new(rate, capacity);
            let (mut now, mut used) = (Duration::ZERO, 0u64);
            for (ms, amount) in takes {
                now += Duration::from_millis(ms);
                if bucket.take(now, amount) {
                    used += amount;
                }
                let promised = capacity as f64 + rate * now.as_secs_f64();
                prop_assert!(used as f64 <= promised + 1e-6, "{used} of {promised}");
            }
        }
    }
}
