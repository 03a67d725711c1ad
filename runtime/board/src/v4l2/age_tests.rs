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

#[test]
fn a_slow_consumer_always_gets_a_fresh_frame() {
    let clock = Arc::new(FakeClock::default());
    let camera = Camera { clock: Arc::clone(&clock), frames: 0, free: (0..4).collect(), full: VecDeque::new() };
    let mut source = V4l2Source::new(camera, "/dev/video0".into(), String::new(), INTERVAL * 100, Arc::clone(&clock));
    let (slot, mut drops) = (LatestSlot::default(), Drops::default());
    let (mut filled, mut looked_at) = (FrameBuffer::default(), FrameBuffer::default());
    let (mut taken, mut buffers, mut free_at) = (0, BTreeSet::new(), Duration::ZERO);
    let (mut oldest_at_start, mut oldest_at_decision) = (Duration::ZERO, Duration::ZERO);
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
            free_at = clock.now() + INTERVAL * 5;
            oldest_at_start = oldest_at_start.max(age);
            oldest_at_decision = oldest_at_decision.max(age + INTERVAL * 5);
        }
        clock.wait(INTERVAL / 3);
    }
    assert_eq!(taken + drops.frames(), u64::from(FRAMES), "frames in = taken + dropped");
    assert!(taken >= u64::from(FRAMES / 6), "{taken}");
    assert!(oldest_at_start < INTERVAL * 2, "{oldest_at_start:?} when its turn came");
    assert!(oldest_at_decision < INTERVAL * 5 * 2, "{oldest_at_decision:?} after five intervals of work");
    assert!(buffers.len() <= 3, "three buffers go round, and none grows: {buffers:?}");
}
