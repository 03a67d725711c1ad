//! Time, so that tests can bring their own.

use std::time::Duration;

use crate::system::monotonic_now;

/// A clock that never goes back.
pub trait Clock: Send + Sync {
    /// Since some moment in the past, the same for everybody who reads this kind of clock.
    fn now(&self) -> Duration;

    /// Waits; callers that must be able to stop wait in short pieces.
    fn wait(&self, duration: Duration);
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Duration {
        (**self).now()
    }

    fn wait(&self, duration: Duration) {
        (**self).wait(duration);
    }
}

/// `CLOCK_MONOTONIC`: what cameras' drivers stamp frames with.
#[derive(Debug, Clone, Copy, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now(&self) -> Duration {
        monotonic_now()
    }

    fn wait(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Stands still until told otherwise; waiting moves it.
    #[derive(Debug, Default)]
    pub(crate) struct FakeClock(Mutex<Duration>);

    impl Clock for FakeClock {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn wait(&self, duration: Duration) {
            *self.0.lock().unwrap() += duration;
        }
    }
}
