//! The capturing thread, and what it does when the camera fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::slot::{LatestSlot, Taken};
use super::status::{CaptureState, CaptureStatus};
use crate::source::{Clock, Drops, Fault, FaultKind, FrameBuffer, MonotonicClock, Next, Source};

/// After a fault, the first try to open the source again comes so much later, each further one after twice the time.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// But never after more than this: a camera that is plugged in again should not be waited for.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Waiting is done in such pieces, so that the end of the run is noticed.
const PIECE: Duration = Duration::from_millis(50);

/// Opens a live source, also the second time.
pub trait Opener: Send {
    /// One try.
    ///
    /// # Errors
    /// It is not there, or cannot be used.
    fn open(&mut self) -> Result<Box<dyn Source>, Fault>;
}

impl<F: FnMut() -> Result<Box<dyn Source>, Fault> + Send> Opener for F {
    fn open(&mut self) -> Result<Box<dyn Source>, Fault> {
        self()
    }
}

#[derive(Debug, Default)]
struct Shared {
    slot: LatestSlot,
    status: Mutex<CaptureStatus>,
    stop: AtomicBool,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, CaptureStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// A live source with its thread.
pub struct Capture {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    /// Opens the source and starts capturing.
    ///
    /// # Errors
    /// The first try failed: whoever starts the program is told what is wrong instead of waiting for it to go away.
    pub fn start(mut opener: impl Opener + 'static) -> Result<Self, Fault> {
        let source = opener.open()?;
        let shared = Arc::new(Shared::default());
        shared.status().description = source.description();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("capture".into()).spawn(move || {
            capture(&mut opener, source, &of_thread, &MonotonicClock);
            of_thread.slot.close();
        });
        let thread = thread.map_err(|error| Fault::new(FaultKind::Io, format!("cannot start a thread: {error}")))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits up to `wait` for the newest frame; see [`LatestSlot::take`].
    pub fn take(&self, frame: &mut FrameBuffer, drops: &mut Drops, wait: Duration) -> Taken {
        self.shared.slot.take(frame, drops, wait)
    }

    /// What the source is doing.
    #[must_use]
    pub fn status(&self) -> CaptureStatus {
        self.shared.status().clone()
    }

    /// The same for other threads, as long as they like.
    #[must_use]
    pub fn watch(&self) -> CaptureWatch {
        CaptureWatch(Arc::clone(&self.shared))
    }

    /// Ends capturing. A source that waits for a server can take as long as its timeout to notice; it is left behind
    /// then, and can put nothing into the slot that anybody would miss.
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else { return };
        let deadline = MonotonicClock.now() + Duration::from_millis(500);
        while !thread.is_finished() && MonotonicClock.now() < deadline {
            MonotonicClock.wait(Duration::from_millis(2));
        }
        if thread.is_finished() && thread.join().is_err() {
            log::error!("the capturing thread panicked; this is a defect");
        }
    }
}

/// Looks at a live source from another thread.
#[derive(Debug, Clone)]
pub struct CaptureWatch(Arc<Shared>);

impl CaptureWatch {
    /// What the source is doing.
    #[must_use]
    pub fn status(&self) -> CaptureStatus {
        self.0.status().clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Captures until it is stopped: every fault leads to another try.
fn capture(opener: &mut dyn Opener, source: Box<dyn Source>, shared: &Shared, clock: &dyn Clock) {
    let mut frame = FrameBuffer::default();
    let mut source = Some(source);
    let mut backoff = FIRST_BACKOFF;
    while !shared.stopped() {
        let Some(mut open) = source.take() else {
            source = reopen(opener, shared, clock, &mut backoff);
            continue;
        };
        let fault = stream(&mut *open, &mut frame, shared, clock, &mut backoff);
        let Some(fault) = fault else { return };
        log::warn!("{fault}; opening it again");
        shared.status().fault(&fault);
    }
}

/// Takes frames until the source fails; `None`: it was stopped.
fn stream(
    source: &mut dyn Source,
    frame: &mut FrameBuffer,
    shared: &Shared,
    clock: &dyn Clock,
    backoff: &mut Duration,
) -> Option<Fault> {
    let mut drops = Drops::default();
    while !shared.stopped() {
        match source.next(frame, &mut drops) {
            Ok(Next::Frame) => {
                let mut status = shared.status();
                if status.state != CaptureState::Streaming && status.reopens > 0 {
                    log::warn!("{}: frames again", frame.name);
                }
                status.state = CaptureState::Streaming;
                status.frames += 1;
                status.last_frame_at = Some(clock.now());
                drop(status);
                shared.slot.put(frame, &mut drops);
                // Only frames prove that a source works: one that opens well and fails at once must not be asked
                // ever faster.
                *backoff = FIRST_BACKOFF;
            }
            Ok(Next::Dropped(reason, detail)) => {
                drops.add(reason, 1, &detail);
                shared.slot.report(&mut drops);
            }
            Ok(Next::Idle) => shared.slot.report(&mut drops),
            Ok(Next::End) => return Some(Fault::new(FaultKind::Ended, format!("{}: it ended", frame.name))),
            Err(fault) => {
                shared.slot.report(&mut drops);
                return Some(fault);
            }
        }
    }
    None
}

/// Waits and tries once.
fn reopen(
    opener: &mut dyn Opener,
    shared: &Shared,
    clock: &dyn Clock,
    backoff: &mut Duration,
) -> Option<Box<dyn Source>> {
    let until = clock.now() + *backoff;
    while clock.now() < until && !shared.stopped() {
        clock.wait(PIECE.min(until.saturating_sub(clock.now())));
    }
    *backoff = (*backoff * 2).min(LONGEST_BACKOFF);
    if shared.stopped() {
        return None;
    }
    let opened = opener.open();
    let mut status = shared.status();
    match opened {
        Ok(source) => {
            status.reopens += 1;
            status.state = CaptureState::Opened;
            status.description = source.description();
            log::info!("opened again: {}", status.description);
            Some(source)
        }
        Err(fault) => {
            // The loss itself was said loudly; a camera that stays away must not fill the log.
            log::info!("{fault}; trying again in {:.1} s", backoff.as_secs_f64());
            status.fault(&fault);
            None
        }
    }
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
