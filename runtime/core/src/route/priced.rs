//! One price for every way to a base, where several would be in time.

use std::time::Duration;

use crate::spend::{Cost, Prices};

/// A server that was not asked for so long gets a frame, whatever its price was: it may have become cheaper.
pub(super) const REVISIT: Duration = Duration::from_secs(60);

/// What the ways' time and bytes cost on this board.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoutePrices {
    /// Of joules, milliseconds and bytes.
    pub prices: Prices,
    /// What the board draws while its own base works, in watts.
    pub local_watts: f64,
    /// What it draws while it waits for a base elsewhere, in watts.
    pub waiting_watts: f64,
    /// What its radio draws for a byte, in joules.
    pub joules_per_byte: f64,
}

impl RoutePrices {
    /// Of the base on this board, if it takes so long.
    pub(super) fn local(&self, takes: Duration) -> f64 {
        let seconds = takes.as_secs_f64();
        self.prices.of(&Cost { joules: self.local_watts * seconds, milliseconds: seconds * 1e3, bytes: 0.0 })
    }

    /// Of a base elsewhere whose answer takes so long, and of so many bytes.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(super) fn remote(&self, takes: Duration, bytes: u64) -> f64 {
        let (seconds, bytes) = (takes.as_secs_f64(), bytes as f64);
        let joules = self.waiting_watts * seconds + self.joules_per_byte * bytes;
        self.prices.of(&Cost { joules, milliseconds: seconds * 1e3, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_costs_its_time_its_watts_and_its_bytes() {
        let prices = Prices { per_joule: 2.0, per_millisecond: 0.5, per_byte: 0.001 };
        let route = RoutePrices { prices, local_watts: 4.0, waiting_watts: 3.0, joules_per_byte: 1e-6 };
        let half_a_second = Duration::from_millis(500);
        assert!((route.local(half_a_second) - (2.0 * 2.0 + 250.0)).abs() < 1e-9);
        let expected = 2.0 * (1.5 + 0.02) + 250.0 + 20.0;
        assert!((route.remote(half_a_second, 20_000) - expected).abs() < 1e-9);
    }
}
