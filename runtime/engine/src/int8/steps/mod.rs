//! The fused steps of a plan: what each reads, what it writes, how it runs.

mod border;
mod convolution;
mod crew;
mod dot_convolution;
mod elementwise;
mod pool;
mod real;
mod rearrange;
#[cfg(test)]
mod tests;
mod winograd;

use std::ops::Range;

pub use convolution::{Convolution, DepthwiseStep};
pub use dot_convolution::DotConvolution;
pub use elementwise::{AddStep, MultiplyStep, TableStep};
pub use pool::{AveragePool, GlobalAverage, MaxPool};
pub use real::{Island, Quantise, RealInput, RealLayer};
pub use rearrange::{Copy, FillStep, Resize};
pub use winograd::WinogradConvolution;

use super::kernels::Kernels;
use super::memory::{Memory, Scratch, TensorId};
use crate::error::InferError;
use crate::program::Program;
use crate::threads::Threads;
use crew::Crew;

/// One fused step.
#[derive(Debug, Clone)]
pub enum Step {
    /// Dense, pointwise or grouped convolution, or a fully connected layer.
    Convolution(Convolution),
    /// The same as products of bytes.
    DotConvolution(DotConvolution),
    /// Dense convolution with fewer products.
    Winograd(WinogradConvolution),
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
    /// Numbers brought into another order: one part of a concatenation, a channel shuffle.
    Copy(Copy),
    /// Numbers of the file.
    Fill(FillStep),
    /// Nearest-neighbour scaling.
    Resize(Resize),
    /// A part of the graph in real numbers.
    Island(Island),
    /// From real numbers back to steps.
    Quantise(Quantise),
    /// A fully connected layer whose outputs stay real numbers.
    RealLayer(RealLayer),
}

impl Step {
    /// The tensors that it reads.
    pub fn inputs(&self) -> Vec<TensorId> {
        match self {
            Self::Add(step) => vec![step.a, step.b],
            Self::Multiply(step) => vec![step.a, step.b],
            Self::Island(step) => step.tensors().collect(),
            _ => self.only_input().into_iter().collect(),
        }
    }

    /// The tensor that it reads, where it is one.
    fn only_input(&self) -> Option<TensorId> {
        match self {
            Self::Add(_) | Self::Multiply(_) | Self::Island(_) | Self::Quantise(_) | Self::Fill(_) => None,
            Self::Convolution(Convolution { input, .. })
            | Self::DotConvolution(DotConvolution { input, .. })
            | Self::Winograd(WinogradConvolution { input, .. })
            | Self::Depthwise(DepthwiseStep { input, .. })
            | Self::Table(TableStep { input, .. })
            | Self::MaxPool(MaxPool { input, .. })
            | Self::AveragePool(AveragePool { input, .. })
            | Self::GlobalAverage(GlobalAverage { input, .. })
            | Self::Copy(Copy { input, .. })
            | Self::Resize(Resize { input, .. })
            | Self::RealLayer(RealLayer { input, .. }) => Some(*input),
        }
    }

    /// The tensor that it writes; an island and a real layer write real numbers.
    pub fn output(&self) -> Option<TensorId> {
        match self {
            Self::Island(_) | Self::RealLayer(_) => None,
            Self::Convolution(Convolution { output, .. })
            | Self::DotConvolution(DotConvolution { output, .. })
            | Self::Winograd(WinogradConvolution { output, .. })
            | Self::Depthwise(DepthwiseStep { output, .. })
            | Self::Add(AddStep { output, .. })
            | Self::Multiply(MultiplyStep { output, .. })
            | Self::Table(TableStep { output, .. })
            | Self::MaxPool(MaxPool { output, .. })
            | Self::AveragePool(AveragePool { output, .. })
            | Self::GlobalAverage(GlobalAverage { output, .. })
            | Self::Copy(Copy { output, .. })
            | Self::Resize(Resize { output, .. })
            | Self::Fill(FillStep { output, .. })
            | Self::Quantise(Quantise { output, .. }) => Some(*output),
        }
    }

    /// The scratch that it wants.
    pub fn scratch(&self) -> Scratch {
        match self {
            Self::Convolution(step) => Scratch { rows: step.scratch(), ..Scratch::default() },
            Self::Winograd(step) => {
                let [rows, sums] = step.scratch();
                Scratch { rows, sums, ..Scratch::default() }
            }
            Self::Depthwise(step) => Scratch { bytes: step.scratch(), ..Scratch::default() },
            Self::DotConvolution(step) => Scratch { bytes: step.scratch(), ..Scratch::default() },
            Self::GlobalAverage(step) => Scratch { sums: step.channels, ..Scratch::default() },
            _ => Scratch::default(),
        }
    }

    /// Runs the step.
    pub fn run(
        &self,
        memory: &mut Memory,
        regions: &[Range<usize>],
        programs: &[Program],
        (kernels, threads): (&Kernels, &Threads),
    ) -> Result<(), InferError> {
        let Memory { arena, buffers, slots, states } = memory;
        let crew = Crew::new(threads, buffers);
        match self {
            Self::Add(AddStep { a, b, output, .. }) | Self::Multiply(MultiplyStep { a, b, output, .. }) => {
                return with_two_inputs(arena, regions, (*a, *b, *output), |a, b, output| match self {
                    Self::Add(step) => step.run(a, b, output, (kernels, crew)),
                    Self::Multiply(step) => step.run(a, b, output, (kernels, crew)),
                    _ => {}
                });
            }
            Self::Island(step) => {
                let program = programs.get(step.program).zip(states.get_mut(step.program));
                let program = program.ok_or_else(inconsistent)?;
                return threads.during(|| step.run(arena, regions, slots, program));
            }
            Self::Quantise(step) => {
                let reals = slots.get(step.slot).ok_or_else(inconsistent)?;
                let output = arena.get_mut(region(regions, step.output)?).ok_or_else(inconsistent)?;
                step.run(reals, output);
                return Ok(());
            }
            Self::Fill(step) => {
                step.run(arena.get_mut(region(regions, step.output)?).ok_or_else(inconsistent)?);
                return Ok(());
            }
            Self::RealLayer(step) => {
                let input = arena.get(region(regions, step.input)?).ok_or_else(inconsistent)?;
                step.run(input, slots.get_mut(step.slot).ok_or_else(inconsistent)?);
                return Ok(());
            }
            _ => {}
        }
        let (Some(input), Some(output)) = (self.only_input(), self.output()) else { return Err(inconsistent()) };
        let [input, output] =
            arena.get_disjoint_mut([region(regions, input)?, region(regions, output)?]).map_err(|_| inconsistent())?;
        let input: &[u8] = input;
        match self {
            Self::Convolution(step) => step.run(input, output, kernels, crew),
            Self::DotConvolution(step) => step.run(input, output, kernels, crew),
            Self::Winograd(step) => step.run(input, output, kernels.winograd.ok_or_else(inconsistent)?, crew),
            Self::Depthwise(step) => step.run(input, output, kernels, crew),
            Self::Table(step) => step.run(input, output, crew),
            Self::MaxPool(step) => step.run(input, output, crew),
            Self::AveragePool(step) => step.run(input, output, crew),
            Self::GlobalAverage(step) => step.run(input, output, kernels, crew),
            Self::Copy(step) => step.run(input, output),
            Self::Resize(step) => step.run(input, output),
            Self::Add(_) | Self::Multiply(_) | Self::Island(_) => {}
            Self::Quantise(_) | Self::Fill(_) | Self::RealLayer(_) => {}
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
