//! A camera as a source of frames: always the newest, every other one counted.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tinysaver_core::DropReason;
use v4l::v4l_sys::V4L2_BUF_FLAG_ERROR;

use super::address::V4l2Address;
use super::device::{self, CameraIdentity};
use super::driver::Driver;
use super::sys::Filled;
use crate::live::Opener;
use crate::source::{Clock, Drops, Fault, FaultKind, FrameBuffer, MonotonicClock, Next, Source};

/// So long a call waits for a frame.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// `V4L2_BUF_FLAG_TIMESTAMP_MASK` and `V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC`.
const TIMESTAMP_MASK: u32 = 0xe000;
const TIMESTAMP_MONOTONIC: u32 = 0x2000;

/// Opens a camera, and finds it again when it was plugged in elsewhere.
pub struct V4l2Opener {
    address: V4l2Address,
    identity: Option<CameraIdentity>,
}

impl V4l2Opener {
    /// Nothing is opened yet.
    #[must_use]
    pub fn new(address: V4l2Address) -> Self {
        Self { address, identity: None }
    }
}

impl Opener for V4l2Opener {
    fn open(&mut self) -> Result<Box<dyn Source>, Fault> {
        let path = match &self.identity {
            Some(identity) => device::find_again(&self.address.path, identity)?,
            None => self.address.path.clone(),
        };
        let opened = device::open(&path, &self.address)?;
        self.identity = Some(opened.identity);
        let timeout = self.address.options.timeout;
        Ok(Box::new(V4l2Source::new(opened.driver, path, opened.description, timeout, MonotonicClock)))
    }
}

/// A camera that streams.
pub(super) struct V4l2Source<D, C> {
    driver: D,
    path: PathBuf,
    description: String,
    timeout: Duration,
    clock: C,
    last_frame_at: Duration,
    last_sequence: Option<u32>,
}

impl<D: Driver, C: Clock> V4l2Source<D, C> {
    pub(super) fn new(driver: D, path: PathBuf, description: String, timeout: Duration, clock: C) -> Self {
        let last_frame_at = clock.now();
        Self { driver, path, description, timeout, clock, last_frame_at, last_sequence: None }
    }

    fn fault(&self, what: &str, error: &io::Error) -> Fault {
        let path = self.path.display();
        match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => {
                Fault::new(FaultKind::Gone, format!("{path}: the camera was unplugged"))
            }
            _ => Fault::new(FaultKind::Io, format!("{path}: {what}: {error}")),
        }
    }

    /// Takes every buffer that is full and keeps the newest good one.
    fn drain(&mut self, drops: &mut Drops) -> Result<Option<Filled>, Fault> {
        let mut newest: Option<Filled> = None;
        loop {
            let filled = match self.driver.dequeue() {
                Ok(Some(filled)) => filled,
                Ok(None) => return Ok(newest),
                // It will say so again after the frame that is already here.
                Err(_) if newest.is_some() => return Ok(newest),
                Err(error) => return Err(self.fault("the driver failed", &error)),
            };
            self.count_gap(filled.sequence, drops);
            if filled.flags & V4L2_BUF_FLAG_ERROR != 0 {
                drops.add(DropReason::Corrupt, 1, "the driver flags the frame as corrupt");
                self.give_back(filled.index)?;
                continue;
            }
            if let Some(older) = newest.replace(filled) {
                drops.add(DropReason::Superseded, 1, "a newer frame was in the driver's queue");
                self.give_back(older.index)?;
            }
        }
    }

    /// The driver counts every frame of the camera, also those that it had no buffer for.
    fn count_gap(&mut self, sequence: u32, drops: &mut Drops) {
        let Some(last) = self.last_sequence.replace(sequence) else { return };
        let gap = sequence.wrapping_sub(last).wrapping_sub(1);
        // A driver that does not count, or began anew, tells nothing.
        if gap < u32::MAX / 2 {
            drops.add(DropReason::LostByDriver, gap.into(), "the camera's frame count has a gap");
        }
    }

    fn give_back(&mut self, index: u32) -> Result<(), Fault> {
        let first = self.driver.queue(index);
        // Once may be a hiccup; a buffer less is a stream that stalls in the end.
        let again = |error: io::Error| {
            log::debug!("{}: the driver refused a buffer, and is asked once more: {error}", self.path.display());
            self.driver.queue(index)
        };
        first.or_else(again).map_err(|error| self.fault("the driver refuses a buffer", &error))
    }

    /// When the frame was taken. Drivers that stamp with another clock, or with a time that is still to come, are
    /// corrected to the moment at which the frame arrived.
    fn captured_at(&self, filled: &Filled) -> Duration {
        let now = self.clock.now();
        let is_monotonic = filled.flags & TIMESTAMP_MASK == TIMESTAMP_MONOTONIC && !filled.timestamp.is_zero();
        if is_monotonic { filled.timestamp.min(now) } else { now }
    }

    fn check_event(&mut self) -> Result<(), Fault> {
        match self.driver.take_event() {
            Ok(true) => {
                let detail = format!("{}: the picture at the camera's input changed its size", self.path.display());
                Err(Fault::new(FaultKind::Changed, detail))
            }
            Ok(false) => Ok(()),
            Err(error) => Err(self.fault("its event cannot be read", &error)),
        }
    }

    fn silence(&self) -> Result<Next, Fault> {
        let silent = self.clock.now().saturating_sub(self.last_frame_at);
        if silent < self.timeout {
            return Ok(Next::Idle);
        }
        let detail = format!("{}: no frame for {:.1} s", self.path.display(), silent.as_secs_f64());
        Err(Fault::new(FaultKind::Timeout, detail))
    }
}

impl<D: Driver, C: Clock> Source for V4l2Source<D, C> {
    fn next(&mut self, frame: &mut FrameBuffer, drops: &mut Drops) -> Result<Next, Fault> {
        let ready = self.driver.wait(POLL_INTERVAL).map_err(|error| self.fault("poll", &error))?;
        if ready.urgent {
            self.check_event()?;
        }
        if !ready.data {
            return self.silence();
        }
        let Some(filled) = self.drain(drops)? else { return self.silence() };
        self.last_frame_at = self.clock.now();
        frame.name = self.path.display().to_string();
        frame.captured_at = Some(self.captured_at(&filled));
        let copied = self.driver.copy(&filled, frame);
        let back = self.give_back(filled.index);
        let next = match copied {
            Ok(()) => Next::Frame,
            Err(detail) => Next::Dropped(DropReason::Damaged, detail),
        };
        // The frame is ours already: a stream that is broken now will say so at the next call, too.
        if let Err(fault) = back {
            log::debug!("{fault}");
        }
        Ok(next)
    }

    fn description(&self) -> String {
        self.description.clone()
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "age_tests.rs"]
mod age_tests;
