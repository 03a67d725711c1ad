use std::collections::VecDeque;
use std::sync::Arc;

use super::super::sys::MAX_PLANES;
use super::*;
use crate::source::FakeClock;
use crate::system::Ready;

/// What the fake driver does next.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// A buffer is full: sequence and flags.
    Full(u32, u32),
    /// One that is too short.
    Short(u32),
    /// Dequeuing fails with this error.
    Fail(i32),
    /// The input changed.
    Event,
    /// Nothing for so many milliseconds.
    Silence(u64),
}

const GOOD: u32 = TIMESTAMP_MONOTONIC;
const BAD: u32 = TIMESTAMP_MONOTONIC | V4L2_BUF_FLAG_ERROR;

/// A driver with four buffers that insists on the rules of who owns them. Each inner list is what one call of `wait`
/// finds.
struct FakeDriver {
    rounds: VecDeque<Vec<Act>>,
    ready: VecDeque<Act>,
    ours: [bool; 4],
    refusals: u32,
    clock: Arc<FakeClock>,
}

impl Driver for FakeDriver {
    fn wait(&mut self, timeout: Duration) -> io::Result<Ready> {
        let acts = self.rounds.pop_front().unwrap_or_default();
        if let [Act::Silence(ms)] = acts[..] {
            self.clock.wait(Duration::from_millis(ms));
            return Ok(Ready::default());
        }
        self.clock.wait(timeout / 10);
        let event = acts.iter().any(|act| matches!(act, Act::Event));
        self.ready.extend(acts.into_iter().filter(|act| !matches!(act, Act::Event)));
        Ok(Ready { data: !self.ready.is_empty(), urgent: event })
    }

    fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        let Some(&act) = self.ready.front() else { return Ok(None) };
        if let Act::Fail(error) = act {
            return Err(io::Error::from_raw_os_error(error));
        }
        self.ready.pop_front();
        let (Act::Full(sequence, flags), bytes) = (match act {
            Act::Short(sequence) => (Act::Full(sequence, GOOD), 1),
            other => (other, 8),
        }) else {
            unreachable!("filtered above")
        };
        let index = self.ours.iter().position(|ours| !ours).expect("a driver without buffers fills none");
        self.ours[index] = true;
        let mut planes = [super::super::sys::PlaneUse::default(); MAX_PLANES];
        planes[0].bytes = bytes;
        let timestamp = self.clock.now().saturating_sub(Duration::from_millis(7));
        Ok(Some(Filled { index: index.try_into().unwrap(), sequence, flags, timestamp, planes }))
    }

    fn take_event(&mut self) -> io::Result<bool> {
        Ok(true)
    }

    fn copy(&mut self, filled: &Filled, frame: &mut FrameBuffer) -> Result<(), String> {
        assert!(self.ours[filled.index as usize], "reading a buffer that the driver may be filling");
        frame.bytes = filled.sequence.to_le_bytes().into();
        if filled.planes[0].bytes < 8 { Err("too short".into()) } else { Ok(()) }
    }

    fn queue(&mut self, index: u32) -> io::Result<()> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        assert!(std::mem::replace(&mut self.ours[index as usize], false), "queued twice");
        Ok(())
    }
}

/// What one call brought, and the drops that it told of.
type Seen = (Result<Option<u32>, FaultKind>, Vec<(DropReason, u64)>);

fn play(rounds: &[&[Act]], refusals: u32) -> Vec<Seen> {
    let clock = Arc::new(FakeClock::default());
    clock.wait(Duration::from_secs(1));
    let driver = FakeDriver {
        rounds: rounds.iter().map(|acts| acts.to_vec()).collect(),
        ready: VecDeque::new(),
        ours: [false; 4],
        refusals,
        clock: Arc::clone(&clock),
    };
    let timeout = Duration::from_secs(5);
    let mut source = V4l2Source::new(driver, "/dev/video0".into(), String::new(), timeout, Arc::clone(&clock));
    let mut frame = FrameBuffer::default();
    let mut seen = Vec::new();
    for _ in rounds {
        let mut drops = Drops::default();
        let next = match source.next(&mut frame, &mut drops) {
            Ok(Next::Frame) => {
                let age = clock.now() - frame.captured_at.unwrap();
                assert_eq!(age, Duration::from_millis(7), "the camera's own time");
                Ok(Some(u32::from_le_bytes(frame.bytes[..].try_into().unwrap())))
            }
            Ok(Next::Dropped(reason, _)) => {
                drops.add(reason, 1, "");
                Ok(None)
            }
            Ok(_) => Ok(None),
            Err(fault) => Err(fault.kind),
        };
        assert!(!source.driver.ours.contains(&true) || source.driver.refusals > 0, "a buffer was not given back");
        seen.push((next, drops.take().map(|dropped| (dropped.reason, dropped.frames)).collect()));
    }
    seen
}

