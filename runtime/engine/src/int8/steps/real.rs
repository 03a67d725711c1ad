//! Steps on real numbers: where a graph leaves int8, where it comes back, and a last layer that is not quantised.

use std::ops::Range;

use crate::error::InferError;
use crate::int8::memory::{SlotId, TensorId};
use crate::int8::quant::Quant;
use crate::int8::view::{CopyLoop, walk};
use crate::program::{Program, ProgramState};

/// A part of the graph that tract runs in f32.
#[derive(Debug, Clone)]
pub struct Island {
    /// What it reads, in its own order.
    pub inputs: Vec<RealInput>,
    /// What it writes, in its own order.
    pub outputs: Vec<SlotId>,
    /// Which of the plan's programs.
    pub program: usize,
}

/// An input of an [`Island`].
#[derive(Debug, Clone)]
pub enum RealInput {
    /// A quantised tensor, brought into the model's own order.
    Stored {
        /// Read.
        tensor: TensorId,
        /// Where its first number lies.
        start: usize,
        /// How to walk it.
        loops: Vec<CopyLoop>,
        /// What its numbers mean.
        quant: Quant,
    },
    /// Real numbers.
    Slot(SlotId),
}

impl Island {
    /// The quantised tensors that it reads.
    pub fn tensors(&self) -> impl Iterator<Item = TensorId> + '_ {
        self.inputs.iter().filter_map(|input| match input {
            RealInput::Stored { tensor, .. } => Some(*tensor),
            RealInput::Slot(_) => None,
        })
    }

    pub(super) fn run(
        &self,
        arena: &[u8],
        regions: &[Range<usize>],
        slots: &mut [Vec<f32>],
        (program, state): (&Program, &mut ProgramState),
    ) -> Result<(), InferError> {
        let read: &[Vec<f32>] = slots;
        let mut results: Vec<(SlotId, Vec<f32>)> = Vec::with_capacity(self.outputs.len());
        let fill = |index: usize, numbers: &mut [f32]| match self.inputs.get(index) {
            Some(RealInput::Stored { tensor, start, loops, quant }) => {
                let region = regions.get(*tensor).cloned();
                let steps = region.and_then(|region| arena.get(region)).unwrap_or(&[]);
                walk(loops, *start, 0, &mut |from, to| {
                    if let (Some(&step), Some(real)) = (steps.get(from), numbers.get_mut(to)) {
                        *real = quant.dequantise(step);
                    }
                });
            }
            Some(RealInput::Slot(slot)) => {
                let reals = read.get(*slot).map_or(&[][..], Vec::as_slice);
                numbers.iter_mut().zip(reals).for_each(|(to, &real)| *to = real);
            }
            None => {}
        };
        let keep = |index: usize, numbers: &[f32]| {
            results.extend(self.outputs.get(index).map(|&slot| (slot, numbers.to_vec())));
        };
        program.run(state, fill, keep)?;
        for (slot, numbers) in results {
            if let Some(reals) = slots.get_mut(slot)
                && reals.len() == numbers.len()
            {
                *reals = numbers;
            }
        }
        Ok(())
    }
}

/// Real numbers become steps.
#[derive(Debug, Clone)]
pub struct Quantise {
    /// Read.
    pub slot: SlotId,
    /// Written.
    pub output: TensorId,
    /// From the model's own order to the steps'.
    pub loops: Vec<CopyLoop>,
    /// What the steps mean.
    pub quant: Quant,
}

impl Quantise {
    pub(super) fn run(&self, reals: &[f32], output: &mut [u8]) {
        walk(&self.loops, 0, 0, &mut |from, to| {
            if let (Some(&real), Some(step)) = (reals.get(from), output.get_mut(to)) {
                *step = self.quant.quantise(real);
            }
        });
    }
}

/// A fully connected layer whose outputs stay real numbers: `(sum + bias) * scale`, as ONNX Runtime's QGemm without an
/// output scale.
#[derive(Debug, Clone)]
pub struct RealLayer {
    /// Read: one row.
    pub input: TensorId,
    /// Written.
    pub slot: SlotId,
    /// `[output][input]`, less their zero points.
    pub weights: Vec<i16>,
    /// Of each output: what is added to its sum, the input's zero point included, and the scale.
    pub constants: Vec<(i32, f32)>,
    /// The clip that follows.
    pub range: (f32, f32),
}

impl RealLayer {
    pub(super) fn run(&self, input: &[u8], reals: &mut [f32]) {
        let rows = self.weights.chunks_exact(input.len().max(1));
        let (low, high) = self.range;
        for ((real, row), &(bias, scale)) in reals.iter_mut().zip(rows).zip(&self.constants) {
            let products = input.iter().zip(row).map(|(&step, &weight)| i32::from(step) * i32::from(weight));
            let sum = products.fold(0i32, i32::wrapping_add);
            *real = (sum.wrapping_add(bias) as f32 * scale).max(low).min(high);
        }
    }
}
