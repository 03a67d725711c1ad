//! A compiled model: its steps in order, and where their tensors lie.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use super::aligned::Aligned;
use super::compile::Fallback;
use super::kernels::Kernels;
use super::memory::{Buffers, Lifetime, Memory, Scratch, SlotId, TensorId, lay_out};
use super::quant::Quant;
use super::steps::{Step, TableStep};
use crate::error::InferError;
use crate::program::Program;
use crate::threads::Threads;

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
    /// The size of a tensor whose shape is one of these; the batch is 1.
    pub fn of(shape: &[usize]) -> Option<Self> {
        match *shape {
            [1, channels, rows, columns] => Some(Self { rows, columns, channels, is_row: false }),
            [1, channels] => Some(Self { rows: 1, columns: 1, channels, is_row: true }),
            _ => None,
        }
    }

    /// As the model writes it.
    pub fn shape(self) -> Vec<usize> {
        if self.is_row { vec![1, self.channels] } else { vec![1, self.channels, self.rows, self.columns] }
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

/// Where the picture goes.
#[derive(Debug, Clone, Copy)]
pub enum Entry {
    /// Quantised numbers, NHWC.
    Steps(TensorId, Quant),
    /// Real numbers in the model's own order.
    Reals(SlotId),
}

/// Where the logits are.
#[derive(Debug, Clone, Copy)]
pub enum Exit {
    /// Quantised numbers.
    Steps(TensorId, Quant),
    /// Real numbers.
    Reals(SlotId),
}

/// What a compiler hands over.
#[derive(Debug, Default)]
pub struct Parts {
    /// Bytes of each tensor.
    pub tensors: Vec<usize>,
    /// Numbers of each tensor of real numbers.
    pub slots: Vec<usize>,
    /// In order.
    pub steps: Vec<Step>,
    /// Parts of the graph that tract runs.
    pub programs: Vec<Program>,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// What could not be run in int8.
    pub fallbacks: Vec<Fallback>,
}

impl Parts {
    /// Leaves out tables that nothing reads any more, because products with them became tables of their own.
    pub fn drop_unread(&mut self, exit: &Exit) {
        let mut is_read = vec![false; self.tensors.len()];
        let mut read = |id: TensorId| {
            if let Some(is_read) = is_read.get_mut(id) {
                *is_read = true;
            }
        };
        self.steps.iter().flat_map(Step::inputs).for_each(&mut read);
        if let Exit::Steps(tensor, _) = exit {
            read(*tensor);
        }
        self.steps.retain(|step| {
            let Step::Table(TableStep { output, .. }) = step else { return true };
            let is_read = is_read.get(*output).copied().unwrap_or(true);
            if !is_read && let Some(length) = self.tensors.get_mut(*output) {
                *length = 0;
            }
            is_read
        });
    }
}

/// A compiled model.
#[derive(Debug)]
pub struct Plan {
    parts: Parts,
    regions: Vec<Range<usize>>,
    arena_bytes: usize,
    /// Where the picture goes.
    pub entry: Entry,
    exit: Exit,
    /// Logits.
    pub classes: usize,
}

impl Plan {
    /// Lays the tensors out; `None` where they take too much memory.
    pub fn new(parts: Parts, entry: Entry, exit: Exit, classes: usize) -> Option<Self> {
        let mut lifetimes: Vec<Option<Lifetime>> = vec![None; parts.tensors.len()];
        let mut extend = |id: TensorId, at: usize| {
            if let Some(slot) = lifetimes.get_mut(id) {
                let first = slot.map_or(at, |lifetime| lifetime.first);
                *slot = Some(Lifetime { first, last: at });
            }
        };
        if let Entry::Steps(tensor, _) = entry {
            extend(tensor, 0);
        }
        for (at, step) in parts.steps.iter().enumerate() {
            step.inputs().into_iter().chain(step.output()).for_each(|id| extend(id, at));
        }
        if let Exit::Steps(tensor, _) = exit {
            extend(tensor, parts.steps.len());
        }
        let lifetimes = lifetimes.into_iter().map(|lifetime| lifetime.unwrap_or(Lifetime { first: 0, last: 0 }));
        let spans: Vec<(usize, Lifetime)> = parts.tensors.iter().copied().zip(lifetimes).collect();
        let (regions, arena_bytes) = lay_out(&spans);
        let reals = parts.slots.iter().try_fold(0usize, |sum, &length| sum.checked_add(length.checked_mul(4)?))?;
        let fits = arena_bytes.checked_add(reals)? <= MOST_ARENA_BYTES;
        fits.then_some(Self { parts, regions, arena_bytes, entry, exit, classes })
    }

    /// The buffers that inferences on one thread need.
    pub fn memory(&self) -> Result<Memory, InferError> {
        let states: Result<Vec<_>, _> = self.parts.programs.iter().map(Program::state).collect();
        Ok(Memory {
            arena: Aligned::zeros(self.arena_bytes),
            buffers: self.buffers(1),
            slots: self.parts.slots.iter().map(|&length| vec![0.0; length]).collect(),
            states: states?,
        })
    }

    /// What each of so many threads works with.
    pub fn buffers(&self, threads: usize) -> Vec<Mutex<Buffers>> {
        let scratch = self.parts.steps.iter().map(Step::scratch).fold(Scratch::default(), Scratch::most);
        (0..threads).map(|_| Mutex::new(Buffers::new(scratch))).collect()
    }

    /// Bytes of all tensors together.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Steps of one inference.
    pub fn steps(&self) -> &[Step] {
        &self.parts.steps
    }

    /// What could not be run in int8.
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.parts.fallbacks
    }

    /// Multiply-accumulates of one inference, in integers and in real numbers.
    pub fn macs(&self) -> (u64, u64) {
        (self.parts.macs, self.parts.programs.iter().map(Program::macs).fold(0, u64::saturating_add))
    }

    /// Numbers that are dequantised or quantised where tract takes over or hands back, of one inference.
    pub fn border_numbers(&self) -> usize {
        let crossing = |step: &Step| match step {
            Step::Island(island) => island.tensors().filter_map(|id| self.parts.tensors.get(id)).sum(),
            Step::Quantise(step) => self.parts.tensors.get(step.output).copied().unwrap_or(0),
            _ => 0,
        };
        self.parts.steps.iter().map(crossing).fold(0usize, usize::saturating_add)
    }

    /// Puts a quantised picture, NHWC, where the steps look for it.
    pub fn enter_steps(&self, memory: &mut Memory, picture: &[u8]) {
        if let Entry::Steps(tensor, _) = self.entry
            && let Some(region) = self.regions.get(tensor).cloned()
            && let Some(slot) = memory.arena.get_mut(region)
            && slot.len() == picture.len()
        {
            slot.copy_from_slice(picture);
        }
    }

    /// Puts a picture of real numbers where the steps look for it.
    pub fn enter_reals(&self, memory: &mut Memory, picture: &[f32]) {
        if let Entry::Reals(slot) = self.entry
            && let Some(slot) = memory.slots.get_mut(slot)
            && slot.len() == picture.len()
        {
            slot.copy_from_slice(picture);
        }
    }

    /// Runs the steps on what was entered; `logits` is overwritten.
    pub fn run(
        &self,
        memory: &mut Memory,
        kernels: &Kernels,
        threads: &Threads,
        logits: &mut [f32],
    ) -> Result<(), InferError> {
        for step in &self.parts.steps {
            step.run(memory, &self.regions, &self.parts.programs, (kernels, threads))?;
        }
        match self.exit {
            Exit::Steps(tensor, quant) => {
                let region = self.regions.get(tensor).cloned();
                let steps = region.and_then(|region| memory.arena.get(region)).unwrap_or(&[]);
                for (logit, &step) in logits.iter_mut().zip(steps) {
                    *logit = quant.dequantise(step);
                }
            }
            Exit::Reals(slot) => {
                let reals = memory.slots.get(slot).map_or(&[][..], Vec::as_slice);
                logits.iter_mut().zip(reals).for_each(|(logit, &real)| *logit = real);
            }
        }
        Ok(())
    }
}
