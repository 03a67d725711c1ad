//! The fused steps of a plan: what each reads, what it writes, how it runs.

mod border;
mod convolution;
mod dot_convolution;
mod elementwise;
mod pool;
mod rearrange;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use convolution::{Convolution, DepthwiseStep};
pub use dot_convolution::DotConvolution;
pub use elementwise::{AddStep, MultiplyStep, TableStep};
pub use pool::{AveragePool, GlobalAverage, MaxPool};
pub use rearrange::{Flatten, Piece, Resize};

use super::kernels::Kernels;
use super::memory::{Memory, Scratch, TensorId};
use crate::error::InferError;

/// One fused step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Dense, pointwise or grouped convolution, or a fully connected layer.
    Convolution(Convolution),
    /// The same as products of bytes.
    DotConvolution(DotConvolution),
    /// Depthwise convolution.
    Depthwise(DepthwiseStep),
    /// Sum of two tensors.
    Add(AddStep),
    /// Product of two tensors, the second perhaps one number a channel.
    Multiply(MultiplyStep),
    /// Any function of one number.
    Table(TableStep),
    /// Largest of a window.
    MaxPool(MaxPool),
    /// Mean of a window.
    AveragePool(AveragePool),
    /// Mean of each channel.
    GlobalAverage(GlobalAverage),
    /// One input of a concatenation along the channels.
    Piece(Piece),
    /// An image as one row, in the model's own order.
    Flatten(Flatten),
    /// Nearest-neighbour scaling.
    Resize(Resize),
}

impl Step {
    /// The tensors that it reads; one twice where it has only one.
    pub fn inputs(&self) -> [TensorId; 2] {
        match self {
            Self::Add(step) => [step.a, step.b],
            Self::Multiply(step) => [step.a, step.b],
            Self::Convolution(Convolution { input, .. })
            | Self::DotConvolution(DotConvolution { input, .. })
            | Self::Depthwise(DepthwiseStep { input, .. })
            | Self::Table(TableStep { input, .. })
            | Self::MaxPool(MaxPool { input, .. })
            | Self::AveragePool(AveragePool { input, .. })
            | Self::GlobalAverage(GlobalAverage { input, .. })
            | Self::Piece(Piece { input, .. })
            | Self::Flatten(Flatten { input, .. })
            | Self::Resize(Resize { input, .. }) => [*input, *input],
        }
    }

    /// The tensor that it writes.
    pub fn output(&self) -> TensorId {
        match self {
            Self::Convolution(Convolution { output, .. })
            | Self::DotConvolution(DotConvolution { output, .. })
            | Self::Depthwise(DepthwiseStep { output, .. })
            | Self::Add(AddStep { output, .. })
            | Self::Multiply(MultiplyStep { output, .. })
            | Self::Table(TableStep { output, .. })
            | Self::MaxPool(MaxPool { output, .. })
            | Self::AveragePool(AveragePool { output, .. })
            | Self::GlobalAverage(GlobalAverage { output, .. })
            | Self::Piece(Piece { output, .. })
            | Self::Flatten(Flatten { output, .. })
            | Self::Resize(Resize { output, .. }) => *output,
        }
    }

    /// The scratch that it wants.
    pub fn scratch(&self) -> Scratch {
        match self {
            Self::Convolution(step) => Scratch { rows: step.scratch(), ..Scratch::default() },
            Self::Depthwise(step) => Scratch { bytes: step.scratch(), ..Scratch::default() },
            Self::DotConvolution(step) => Scratch { bytes: step.scratch(), ..Scratch::default() },
            Self::GlobalAverage(step) => Scratch { sums: step.channels, ..Scratch::default() },
            _ => Scratch::default(),
        }
    }

    /// Runs the step.
    pub fn run(&self, memory: &mut Memory, regions: &[Range<usize>], kernels: &Kernels) -> Result<(), InferError> {
        let Memory { arena, rows, bytes, sums } = memory;
        if let Self::Add(AddStep { a, b, output, .. }) | Self::Multiply(MultiplyStep { a, b, output, .. }) = self {
            return with_two_inputs(arena, regions, (*a, *b, *output), |a, b, output| match self {
                Self::Add(step) => step.run(a, b, output, kernels),
                Self::Multiply(step) => step.run(a, b, output),
                _ => {}
            });
        }
        let [input, _] = self.inputs();
        let [input, output] = arena
            .get_disjoint_mut([region(regions, input)?, region(regions, self.output())?])
            .map_err(|_| inconsistent())?;
        let input: &[u8] = input;
        match self {
            Self::Convolution(step) => step.run(input, output, rows, kernels),
            Self::DotConvolution(step) => step.run(input, output, bytes, kernels),
            Self::Depthwise(step) => step.run(input, output, bytes, kernels),
            Self::Table(step) => step.run(input, output),
            Self::MaxPool(step) => step.run(input, output),
            Self::AveragePool(step) => step.run(input, output),
            Self::GlobalAverage(step) => step.run(input, output, sums, kernels),
            Self::Piece(step) => step.run(input, output),
            Self::Flatten(step) => step.run(input, output),
            Self::Resize(step) => step.run(input, output),
            Self::Add(_) | Self::Multiply(_) => {}
        }
        Ok(())
    }
}

/// Lends two inputs, which may be the same tensor, and an output.
fn with_two_inputs(
    arena: &mut [u8],
    regions: &[Range<usize>],
    (a, b, output): (TensorId, TensorId, TensorId),
    work: impl FnOnce(&[u8], &[u8], &mut [u8]),
) -> Result<(), InferError> {
    let (left, right, to) = (region(regions, a)?, region(regions, b)?, region(regions, output)?);
    if a == b {
        let [input, output] = arena.get_disjoint_mut([left, to]).map_err(|_| inconsistent())?;
        work(input, input, output);
    } else {
        let [a, b, output] = arena.get_disjoint_mut([left, right, to]).map_err(|_| inconsistent())?;
        work(a, b, output);
    }
    Ok(())
}

fn region(regions: &[Range<usize>], id: TensorId) -> Result<Range<usize>, InferError> {
    regions.get(id).cloned().ok_or_else(inconsistent)
}

fn inconsistent() -> InferError {
    InferError::Backend("the int8 plan contradicts itself; this is a defect of tinysaver".into())
}
