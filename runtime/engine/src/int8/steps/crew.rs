//! One step on several threads: each takes some of the output's rows, or of its pixels.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use super::border::bands;
use crate::int8::memory::Buffers;
use crate::threads::{Threads, lock};

/// Least products of 8 bits, or what takes as long, that are worth another thread, which takes microseconds to call and to
/// wait for. Estimated, not searched for; `make bench-threads` shows what comes of it.
const WORTH: usize = 250_000;

/// Parts of a thread's share: who is done first takes some of the others'.
const PARTS: usize = 2;

/// Who runs a step, and what each has to work with.
pub struct Crew<'a> {
    threads: &'a Threads,
    buffers: &'a [Mutex<Buffers>],
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
    /// A thread's share is not cut into parts of fewer.
    pub fewest: usize,
    /// Products of the whole step, or what takes as long.
    pub cost: usize,
}

impl Cut {
    /// Units of a part, so that the slowest of so many threads has least to do, and of two such the smaller one.
    fn part(&self, threads: usize) -> usize {
        let part = |parts: usize| self.units.div_ceil(parts * threads).max(1);
        let slowest = |parts: &usize| self.units.div_ceil(part(*parts)).div_ceil(threads) * part(*parts);
        let fits = |parts: &usize| *parts == 1 || part(*parts) >= self.fewest;
        part((1..=PARTS).rev().filter(fits).min_by_key(slowest).unwrap_or(1))
    }
}

impl<'a> Crew<'a> {
    /// As many threads as there are buffers, at most.
    pub fn new(threads: &'a Threads, buffers: &'a [Mutex<Buffers>]) -> Self {
        Self { threads, buffers, worth: WORTH }
    }

    /// The same of steps that are too small, to test them.
    #[cfg(test)]
    pub fn whatever_it_costs(self) -> Self {
        Self { worth: 1, ..self }
    }

    /// What the thread that the inference was called on has to work with.
    pub fn own(&self) -> Option<MutexGuard<'a, Buffers>> {
        self.buffers.first().map(lock)
    }

    /// Does all units, some at a time: `work` gets which, and where their outputs go.
    pub fn run(self, cut: Cut, output: &mut [u8], work: impl Fn(&mut Buffers, Range<usize>, &mut [u8]) + Sync) {
        let Self { threads, buffers, worth } = self;
        let count = threads.free().min(buffers.len()).min(cut.cost / worth);
        let part = cut.part(count.max(1));
        if count <= 1 || part >= cut.units {
            let Some(mut buffers) = self.own() else { return };
            return work(&mut buffers, 0..cut.units, output);
        }
        let outputs = output.chunks_mut((part * cut.unit_bytes).max(1));
        threads.share(count, bands(cut.units, part).zip(outputs), |place, parts| {
            let Some(mut buffers) = buffers.get(place).map(lock) else { return };
            parts.for_each(|(units, output)| work(&mut buffers, units, output));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_leave_no_thread_with_more_than_it_must() {
        let part = |units, fewest, threads| Cut { units, unit_bytes: 1, fewest, cost: 0 }.part(threads);
        // Five rows: three and two. Ten: five each, where quarters would be 3, 3, 3 and 1. Twenty: quarters.
        assert_eq!([part(5, 1, 2), part(10, 1, 2), part(20, 1, 2), part(20, 6, 2)], [3, 5, 5, 10]);
        assert_eq!([part(25, 48, 2), part(100, 48, 2), part(1, 1, 2), part(0, 1, 2)], [13, 50, 1, 1]);
        assert_eq!([part(12, 1, 3), part(7, 1, 1)], [2, 7]);
    }
}
