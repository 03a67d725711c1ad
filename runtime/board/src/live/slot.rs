//! One frame deep: whoever is late finds the newest frame, never an old one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tinysaver_core::DropReason;

use crate::source::{Drops, FrameBuffer};

/// What a frame that was overtaken is told.
const OVERTAKEN: &str = "a newer frame came before its turn";

/// What was found in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The newest frame.
    Frame,
    /// Nothing came in time.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    frame: FrameBuffer,
    full: bool,
    closed: bool,
    drops: Drops,
}

/// Hands frames from the capturing thread to the inferring one. Three buffers go round: one is being filled, one waits
/// here, one is being looked at; nothing is copied or allocated.
#[derive(Debug, Default)]
pub struct LatestSlot {
    state: Mutex<State>,
    changed: Condvar,
}

impl LatestSlot {
    /// Nothing behind this lock can be left half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a frame in and takes a free buffer out. A frame that still waited is counted as superseded.
    pub fn put(&self, frame: &mut FrameBuffer, drops: &mut Drops) {
        let mut state = self.lock();
        if state.full {
            state.drops.add(DropReason::Superseded, 1, OVERTAKEN);
        }
        state.drops.append(drops);
        std::mem::swap(&mut state.frame, frame);
        state.full = true;
        drop(state);
        self.changed.notify_one();
    }

    /// Reports drops while no frame comes.
    pub fn report(&self, drops: &mut Drops) {
        if drops.frames() > 0 {
            self.lock().drops.append(drops);
            self.changed.notify_one();
        }
    }

    /// Says that no more frames will come; one that waits can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits up to `wait` for a frame and swaps it into `frame`. `drops` gets what was dropped before it. Returns early
    /// when there are only drops to tell.
    pub fn take(&self, frame: &mut FrameBuffer, drops: &mut Drops, wait: Duration) -> Taken {
        let quiet = |state: &mut State| !state.full && !state.closed && state.drops.frames() == 0;
        let (mut state, _) =
            self.changed.wait_timeout_while(self.lock(), wait, quiet).unwrap_or_else(PoisonError::into_inner);
        drops.append(&mut state.drops);
        if state.full {
            state.full = false;
            std::mem::swap(&mut state.frame, frame);
            return Taken::Frame;
        }
        if state.closed { Taken::Closed } else { Taken::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbered(number: u32, frame: &mut FrameBuffer) {
        frame.bytes.clear();
        frame.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn number(frame: &FrameBuffer) -> u32 {
        u32::from_le_bytes(frame.bytes[..].try_into().unwrap())
    }

    #[test]
    fn the_newest_wins_and_the_others_are_counted() {
        let slot = LatestSlot::default();
        let (mut filled, mut looked_at, mut drops) = Default::default();
        assert_eq!(slot.take(&mut looked_at, &mut drops, Duration::ZERO), Taken::Nothing);
        for sequence in 0..3 {
            numbered(sequence, &mut filled);
            slot.put(&mut filled, &mut Drops::default());
        }
        assert_eq!(slot.take(&mut looked_at, &mut drops, Duration::ZERO), Taken::Frame);
        assert_eq!((number(&looked_at), drops.frames()), (2, 2));
        slot.report(&mut {
            let mut drops = Drops::default();
            drops.add(DropReason::Corrupt, 4, "");
            drops
        });
        assert_eq!(slot.take(&mut looked_at, &mut drops, Duration::from_secs(60)), Taken::Nothing, "drops do not wait");
        assert_eq!(drops.frames(), 6);
        numbered(3, &mut filled);
        slot.put(&mut filled, &mut Drops::default());
        slot.close();
        assert_eq!(slot.take(&mut looked_at, &mut drops, Duration::from_secs(60)), Taken::Frame);
        assert_eq!(slot.take(&mut looked_at, &mut drops, Duration::from_secs(60)), Taken::Closed);
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let slot = LatestSlot::default();
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| {
                let (mut frame, mut drops) = Default::default();
                let mut taken = Vec::new();
                while slot.take(&mut frame, &mut drops, Duration::from_secs(60)) == Taken::Frame {
                    taken.push(number(&frame));
                }
                (taken, drops.frames())
            });
            let mut frame = FrameBuffer::default();
            for sequence in 0..10_000 {
                numbered(sequence, &mut frame);
                slot.put(&mut frame, &mut Drops::default());
            }
            slot.close();
            let (taken, dropped) = taker.join().unwrap();
            assert!(taken.is_sorted() && taken.last() == Some(&9_999));
            assert_eq!(taken.len() as u64 + dropped, 10_000, "frames in = taken + dropped");
        });
    }

    proptest! {
        #[test]
        fn every_frame_is_taken_or_counted_and_three_buffers_are_enough(takes in prop::collection::vec(any::<bool>(), 0..200)) {
            let slot = LatestSlot::default();
            let (mut filled, mut looked_at) = (FrameBuffer::default(), FrameBuffer::default());
            let (mut drops, mut put, mut taken) = (Drops::default(), 0u32, 0u32);
            let mut buffers = std::collections::BTreeSet::new();
            for take in takes {
                if take {
                    taken += u32::from(slot.take(&mut looked_at, &mut drops, Duration::ZERO) == Taken::Frame);
                } else {
                    numbered(put, &mut filled);
                    buffers.insert(filled.bytes.as_ptr().addr());
                    slot.put(&mut filled, &mut Drops::default());
                    put += 1;
                }
            }
            taken += u32::from(slot.take(&mut looked_at, &mut drops, Duration::ZERO) == Taken::Frame);
            prop_assert_eq!(u64::from(put), u64::from(taken) + drops.frames());
            prop_assert!(buffers.len() <= 3);
            prop_assert!(put == 0 || number(&looked_at) == put - 1);
        }
    }
}
