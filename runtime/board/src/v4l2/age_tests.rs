//! A camera five times as fast as its consumer: does the consumer always get a fresh frame, for as long as you like?

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::sync::Arc;

use super::super::sys::{MAX_PLANES, PlaneUse};
use super::*;
use crate::live::{LatestSlot, Taken};
use crate::source::FakeClock;
use crate::system::Ready;

const INTERVAL: Duration = Duration::from_millis(33);
const FRAMES: u32 = 10_000;

/// Fills its four buffers by the clock; without a free one, the frame is lost, as in a real driver.
struct Camera {
    clock: Arc<FakeClock>,
    frames: u32,
    free: VecDeque<u32>,
    full: VecDeque<Filled>,
}

impl Camera {
    fn go_on(&mut self) {
        while self.frames < FRAMES && INTERVAL * self.frames <= self.clock.now() {
            if let Some(index) = self.free.pop_front() {
                let mut planes = [PlaneUse::default(); MAX_PLANES];
                planes[0].bytes = 1000;
                let timestamp = (INTERVAL * self.frames).max(Duration::from_nanos(1));
                self.full.push_back(Filled {
                    index,
                    sequence: self.frames,
                    flags: TIMESTAMP_MONOTONIC,
                    timestamp,
                    planes,
                });
            }
            self.frames += 1;
        }
    }
}

impl Driver for Camera {
    fn wait(&mut self, _timeout: Duration) -> io::Result<Ready> {
        self.go_on();
        Ok(Ready { data: !self.full.is_empty(), urgent: false })
    }

    fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        Ok(self.full.pop_front())
    }

    fn take_event(&mut self) -> io::Result<bool> {
        Ok(false)
    }

    fn copy(&mut self, filled: &Filled, frame: &mut FrameBuffer) -> Result<(), String> {
        frame.bytes.clear();
        frame.bytes.resize(filled.planes[0].bytes, 0);
        Ok(())
    }

    fn queue(&mut self, index: u32) -> io::Result<()> {
        self.free.push_back(index);
        Ok(())
    }
}

/// What a consumer does with a frame, five intervals long: `before` it decides (decoding, models) and `after` (records,
/// sinks). A frame's age at the decision cannot be less than the work that goes before it.
fn check(before: Duration, after: Duration) {
    let clock = Arc::new(FakeClock::default());
    let camera = Camera { clock: Arc::clone(&clock), frames: 0, free: (0..4).collect(), full: VecDeque::new() };
    let mut source = V4l2Source::new(camera, "/dev/video0".into(), String::new(), INTERVAL * 100, Arc::clone(&clock));
    let (slot, mut drops) = (LatestSlot::default(), Drops::default());
    let (mut filled, mut looked_at) = (FrameBuffer::default(), FrameBuffer::default());
    let (mut taken, mut buffers, mut free_at) = (0, BTreeSet::new(), Duration::ZERO);
    let mut oldest_at_decision = Duration::ZERO;
    // Both threads take their turns every third of an interval, the capturing one not always: it is held up for up to
    // two of them.
    for turn in 0..3 * (FRAMES + 20) {
        if turn % 7 != 0 && turn % 5 != 0 {
            let mut passed = Drops::default();
            if source.next(&mut filled, &mut passed) == Ok(Next::Frame) {
                buffers.insert((filled.bytes.as_ptr().addr(), filled.bytes.capacity()));
                slot.put(&mut filled, &mut passed);
            } else {
                slot.report(&mut passed);
            }
        }
        if clock.now() >= free_at && slot.take(&mut looked_at, &mut drops, Duration::ZERO) == Taken::Frame {
            taken += 1;
            let age = clock.now() - looked_at.captured_at.unwrap();
            free_at = clock.now() + before + after;
            oldest_at_decision = oldest_at_decision.max(age + before);
        }
        clock.wait(INTERVAL / 3);
    }
    assert_eq!(taken + drops.frames(), u64::from(FRAMES), "frames in = taken + dropped");
    assert!(taken >= u64::from(FRAMES / 6), "{taken}");
    let most = INTERVAL * 2 + before.saturating_sub(INTERVAL / 3);
    assert!(oldest_at_decision < most, "{oldest_at_decision:?} at the decision, with {before:?} of work before it");
    assert!(buffers.len() <= 3, "three buffers go round, and none grows: {buffers:?}");
}

#[test]
fn a_decision_of_a_third_of_an_interval_is_made_on_a_frame_of_less_than_two() {
    check(INTERVAL / 3, INTERVAL * 5 - INTERVAL / 3);
}

#[test]
fn a_long_way_to_the_decision_adds_its_own_length_and_nothing_else() {
    check(INTERVAL * 5, Duration::ZERO);
}
