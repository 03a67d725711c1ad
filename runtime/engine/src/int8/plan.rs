//! A compiled model: its steps in order, and where their tensors lie.

use std::fmt;
use std::ops::Range;

use super::aligned::Aligned;
use super::graph::elements;
use super::kernels::Kernels;
use super::memory::{Lifetime, Memory, Scratch, TensorId, lay_out};
use super::quant::Quant;
use super::steps::Step;
use crate::error::InferError;

/// Most bytes of all tensors together: what the smallest supported board can spare.
const MOST_ARENA_BYTES: usize = 1 << 28;

/// Size of a tensor: an NHWC image or a row of numbers; the batch is always 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Height; 1 for a row.
    pub rows: usize,
    /// Width; 1 for a row.
    pub columns: usize,
    /// Channels, or the length of a row.
    pub channels: usize,
    /// Whether the model has it as `[1, channels]` instead of `[1, channels, rows, columns]`.
    pub is_row: bool,
}

impl Size {
    /// Numbers in all, unless that is absurd.
    pub fn elements(self) -> Option<usize> {
        elements(&[self.rows, self.columns, self.channels])
    }

    /// Pixels.
    pub fn pixels(self) -> usize {
        self.rows.saturating_mul(self.columns)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, columns, channels, is_row } = self;
        if *is_row {
            write!(formatter, "[1, {channels}]")
        } else {
            write!(formatter, "[1, {channels}, {rows}, {columns}]")
        }
    }
}

/// The tensor that holds the logits.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Which.
    pub tensor: TensorId,
    /// What its numbers mean.
    pub quant: Quant,
    /// How many.
    pub classes: usize,
}

/// A compiled model.
#[derive(Debug)]
pub struct Plan {
    steps: Vec<Step>,
    regions: Vec<Range<usize>>,
    arena_bytes: usize,
    /// Tensor of the quantised picture.
    input: TensorId,
    /// What the picture's steps mean.
    pub input_quant: Quant,
    /// Where the logits are.
    pub output: Output,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
}

impl Plan {
    /// Lays the tensors out; `None` where they take too much memory.
    pub fn new(
        tensors: Vec<Size>,
        steps: Vec<Step>,
        (input, input_quant): (TensorId, Quant),
        output: Output,
        macs: u64,
    ) -> Option<Self> {
        let mut lifetimes: Vec<Option<Lifetime>> = vec![None; tensors.len()];
        let mut extend = |id: TensorId, at: usize| {
            if let Some(slot) = lifetimes.get_mut(id) {
                let first = slot.map_or(at, |lifetime| lifetime.first);
                *slot = Some(Lifetime { first, last: at });
            }
        };
        extend(input, 0);
        for (at, step) in steps.iter().enumerate() {
            step.inputs().into_iter().chain([step.output()]).for_each(|id| extend(id, at));
        }
        extend(output.tensor, steps.len());
        let spans: Option<Vec<(usize, Lifetime)>> = tensors
            .iter()
            .zip(lifetimes)
            .map(|(size, lifetime)| Some((size.elements()?, lifetime.unwrap_or(Lifetime { first: 0, last: 0 }))))
            .collect();
        let (regions, arena_bytes) = lay_out(&spans?);
        let fits = arena_bytes <= MOST_ARENA_BYTES;
        fits.then_some(Self { steps, regions, arena_bytes, input, input_quant, output, macs })
    }

    /// The buffers that inferences need.
    pub fn memory(&self) -> Memory {
        let scratch = self.steps.iter().map(Step::scratch).fold(Scratch::default(), Scratch::most);
        Memory {
            arena: Aligned::zeros(self.arena_bytes),
            rows: vec![0; scratch.rows],
            bytes: Aligned::zeros(scratch.bytes),
            sums: vec![0; scratch.sums],
        }
    }

    /// Bytes of all tensors together.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Steps of one inference.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Runs one frame. `picture` holds stored numbers, NHWC; `logits` is overwritten.
    pub fn run(
        &self,
        memory: &mut Memory,
        kernels: &Kernels,
        picture: &[u8],
        logits: &mut [f32],
    ) -> Result<(), InferError> {
        let region = self.regions.get(self.input).cloned();
        if let Some(slot) = region.and_then(|region| memory.arena.get_mut(region))
            && slot.len() == picture.len()
        {
            slot.copy_from_slice(picture);
        }
        for step in &self.steps {
            step.run(memory, &self.regions, kernels)?;
        }
        let region = self.regions.get(self.output.tensor).cloned();
        let steps = region.and_then(|region| memory.arena.get(region)).unwrap_or(&[]);
        for (logit, &step) in logits.iter_mut().zip(steps) {
            *logit = self.output.quant.dequantise(step);
        }
        Ok(())
    }
}
