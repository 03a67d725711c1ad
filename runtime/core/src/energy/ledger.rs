//! The ledger: a run's time is cut into intervals without gaps, and each is booked on one account with its joules.
//!
//! Invariant: the sum over all accounts is what the source says of the whole run, however finely it was cut: every
//! closing books exactly what passed since the one before. Closing allocates nothing.

use std::time::Duration;

use super::joules::Joules;
use super::stage::{FrameWork, STAGES};

/// A reading of both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since the run began.
    pub wall: Duration,
    /// Processor time of all threads of this process.
    pub cpu: Duration,
}

/// What an interval between frames was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Nothing in hand, and at least one frame waits for a base elsewhere.
    Waiting,
    /// Records on their way to log, terminal and viewers.
    Sinks,
    /// All the rest: waiting for the source.
    Idle,
}

/// Energy of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent<O> {
    /// All that was drawn.
    pub joules: Joules<O>,
    /// What idling for as long would not have drawn; `None` where the idle power is not known.
    pub above_idle: Option<Joules<O>>,
    /// Of all that, what the radio drew for the bytes that were sent; 0 where it cannot be told apart.
    pub radio: Joules<O>,
}

/// Knows what an interval cost.
pub trait PowerSource {
    /// [`Measured`](super::Measured) or [`Modelled`](super::Modelled).
    type Origin;

    /// The energy from one moment to the next, of whose processor time `f32_share` went into f32 arithmetic, and in which
    /// so many bytes were sent. Intervals are asked for in order and without gaps. `None`: nobody knows.
    fn spend(&mut self, from: Moment, to: Moment, f32_share: f64, sent_bytes: u64) -> Option<Spent<Self::Origin>>;

    /// Power of a core that computes with f32, above idling, as a multiple of one that does not.
    fn f32_weight(&self) -> f64 {
        1.0
    }
}

/// What is booked on an account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Booking<O> {
    /// Time on the clock.
    pub wall: Duration,
    /// Time on processors.
    pub cpu: Duration,
    /// All that was drawn.
    pub joules: Joules<O>,
    /// Above idling; `None` where that is not known for all of it.
    pub above_idle: Option<Joules<O>>,
}

impl<O: Copy> Booking<O> {
    /// Nothing.
    pub const NONE: Self =
        Self { wall: Duration::ZERO, cpu: Duration::ZERO, joules: Joules::ZERO, above_idle: Some(Joules::ZERO) };

    fn add(&mut self, other: &Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.joules += other.joules;
        self.above_idle = self.above_idle.zip(other.above_idle).map(|(mine, more)| mine + more);
    }
}

/// What was booked between two frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between<O> {
    /// Waiting for the source.
    pub idle: Booking<O>,
    /// Waiting for a base elsewhere.
    pub waiting: Booking<O>,
    /// Giving records out.
    pub sinks: Booking<O>,
}

impl<O: Copy> Between<O> {
    /// Nothing.
    pub const NONE: Self = Self { idle: Booking::NONE, waiting: Booking::NONE, sinks: Booking::NONE };
}

/// A frame's work, and what was booked between the frame before it and this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameBooking<O> {
    /// Its own work.
    pub frame: Booking<O>,
    /// The same by stage, in the order of [`EnergyStage::ALL`](super::EnergyStage::ALL); only stages of the frame's own.
    pub stages: [Option<Booking<O>>; STAGES],
    /// What was before it.
    pub between: Between<O>,
}

/// An interval's booking, and what of it the radio drew.
struct Closed<O> {
    booking: Booking<O>,
    radio: Joules<O>,
}

/// The accounts of a run.
#[derive(Debug, Clone)]
pub struct Ledger<P: PowerSource> {
    source: P,
    last: Moment,
    /// Since the last frame that was given out.
    between: Between<P::Origin>,
    unknown: Duration,
}

impl<P: PowerSource> Ledger<P>
where
    P::Origin: Copy,
{
    /// Opens it.
    #[must_use]
    pub fn new(source: P, now: Moment) -> Self {
        Self { source, last: now, between: Between::NONE, unknown: Duration::ZERO }
    }

    /// The source, to bring it up to date.
    pub fn source(&mut self) -> &mut P {
        &mut self.source
    }

    /// Time for which nobody knows the energy.
    #[must_use]
    pub fn unknown(&self) -> Duration {
        self.unknown
    }

    /// Ends an interval that was no frame's.
    pub fn close_between(&mut self, now: Moment, account: Account) {
        if let Some(Closed { booking, .. }) = self.close(now, &FrameWork::default()) {
            let booked = match account {
                Account::Waiting => &mut self.between.waiting,
                Account::Sinks => &mut self.between.sinks,
                Account::Idle => &mut self.between.idle,
            };
            booked.add(&booking);
        }
    }

    /// Ends a frame's interval; `None` where nobody knows what it cost.
    pub fn close_frame(&mut self, now: Moment, work: &FrameWork) -> Option<FrameBooking<P::Origin>> {
        let Closed { booking: frame, radio } = self.close(now, work)?;
        let stages = work.split(&frame, radio, self.source.f32_weight());
        Some(FrameBooking { frame, stages, between: self.take_between() })
    }

    /// What was booked since the last frame. At the end it is the rest.
    pub fn take_between(&mut self) -> Between<P::Origin> {
        std::mem::replace(&mut self.between, Between::NONE)
    }

    fn close(&mut self, now: Moment, work: &FrameWork) -> Option<Closed<P::Origin>> {
        let from = std::mem::replace(&mut self.last, now);
        let wall = now.wall.saturating_sub(from.wall);
        let Some(spent) = self.source.spend(from, now, work.f32_share(wall), work.sent_bytes) else {
            self.unknown += wall;
            return None;
        };
        let cpu = now.cpu.saturating_sub(from.cpu);
        let booking = Booking { wall, cpu, joules: spent.joules, above_idle: spent.above_idle };
        Some(Closed { booking, radio: spent.radio })
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
