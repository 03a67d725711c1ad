//! Where the tensors of a plan lie: one block of bytes, laid out once by how long each tensor is needed.

use std::ops::Range;
use std::sync::Mutex;

use super::aligned::Aligned;
use crate::program::ProgramState;

/// The number of a tensor of real numbers in its plan.
pub type SlotId = usize;

/// The number of a tensor in its plan.
pub type TensorId = usize;

/// Tensors begin at whole cache lines.
const ALIGNMENT: usize = 64;

/// How long a tensor is needed, counted in steps, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The step that writes it first.
    pub first: usize,
    /// The step that reads it last.
    pub last: usize,
}

impl Lifetime {
    fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Places tensors of the given lengths so that none overlaps another that is needed at the same time. The largest are
/// placed first, each as low as it fits. Gives their regions and the length of the whole.
pub fn lay_out(tensors: &[(usize, Lifetime)]) -> (Vec<Range<usize>>, usize) {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&id| std::cmp::Reverse(tensors.get(id).map_or(0, |(length, _)| *length)));
    let mut regions = vec![0..0; tensors.len()];
    let mut placed: Vec<(Range<usize>, Lifetime)> = Vec::new();
    let mut total = 0;
    for id in order {
        let Some(&(length, lifetime)) = tensors.get(id) else { continue };
        let mut start = 0;
        // `placed` is sorted by where its regions begin: the first gap that is long enough is taken.
        for (taken, _) in placed.iter().filter(|(_, other)| other.meets(lifetime)) {
            if start + length <= taken.start {
                break;
            }
            start = start.max(taken.end.next_multiple_of(ALIGNMENT));
        }
        let region = start..start + length;
        total = total.max(region.end);
        let at = placed.partition_point(|(taken, _)| taken.start < start);
        placed.insert(at, (region.clone(), lifetime));
        if let Some(slot) = regions.get_mut(id) {
            *slot = region;
        }
    }
    (regions, total)
}

/// How much of each scratch buffer a step wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scratch {
    /// Rows of a matrix product in pairs.
    pub rows: usize,
    /// Parts of images with a border, or rows of a matrix product of bytes.
    pub bytes: usize,
    /// Sums over pixels.
    pub sums: usize,
}

impl Scratch {
    /// Enough for either of two steps.
    pub fn most(self, other: Self) -> Self {
        Self { rows: self.rows.max(other.rows), bytes: self.bytes.max(other.bytes), sums: self.sums.max(other.sums) }
    }
}

/// What one thread works with while it runs a step.
#[derive(Debug)]
pub struct Buffers {
    /// Rows of a matrix product in pairs.
    pub rows: Vec<i16>,
    /// Parts of images with a border, or rows of a matrix product of bytes.
    pub bytes: Aligned<u8>,
    /// Sums over pixels, one a channel.
    pub sums: Vec<i32>,
}

impl Buffers {
    /// As much as is wanted.
    pub fn new(scratch: Scratch) -> Self {
        Self { rows: vec![0; scratch.rows], bytes: Aligned::zeros(scratch.bytes), sums: vec![0; scratch.sums] }
    }
}

/// The buffers that inferences write; allocated once.
#[derive(Debug)]
pub struct Memory {
    /// All tensors.
    pub arena: Aligned<u8>,
    /// Of each thread.
    pub buffers: Vec<Mutex<Buffers>>,
    /// Real numbers that go into or come out of tract.
    pub slots: Vec<Vec<f32>>,
    /// Of the parts that tract runs.
    pub states: Vec<ProgramState>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tensors_needed_together_do_not_overlap(
            tensors in proptest::collection::vec((1usize..5000, 0usize..20, 0usize..6), 1..40)
        ) {
            let tensors: Vec<(usize, Lifetime)> = tensors
                .into_iter()
                .map(|(length, first, steps)| (length, Lifetime { first, last: first + steps }))
                .collect();
            let (regions, total) = lay_out(&tensors);
            for (a, (length, lifetime)) in tensors.iter().enumerate() {
                prop_assert_eq!(regions[a].len(), *length);
                prop_assert!(regions[a].end <= total && regions[a].start.is_multiple_of(ALIGNMENT));
                for b in 0..a {
                    let apart = regions[a].end <= regions[b].start || regions[b].end <= regions[a].start;
                    prop_assert!(apart || !lifetime.meets(tensors[b].1), "{a} and {b}");
                }
            }
        }
    }
}
