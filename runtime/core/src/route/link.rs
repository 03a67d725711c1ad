//! How long the way to a base and back takes.

use std::time::Duration;

/// Round trips that the percentile looks back on.
const RECENT: usize = 64;
/// Fewer say nothing about the slowest of twenty.
const ENOUGH: usize = 20;
/// RFC 6298: gains of the mean and of the deviation.
const MEAN_GAIN: f64 = 1.0 / 8.0;
const DEVIATION_GAIN: f64 = 1.0 / 4.0;

/// Mean and deviation of round trips as TCP estimates them (Jacobson and Karels 1988, RFC 6298), bytes per second, and
/// the last round trips for a percentile.
#[derive(Debug, Clone, PartialEq)]
pub struct LinkEstimate {
    mean_us: f64,
    deviation_us: f64,
    mean_bytes: f64,
    bytes_per_second: f64,
    samples: u64,
    recent_us: [u32; RECENT],
}

impl Default for LinkEstimate {
    fn default() -> Self {
        Self {
            mean_us: 0.0,
            deviation_us: 0.0,
            mean_bytes: 0.0,
            bytes_per_second: 0.0,
            samples: 0,
            recent_us: [0; RECENT],
        }
    }
}

impl LinkEstimate {
    /// Takes one more round trip, in which so many bytes went over the network.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn observe(&mut self, round_trip: Duration, bytes: u64) {
        let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        let (us, bytes) = (f64::from(micros), bytes as f64);
        let rate = bytes / (us.max(1.0) / 1e6);
        if self.samples == 0 {
            (self.mean_us, self.deviation_us) = (us, us / 2.0);
            (self.mean_bytes, self.bytes_per_second) = (bytes, rate);
        } else {
            self.deviation_us += DEVIATION_GAIN * ((self.mean_us - us).abs() - self.deviation_us);
            self.mean_us += MEAN_GAIN * (us - self.mean_us);
            self.mean_bytes += MEAN_GAIN * (bytes - self.mean_bytes);
            self.bytes_per_second += MEAN_GAIN * (rate - self.bytes_per_second);
        }
        let place = usize::try_from(self.samples % RECENT as u64).unwrap_or_default();
        if let Some(place) = self.recent_us.get_mut(place) {
            *place = micros;
        }
        self.samples += 1;
    }

    /// Round trips taken so far.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// What a request of so many bytes will probably take; `None` before the first round trip.
    #[must_use]
    pub fn expected(&self, bytes: u64) -> Option<Duration> {
        (self.samples > 0).then(|| micros(self.mean_us + self.extra_us(bytes)))
    }

    /// The same plus the deviation: later than most.
    #[must_use]
    pub fn cautious(&self, bytes: u64) -> Option<Duration> {
        (self.samples > 0).then(|| micros(self.mean_us + self.deviation_us + self.extra_us(bytes)))
    }

    /// What more bytes than usual cost. The rate is a lower bound, for waiting is in it: this errs to the cautious side.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn extra_us(&self, bytes: u64) -> f64 {
        let more = bytes as f64 - self.mean_bytes;
        if more <= 0.0 || self.bytes_per_second <= 0.0 { 0.0 } else { more / self.bytes_per_second * 1e6 }
    }

    /// Bytes per second, both ways together, waiting included.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<f64> {
        (self.samples > 0 && self.bytes_per_second > 0.0).then_some(self.bytes_per_second)
    }

    /// What 19 of the last 20 round trips did not exceed; `None` while there are too few.
    #[must_use]
    pub fn percentile_95(&self) -> Option<Duration> {
        let known = usize::try_from(self.samples).map_or(RECENT, |samples| samples.min(RECENT));
        if known < ENOUGH {
            return None;
        }
        let mut sorted = self.recent_us;
        let known = sorted.get_mut(..known)?;
        known.sort_unstable();
        let rank = (known.len() * 95).div_ceil(100);
        known.get(rank - 1).map(|&us| Duration::from_micros(us.into()))
    }
}

fn micros(us: f64) -> Duration {
    Duration::try_from_secs_f64(us / 1e6).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn as_rfc_6298_counts() {
        let mut link = LinkEstimate::default();
        assert_eq!((link.expected(1), link.cautious(1), link.percentile_95()), (None, None, None));
        link.observe(ms(100), 1000);
        assert_eq!((link.expected(1000), link.cautious(1000)), (Some(ms(100)), Some(ms(150))));
        link.observe(ms(180), 1000);
        // Deviation 50 + (80 - 50) / 4, mean 100 + 80 / 8.
        assert_eq!(link.expected(1000), Some(ms(110)));
        assert_eq!(link.cautious(1000), Some(Duration::from_micros(167_500)));
    }

    #[test]
    fn more_bytes_take_longer() {
        let mut link = LinkEstimate::default();
        (0..50).for_each(|_| link.observe(ms(10), 10_000));
        assert_eq!(link.bytes_per_second().map(f64::round), Some(1_000_000.0));
        assert_eq!(link.expected(20_000), Some(ms(20)));
        assert_eq!(link.expected(5_000), Some(ms(10)), "fewer bytes are not trusted to be faster");
    }

    #[test]
    fn the_percentile_forgets() {
        let mut link = LinkEstimate::default();
        (1..20).for_each(|i| link.observe(ms(i), 0));
        assert_eq!(link.percentile_95(), None);
        link.observe(ms(20), 0);
        assert_eq!(link.percentile_95(), Some(ms(19)));
        (0..64).for_each(|_| link.observe(ms(3), 0));
        assert_eq!(link.percentile_95(), Some(ms(3)));
    }

    proptest! {
        #[test]
        fn it_settles_on_what_it_sees(us in 1u64..10_000_000, before in prop::collection::vec(1u64..100_000_000, 0..20)) {
            let mut link = LinkEstimate::default();
            before.iter().for_each(|&us| link.observe(Duration::from_micros(us), 1));
            (0..400).for_each(|_| link.observe(Duration::from_micros(us), 1));
            let expected = u64::try_from(link.expected(1).unwrap().as_micros()).unwrap();
            prop_assert!(expected.abs_diff(us) <= 1 + us / 100, "{expected} is not {us}");
        }

        #[test]
        fn caution_is_never_below_hope(trips in prop::collection::vec((0u64..u64::MAX, any::<u64>()), 1..30), bytes in any::<u64>()) {
            let mut link = LinkEstimate::default();
            trips.iter().for_each(|&(us, bytes)| link.observe(Duration::from_micros(us), bytes));
            prop_assert!(link.cautious(bytes).unwrap() >= link.expected(bytes).unwrap());
        }
    }
}
