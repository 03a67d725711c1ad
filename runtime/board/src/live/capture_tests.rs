use std::collections::VecDeque;

use tinysaver_core::DropReason;

use super::*;
use crate::source::FakeClock;

/// What a scripted camera does at one call.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// A frame, after so many milliseconds.
    Frame(u64),
    /// A damaged one.
    Damaged,
    /// So many lost before, told with the next one.
    Lost(u64),
    /// Nothing for so long.
    Idle(u64),
    /// It fails.
    Fail(FaultKind),
}

struct Scripted {
    acts: VecDeque<Act>,
    clock: Arc<FakeClock>,
    shared: Arc<Shared>,
    is_last: bool,
}

impl Source for Scripted {
    fn next(&mut self, frame: &mut FrameBuffer, drops: &mut Drops) -> Result<Next, Fault> {
        frame.name = "camera".into();
        match self.acts.pop_front() {
            Some(Act::Frame(ms)) => {
                self.clock.wait(Duration::from_millis(ms));
                Ok(Next::Frame)
            }
            Some(Act::Damaged) => Ok(Next::Dropped(DropReason::Damaged, "cut".into())),
            Some(Act::Lost(frames)) => {
                drops.add(DropReason::LostByDriver, frames, "gap");
                Ok(Next::Idle)
            }
            Some(Act::Idle(ms)) => {
                self.clock.wait(Duration::from_millis(ms));
                Ok(Next::Idle)
            }
            Some(Act::Fail(kind)) => Err(Fault::new(kind, "as scripted")),
            None if self.is_last => {
                self.shared.stop.store(true, Ordering::Relaxed);
                Ok(Next::Idle)
            }
            None => Err(Fault::new(FaultKind::Ended, "the script ended")),
        }
    }

    fn description(&self) -> String {
        "scripted".into()
    }
}

/// Plays one script after each opening; `None` is an opening that fails. Returns the state at the end, all drops and
/// when each opening was tried.
fn play(scripts: &[Option<&[Act]>]) -> (CaptureStatus, Drops, Vec<Duration>) {
    let (clock, shared) = (Arc::new(FakeClock::default()), Arc::new(Shared::default()));
    let mut tried_at = Vec::new();
    let mut left: VecDeque<Option<Vec<Act>>> = scripts.iter().map(|script| script.map(<[Act]>::to_vec)).collect();
    let mut open = || -> Result<Box<dyn Source>, Fault> {
        tried_at.push(clock.now());
        match left.pop_front().flatten() {
            Some(acts) => Ok(Box::new(Scripted {
                acts: acts.into(),
                clock: Arc::clone(&clock),
                shared: Arc::clone(&shared),
                is_last: left.is_empty(),
            })),
            None => Err(Fault::new(FaultKind::Gone, "unplugged")),
        }
    };
    let first = open().unwrap();
    capture(&mut open, first, &shared, &*clock);
    let (mut frame, mut drops) = (FrameBuffer::default(), Drops::default());
    shared.slot.take(&mut frame, &mut drops, Duration::ZERO);
    (shared.status().clone(), drops, tried_at)
}

#[test]
fn every_fault_leads_to_another_try_and_is_counted() {
    use FaultKind::{Changed, Gone, Io, Timeout};
    let scripts: [Option<&[Act]>; 6] = [
        Some(&[Act::Frame(1), Act::Fail(Timeout)]),
        Some(&[Act::Frame(1), Act::Fail(Io)]),
        None,
        None,
        Some(&[Act::Frame(1), Act::Fail(Changed)]),
        Some(&[Act::Frame(1), Act::Damaged, Act::Lost(3), Act::Frame(1)]),
    ];
    let (status, drops, _) = play(&scripts);
    assert_eq!((status.frames, status.reopens, status.state), (5, 3, CaptureState::Streaming));
    let faults: Vec<_> = status.faults.into_iter().collect();
    assert_eq!(faults, [(Timeout, 1), (Io, 1), (Gone, 2), (Changed, 1)]);
    // Of the five frames, one is still in the slot.
    let drops: Vec<_> = {
        let mut drops = drops;
        drops.take().map(|dropped| (dropped.reason, dropped.frames)).collect()
    };
    assert_eq!(drops, [(DropReason::Damaged, 1), (DropReason::Superseded, 4), (DropReason::LostByDriver, 3)]);
}

#[test]
fn tries_come_ever_later_up_to_a_limit_and_a_frame_resets_that() {
    let mut scripts: Vec<Option<&[Act]>> = vec![None; 9];
    scripts[0] = Some(&[Act::Fail(FaultKind::Gone)]);
    scripts[8] = Some(&[Act::Frame(0), Act::Fail(FaultKind::Gone)]);
    scripts.push(Some(&[]));
    let (_, _, tried_at) = play(&scripts);
    let waits: Vec<u128> = tried_at.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000, 5000, 200]);
}

#[test]
fn a_source_that_opens_and_fails_at_once_is_not_asked_ever_faster() {
    let fails: Option<&[Act]> = Some(&[Act::Fail(FaultKind::Io)]);
    let (status, _, tried_at) = play(&[fails, fails, fails, fails, Some(&[])]);
    assert_eq!((status.reopens, tried_at.last().unwrap().as_millis()), (4, 200 + 400 + 800 + 1600));
}

#[test]
fn two_hours_without_a_frame_cost_nothing_and_end_with_the_next_one() {
    // A source that gives up after five seconds of silence, for two hours, and then works.
    let silent: &[Act] = &[Act::Idle(5000), Act::Fail(FaultKind::Timeout)];
    let mut scripts = vec![Some(silent); 725];
    scripts.push(Some(&[Act::Frame(30)]));
    let (status, drops, tried_at) = play(&scripts);
    assert!(tried_at.last().unwrap().as_secs() >= 7200);
    assert_eq!((status.reopens, status.frames, status.state), (725, 1, CaptureState::Streaming));
    assert_eq!((status.faults.len(), status.faults[&FaultKind::Timeout], drops.frames()), (1, 725, 0));
}

#[test]
fn a_real_thread_starts_stops_and_reports() {
    let clock = Arc::new(FakeClock::default());
    let open = move || -> Result<Box<dyn Source>, Fault> {
        let acts = VecDeque::from([Act::Frame(0)]);
        Ok(Box::new(Scripted { acts, clock: Arc::clone(&clock), shared: Arc::default(), is_last: true }))
    };
    let mut capture = Capture::start(open).unwrap();
    let (mut frame, mut drops) = (FrameBuffer::default(), Drops::default());
    assert_eq!(capture.take(&mut frame, &mut drops, Duration::from_secs(60)), Taken::Frame);
    assert_eq!((capture.status().frames, capture.status().description.as_str()), (1, "scripted"));
    capture.stop();
    assert_eq!(capture.take(&mut frame, &mut drops, Duration::from_secs(60)), Taken::Closed);
    let refused = Capture::start(|| Err(Fault::new(FaultKind::Gone, "not there")));
    assert_eq!(refused.map(|_| ()).unwrap_err().detail, "not there");
}
