//! The ledger: a run's time is cut into intervals without gaps, and each is booked on one account with its joules.
//!
//! Invariant: the sum over all accounts is what the source says of the whole run, however finely it was cut: every
//! closing books exactly what passed since the one before. Closing allocates nothing.

use std::time::Duration;

use super::joules::Joules;

/// A reading of both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since the run began.
    pub wall: Duration,
    /// Processor time of all threads of this process.
    pub cpu: Duration,
}

/// What an interval was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Work on the frame in hand.
    Frame,
    /// Nothing in hand, and at least one frame waits for a base elsewhere.
    Waiting,
    /// Between frames: waiting for the source, writing logs and tables.
    Idle,
}

/// Energy of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spent<O> {
    /// All that was drawn.
    pub joules: Joules<O>,
    /// What idling for as long would not have drawn; `None` where the idle power is not known.
    pub above_idle: Option<Joules<O>>,
}

/// Knows what an interval cost.
pub trait PowerSource {
    /// [`Measured`](super::Measured) or [`Modelled`](super::Modelled).
    type Origin;

    /// The energy from one moment to the next, of whose processor time `f32_share` went into f32 arithmetic. Intervals
    /// are asked for in order and without gaps. `None`: nobody knows.
    fn spend(&mut self, from: Moment, to: Moment, f32_share: f64) -> Option<Spent<Self::Origin>>;
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

/// A frame's work, and what was booked between the frame before it and this one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameBooking<O> {
    /// Its own work.
    pub frame: Booking<O>,
    /// Idling before it.
    pub idle: Booking<O>,
    /// Waiting before it.
    pub waiting: Booking<O>,
}

/// The accounts of a run.
#[derive(Debug, Clone)]
pub struct Ledger<P: PowerSource> {
    source: P,
    last: Moment,
    /// Since the last frame that was given out.
    idle: Booking<P::Origin>,
    waiting: Booking<P::Origin>,
    unknown: Duration,
}

impl<P: PowerSource> Ledger<P>
where
    P::Origin: Copy,
{
    /// Opens it.
    #[must_use]
    pub fn new(source: P, now: Moment) -> Self {
        Self { source, last: now, idle: Booking::NONE, waiting: Booking::NONE, unknown: Duration::ZERO }
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
    pub fn close_between(&mut self, now: Moment, frames_wait: bool) {
        if let Some(booking) = self.close(now, 0.0) {
            let account = if frames_wait { &mut self.waiting } else { &mut self.idle };
            account.add(&booking);
        }
    }

    /// Ends a frame's interval; `None` where nobody knows what it cost.
    pub fn close_frame(&mut self, now: Moment, f32_share: f64) -> Option<FrameBooking<P::Origin>> {
        let frame = self.close(now, f32_share)?;
        let (idle, waiting) = self.take_between();
        Some(FrameBooking { frame, idle, waiting })
    }

    /// What was booked since the last frame: idling, waiting. At the end it is the rest.
    pub fn take_between(&mut self) -> (Booking<P::Origin>, Booking<P::Origin>) {
        (std::mem::replace(&mut self.idle, Booking::NONE), std::mem::replace(&mut self.waiting, Booking::NONE))
    }

    fn close(&mut self, now: Moment, f32_share: f64) -> Option<Booking<P::Origin>> {
        let from = std::mem::replace(&mut self.last, now);
        let wall = now.wall.saturating_sub(from.wall);
        let Some(spent) = self.source.spend(from, now, f32_share) else {
            self.unknown += wall;
            return None;
        };
        let cpu = now.cpu.saturating_sub(from.cpu);
        Some(Booking { wall, cpu, joules: spent.joules, above_idle: spent.above_idle })
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
