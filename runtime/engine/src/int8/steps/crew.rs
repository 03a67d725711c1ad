//! One step on several threads: each takes some of the output's rows, or of its pixels.

use std::ops::Range;

use super::border::bands;
use crate::int8::memory::Buffers;
use crate::threads::Threads;

/// Least products of 8 bits, or what takes as long, that are worth another thread: to call one and to wait for it takes a
/// few microseconds (`make bench-threads`).
const WORTH: usize = 250_000;

/// Parts of a thread's share: who is done first takes some of the others'.
const PARTS: usize = 2;

/// Who runs a step, and what each has to work with.
pub struct Crew<'a> {
    threads: &'a Threads,
    buffers: &'a mut [Buffers],
    /// Least cost that is worth another thread.
    worth: usize,
}

/// How a step may be cut.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Pieces of work, whose outputs follow each other.
    pub units: usize,
    /// Bytes that a unit writes.
    pub unit_bytes: usize,
    /// Parts hold a multiple of so many.
    pub multiple: usize,
    /// Products of the whole step, or what takes as long.
    pub cost: usize,
}

impl<'a> Crew<'a> {
    /// As many threads as there are buffers, at most.
    pub fn new(threads: &'a Threads, buffers: &'a mut [Buffers]) -> Self {
        Self { threads, buffers, worth: WORTH }
    }

    /// The same of steps that are too small, to test them.
    #[cfg(test)]
    pub fn whatever_it_costs(self) -> Self {
        Self { worth: 1, ..self }
    }

    /// What the thread that the inference was called on has to work with.
    pub fn own(self) -> Option<&'a mut Buffers> {
        self.buffers.first_mut()
    }

    /// Does all units, some at a time: `work` gets which, and where their outputs go.
    pub fn run(self, cut: Cut, output: &mut [u8], work: impl Fn(&mut Buffers, Range<usize>, &mut [u8]) + Sync) {
        let Self { threads, buffers, worth } = self;
        let count = threads.free().min(buffers.len()).min(cut.cost / worth);
        let share = cut.units.div_ceil(count.max(1) * PARTS).next_multiple_of(cut.multiple.max(1));
        let (Some(buffers), true) = (buffers.get_mut(..count), count > 1 && share < cut.units) else {
            let Some(buffers) = buffers.first_mut() else { return };
            return work(buffers, 0..cut.units, output);
        };
        let outputs = output.chunks_mut((share * cut.unit_bytes).max(1));
        threads.share(buffers, bands(cut.units, share).zip(outputs), |buffers, (units, output)| {
            work(buffers, units, output);
        });
    }
}
