//! The overlay on a display, drawn in a thread of its own.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tinysaver_board::{DecodeLimits, Display, DisplayAddress, Facts, FrameBuffer, Throttle, open_display, picture_of};
use tinysaver_core::{Answer, Record};

use super::answers::Answers;
use super::followers::{Follower, Seen};
use super::latest::Latest;

/// A display that fails is opened again after so long.
const RETRY: Duration = Duration::from_secs(5);
/// Waiting is done in such pieces.
const PIECE: Duration = Duration::from_secs(1);

/// Follows a run for a display.
pub struct Screen {
    slot: Arc<Latest<(Seen, Option<f64>)>>,
    answers: Answers,
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    /// Starts the drawing thread. The display is opened there: one that is slow to start, or is not there, holds up
    /// nothing.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(address: DisplayAddress, limits: DecodeLimits) -> Result<Self> {
        let slot = Arc::new(Latest::default());
        let of_thread = Arc::clone(&slot);
        let draw = move || Drawer { address, limits, screen: None, complained: false }.draw(&of_thread);
        let thread = std::thread::Builder::new().name("display".into()).spawn(draw).context("display")?;
        Ok(Self { slot, answers: Answers::new(Instant::now()), thread: Some(thread) })
    }
}

impl Follower for Screen {
    fn wants_picture(&self) -> bool {
        self.slot.is_empty()
    }

    fn take(&mut self, record: &Record, picture: Option<&Arc<FrameBuffer>>) {
        let now = Instant::now();
        self.answers.add(record, now);
        // One that waits with its picture is worth more than a newer one without.
        if record.answer().is_some() && (picture.is_some() || self.slot.is_empty()) {
            let seen = Seen { record: record.clone(), picture: picture.cloned() };
            self.slot.put((seen, self.answers.frames_per_second(now)));
        }
    }

    /// The last answer is drawn before the program ends.
    fn finish(&mut self) {
        self.slot.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the drawing thread panicked; this is a defect");
        }
    }
}

struct Drawer {
    address: DisplayAddress,
    limits: DecodeLimits,
    screen: Option<Box<dyn Display>>,
    complained: bool,
}

impl Drawer {
    fn draw(mut self, slot: &Latest<(Seen, Option<f64>)>) {
        let mut closed_until = None::<Instant>;
        loop {
            let Some((seen, rate)) = slot.take(PIECE) else {
                if slot.is_closed() {
                    return;
                }
                continue;
            };
            let now = Instant::now();
            if closed_until.is_some_and(|until| now < until) && !slot.is_closed() {
                continue;
            }
            let shown = seen.record.answer().map_or(Ok(()), |answer| self.show(&seen, answer, rate));
            closed_until = match shown {
                Ok(()) => None,
                Err(error) => {
                    self.complain(&error);
                    self.screen = None;
                    Some(now + RETRY)
                }
            };
        }
    }

    fn show(&mut self, seen: &Seen, answer: &Answer, rate: Option<f64>) -> Result<()> {
        let screen = match &mut self.screen {
            Some(screen) => screen,
            None => self.screen.insert(open_display(&self.address)?),
        };
        let picture = seen.picture.as_ref().filter(|_| screen.shows_pictures());
        // A frame that cannot be decoded has no answer, so that this never fails; if it did, words would do.
        let picture = picture.and_then(|frame| picture_of(frame, screen.size(), self.limits).ok());
        screen.show(&facts(&seen.record, answer, rate), picture.as_ref())?;
        if std::mem::take(&mut self.complained) {
            log::warn!("the display works again");
        }
        Ok(())
    }

    /// Once for each time that it stops working.
    fn complain(&mut self, error: &anyhow::Error) {
        if !std::mem::replace(&mut self.complained, true) {
            log::warn!("{error:#}; answers go on without it");
        }
    }
}

/// What an answer's record tells a display.
pub fn facts(record: &Record, answer: &Answer, frames_per_second: Option<f64>) -> Facts {
    Facts {
        label: answer.label.clone(),
        confidence: answer.probability,
        exit: answer.exit,
        latency_us: record.latency_us,
        energy_joules: record.energy.as_ref().map(|energy| energy.energy_uj as f64 / 1e6),
        frames_per_second,
        throttle: record.throttle.map_or(Throttle::Unknown, Throttle::Bits),
    }
}