#[test]
fn the_newest_is_kept_and_the_others_are_told() {
    use Act::{Full, Short};
    use DropReason::{Corrupt, Damaged, LostByDriver, Superseded};
    let rounds: [&[Act]; 8] = [
        &[Full(5, GOOD)],
        &[Full(6, GOOD), Full(7, GOOD), Full(8, GOOD)],
        &[Full(11, GOOD)],
        &[Full(12, BAD)],
        &[Full(13, GOOD), Full(14, BAD)],
        &[Short(15)],
        &[],
        &[Full(16, GOOD)],
    ];
    let expected: Vec<Seen> = vec![
        (Ok(Some(5)), vec![]),
        (Ok(Some(8)), vec![(Superseded, 2)]),
        (Ok(Some(11)), vec![(LostByDriver, 2)]),
        (Ok(None), vec![(Corrupt, 1)]),
        (Ok(Some(13)), vec![(Corrupt, 1)]),
        (Ok(None), vec![(Damaged, 1)]),
        (Ok(None), vec![]),
        (Ok(Some(16)), vec![]),
    ];
    assert_eq!(play(&rounds, 0), expected);
}

#[test]
fn a_count_that_wraps_stands_still_or_begins_anew_is_no_gap() {
    use Act::Full;
    let sequences = [u32::MAX - 1, u32::MAX, 0, 2, 2, 2, 0, 1];
    let rounds: Vec<Vec<Act>> = sequences.iter().map(|&sequence| vec![Full(sequence, GOOD)]).collect();
    let rounds: Vec<&[Act]> = rounds.iter().map(Vec::as_slice).collect();
    let gaps: Vec<u64> =
        play(&rounds, 0).iter().map(|(_, drops)| drops.iter().map(|(_, frames)| frames).sum()).collect();
    assert_eq!(gaps, [0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn faults_have_their_kinds_and_a_frame_before_one_is_not_lost() {
    use Act::{Event, Fail, Full, Silence};
    let one = |acts: &[Act]| play(&[acts], 0)[0].0;
    assert_eq!(one(&[Fail(libc::EIO)]), Err(FaultKind::Io));
    assert_eq!(one(&[Fail(libc::ENODEV)]), Err(FaultKind::Gone));
    assert_eq!(one(&[Event, Full(0, GOOD)]), Err(FaultKind::Changed));
    assert_eq!((one(&[Silence(4900)]), one(&[Silence(5100)])), (Ok(None), Err(FaultKind::Timeout)));
    let seen = play(&[&[Full(1, GOOD), Fail(libc::EIO)], &[]], 0);
    assert_eq!((seen[0].0, seen[1].0), (Ok(Some(1)), Err(FaultKind::Io)));
}

#[test]
fn a_refused_buffer_is_tried_once_more() {
    assert_eq!(play(&[&[Act::Full(1, GOOD)]], 1), [(Ok(Some(1)), vec![])]);
    let seen = play(&[&[Act::Full(1, BAD)]], 5);
    assert_eq!(seen[0].0, Err(FaultKind::Io));
}

#[test]
fn a_time_stamp_from_the_future_or_another_clock_is_the_time_of_arrival() {
    let clock = Arc::new(FakeClock::default());
    clock.wait(Duration::from_secs(50));
    let driver = FakeDriver {
        rounds: VecDeque::new(),
        ready: VecDeque::new(),
        ours: [false; 4],
        refusals: 0,
        clock: Arc::clone(&clock),
    };
    let source = V4l2Source::new(driver, "/dev/video0".into(), String::new(), Duration::ZERO, clock);
    let at = |flags: u32, ms: u64| {
        let planes = Default::default();
        let filled = Filled { index: 0, sequence: 0, flags, timestamp: Duration::from_millis(ms), planes };
        source.captured_at(&filled).as_millis()
    };
    assert_eq!((at(GOOD, 49_900), at(GOOD, 50_170), at(0, 49_900), at(GOOD, 0)), (49_900, 50_000, 50_000, 50_000));
}
