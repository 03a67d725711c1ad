//! Steps that look at one place at a time.

use crate::int8::kernels::{Add, Kernels, Multiply};
use crate::int8::memory::TensorId;

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
    pub(super) fn run(&self, a: &[u8], b: &[u8], output: &mut [u8], kernels: &Kernels) {
        (kernels.add)(&self.add, a, b, output);
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
    pub(super) fn run(&self, a: &[u8], b: &[u8], output: &mut [u8], kernels: &Kernels) {
        (kernels.multiply)(&self.multiply, a, b, output);
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
    pub(super) fn run(&self, input: &[u8], output: &mut [u8]) {
        look_up(&self.table, input, output);
    }
}

/// Maps bytes by a table; the shorter of the two lengths counts.
pub(super) fn look_up(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    for (output, &step) in output.iter_mut().zip(input) {
        if let Some(&entry) = table.get(usize::from(step)) {
            *output = entry;
        }
    }
}
