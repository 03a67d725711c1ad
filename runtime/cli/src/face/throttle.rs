//! What holds the board back, read now and then.

use std::path::Path;
use std::time::{Duration, Instant};

use tinysaver_board::Throttle;

const INTERVAL: Duration = Duration::from_secs(2);

/// Remembers what was read last.
#[derive(Debug, Default)]
pub struct ThrottleReader(Option<(Instant, Throttle)>);

impl ThrottleReader {
    /// What is known at `now`; read again when that is older than two seconds.
    pub fn at(&mut self, now: Instant) -> Throttle {
        match self.0 {
            Some((read, throttle)) if now.duration_since(read) < INTERVAL => throttle,
            _ => self.0.insert((now, Throttle::read(Path::new("/")))).1,
        }
    }
}
