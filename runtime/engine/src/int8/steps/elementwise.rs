//! Steps that look at one place at a time.

use crate::int8::kernels::{Add, Kernels};
use crate::int8::memory::TensorId;
use crate::int8::quant::Bounds;

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

/// `round((a - zero_a) * (b - zero_b) * scale + zero)`, as ONNX Runtime's QLinearMul.
#[derive(Debug, Clone)]
pub struct MultiplyStep {
    /// Read.
    pub a: TensorId,
    /// Read; as large as `a` or one number a channel.
    pub b: TensorId,
    /// Written.
    pub output: TensorId,
    /// Stored zero points of `a` and `b`.
    pub zero_points: [i32; 2],
    /// `scale of a * scale of b / scale of the output`.
    pub scale: f32,
    /// The output's zero point in the model's own type.
    pub fixed: f32,
    /// Range in the model's own type; `zero_point` is what is added to store it.
    pub bounds: Bounds,
}

impl MultiplyStep {
    pub(super) fn run(&self, a: &[u8], b: &[u8], output: &mut [u8]) {
        let [zero_a, zero_b] = self.zero_points;
        for (output, (&a, &b)) in output.iter_mut().zip(a.iter().zip(b.iter().cycle())) {
            let product = (i32::from(a) - zero_a) * (i32::from(b) - zero_b);
            *output = self.bounds.requantise(product as f32 * self.scale + self.fixed);
        }
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
