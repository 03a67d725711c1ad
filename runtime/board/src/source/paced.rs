//! Recorded frames at the speed at which they were taken.

use std::path::PathBuf;
use std::time::Duration;

use super::{Clock, Drops, Fault, FrameBuffer, Next, Source};

/// So long a call waits at most.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Holds each frame of another source back until its time has come; none is dropped, however late it is taken.
pub struct Paced<S, C> {
    source: S,
    clock: C,
    interval: Duration,
    frames: u32,
    began_at: Option<Duration>,
    /// A frame waits in the caller's buffer.
    holds: Option<Next>,
}

impl<S: Source, C: Clock> Paced<S, C> {
    /// `frames_per_second` must be above 0.
    pub fn new(source: S, clock: C, frames_per_second: f64) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / frames_per_second).unwrap_or(Duration::ZERO);
        Self { source, clock, interval, frames: 0, began_at: None, holds: None }
    }
}

impl<S: Source, C: Clock> Source for Paced<S, C> {
    /// Between a call that gave [`Next::Idle`] and the next one, `frame` must be left alone: it holds the frame that
    /// waits for its time.
    fn next(&mut self, frame: &mut FrameBuffer, drops: &mut Drops) -> Result<Next, Fault> {
        let next = match self.holds.take() {
            Some(held) => held,
            None => self.source.next(frame, drops)?,
        };
        if !matches!(next, Next::Frame | Next::Dropped(..)) {
            return Ok(next);
        }
        let now = self.clock.now();
        let due = self.began_at.get_or_insert(now).saturating_add(self.interval.saturating_mul(self.frames));
        if due > now {
            self.clock.wait((due - now).min(POLL_INTERVAL));
        }
        if self.clock.now() < due {
            self.holds = Some(next);
            return Ok(Next::Idle);
        }
        self.frames = self.frames.saturating_add(1);
        frame.captured_at = Some(due);
        Ok(next)
    }

    fn count(&self) -> Option<u64> {
        self.source.count()
    }

    fn paths(&self) -> &[PathBuf] {
        self.source.paths()
    }

    fn frames_per_second(&self) -> Option<f64> {
        self.source.frames_per_second()
    }

    fn description(&self) -> String {
        self.source.description()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::PatternSource;
    use super::super::clock::tests::FakeClock;
    use super::*;

    #[test]
    fn frames_come_in_their_time_and_late_ones_at_once() {
        let clock = Arc::new(FakeClock::default());
        let pattern = PatternSource::new("test://?frames=4&size=8x8".parse().unwrap());
        let mut source = Paced::new(pattern, Arc::clone(&clock), 4.0);
        let (mut frame, mut drops) = (FrameBuffer::default(), Drops::default());
        let mut taken = Vec::new();
        loop {
            match source.next(&mut frame, &mut drops).unwrap() {
                Next::Frame => {
                    taken.push((clock.now().as_millis(), frame.captured_at.unwrap().as_millis(), frame.name.clone()));
                    // The second one takes long.
                    clock.wait(Duration::from_millis(if taken.len() == 2 { 400 } else { 10 }));
                }
                Next::Idle => {}
                Next::End => break,
                Next::Dropped(..) => unreachable!("a pattern has no damage"),
            }
        }
        let times: Vec<_> = taken.iter().map(|(at, due, _)| (*at, *due)).collect();
        assert_eq!(times, [(0, 0), (250, 250), (650, 500), (750, 750)]);
        assert!(taken[3].2.ends_with("#3"), "no frame is lost");
    }
}
