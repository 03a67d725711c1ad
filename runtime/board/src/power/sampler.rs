//! A thread that reads one sensor at a fixed pace, so that nobody else waits for it.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;
use tinysaver_core::energy::HeldPower;

use super::sensor::PowerSensor;

/// What the thread has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SamplerStatus {
    /// Values taken in.
    pub samples: u64,
    /// Readings that failed.
    pub failed: u64,
    /// The last failure's words.
    pub last_error: Option<String>,
}

#[derive(Default)]
struct Shared {
    held: HeldPower,
    status: SamplerStatus,
}

/// A sensor being read.
pub struct PowerSampler {
    shared: Arc<Mutex<Shared>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl PowerSampler {
    /// Reads once at once, so that there is a value from the beginning, and then each `period`. Times are since `began`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(mut sensor: PowerSensor, period: Duration, began: Instant) -> std::io::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared::default()));
        sample(&mut sensor, began, &shared);
        let (stop, stopped) = channel::<()>();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("power".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(period) {
                sample(&mut sensor, began, &of_thread);
            }
        })?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// The samples until now.
    #[must_use]
    pub fn held(&self) -> HeldPower {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).held
    }

    /// How it went.
    #[must_use]
    pub fn status(&self) -> SamplerStatus {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }
}

/// A failure is told once, until there is a value again.
fn sample(sensor: &mut PowerSensor, began: Instant, shared: &Mutex<Shared>) {
    let value = sensor.read(began.elapsed());
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    match value {
        Ok(Some(watts)) => {
            shared.held.sample(began.elapsed(), watts);
            shared.status.samples += 1;
            if shared.status.last_error.take().is_some() {
                log::info!("{}: gives values again", sensor.name());
            }
        }
        Ok(None) => {}
        Err(error) => {
            if shared.status.last_error.is_none() {
                log::warn!("{}: no value: {error}", sensor.name());
            }
            shared.status.failed += 1;
            shared.status.last_error = Some(error.to_string());
        }
    }
}

impl Drop for PowerSampler {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the thread that reads the power sensor panicked");
        }
    }
}
