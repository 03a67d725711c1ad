//! Steps that look at one place at a time.

use std::ops::Range;

use super::crew::{Crew, Cut};
use crate::int8::kernels::{Add, Kernels, Multiply};
use crate::int8::memory::TensorId;

/// A number takes as long as so many products of a convolution.
const COST: usize = 16;

/// The same of a number that is looked up.
const LOOK_UP_COST: usize = 32;

/// Numbers of a cache line.
const LINE: usize = 64;

/// A sum of two tensors of the same size.
#[derive(Debug, Clone)]
pub struct AddStep {
    /// Read.
    pub a: TensorId,
    /// Read.
    pub b: TensorId,
    /// Written.
    pub output: TensorId,
    /// Numbers of the kernel.
    pub add: Add,
}

impl AddStep {
    pub(super) fn run(&self, a: &[u8], b: &[u8], output: &mut [u8], (kernels, crew): (&Kernels, Crew<'_>)) {
        crew.run(cut(output, 1, COST), output, |_, bytes, output| {
            (kernels.add)(&self.add, part(a, &bytes), part(b, &bytes), output);
        });
    }
}

/// A product of two tensors.
#[derive(Debug, Clone)]
pub struct MultiplyStep {
    /// Read.
    pub a: TensorId,
    /// Read; as large as `a` or one number a channel.
    pub b: TensorId,
    /// Written.
    pub output: TensorId,
    /// Numbers of the kernel.
    pub multiply: Multiply,
}

impl MultiplyStep {
    pub(super) fn run(&self, a: &[u8], b: &[u8], output: &mut [u8], (kernels, crew): (&Kernels, Crew<'_>)) {
        let repeats = b.len() < output.len();
        let cut = cut(output, if repeats { b.len() } else { 1 }, COST);
        crew.run(cut, output, |_, units, output| {
            let bytes = units.start * cut.unit_bytes..units.end * cut.unit_bytes;
            let b = if repeats { b } else { part(b, &bytes) };
            (kernels.multiply)(&self.multiply, part(a, &bytes), b, output);
        });
    }
}

/// Any function of one number: requantisation, sigmoid, hard-swish, a lone clip.
#[derive(Debug, Clone)]
pub struct TableStep {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Output step of each input step.
    pub table: Box<[u8; 256]>,
}

impl TableStep {
    pub(super) fn run(&self, input: &[u8], output: &mut [u8], crew: Crew<'_>) {
        crew.run(cut(output, 1, LOOK_UP_COST), output, |_, bytes, output| {
            look_up(&self.table, part(input, &bytes), output);
        });
    }
}

fn cut(output: &[u8], unit_bytes: usize, cost: usize) -> Cut {
    let unit_bytes = unit_bytes.max(1);
    let cost = output.len().saturating_mul(cost);
    Cut { units: output.len().div_ceil(unit_bytes), unit_bytes, fewest: LINE.div_ceil(unit_bytes), cost }
}

/// What there is of some bytes.
fn part<'a>(bytes: &'a [u8], range: &Range<usize>) -> &'a [u8] {
    bytes.get(range.start..range.end.min(bytes.len())).unwrap_or_default()
}

/// Maps bytes by a table; the shorter of the two lengths counts.
pub(super) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    for (output, &step) in output.iter_mut().zip(input) {
        if let Some(&entry) = table.get(usize::from(step)) {
            *output = entry;
        }
    }
}
