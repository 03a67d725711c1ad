//! Steps that move numbers without arithmetic.

use super::elementwise::look_up;
use crate::int8::memory::TensorId;
use crate::int8::view::CopyLoop;

/// Longest block of which the places are listed.
const LONGEST_BLOCK: usize = 1 << 14;

/// A strided copy: a transposition, a channel shuffle, a slice, one part of a concatenation.
#[derive(Debug, Clone)]
pub struct Copy {
    /// Read.
    pub input: TensorId,
    /// Written, perhaps in part.
    pub output: TensorId,
    /// Where reading and writing begin.
    start: [usize; 2],
    /// What is done again and again, outermost first.
    outer: Vec<CopyLoop>,
    block: Block,
    /// From the input's steps to the output's, where they differ.
    table: Option<Box<[u8; 256]>>,
}

/// What is written without a gap.
#[derive(Debug, Clone)]
enum Block {
    /// So many neighbours.
    Run(usize),
    /// The places of its numbers, counted from its first.
    Places(Box<[u32]>),
}

impl Copy {
    /// Makes the copy of the given loops, which are in order of their distances on the writing side.
    pub fn new([input, output]: [TensorId; 2], start: [usize; 2], mut loops: Vec<CopyLoop>) -> Self {
        let mut places: Vec<u32> = vec![0];
        while let Some(&CopyLoop { size, from, to }) = loops.last() {
            let length = places.len();
            let last = from.checked_mul(size).and_then(|span| u32::try_from(span).ok());
            if to != length || length.saturating_mul(size) > LONGEST_BLOCK || last.is_none() {
                break;
            }
            let block = std::mem::take(&mut places);
            places = (0..size).flat_map(|index| block.iter().map(move |place| place + (index * from) as u32)).collect();
            loops.pop();
        }
        let is_run = places.iter().zip(0..).all(|(&place, index)| place == index);
        let block = if is_run { Block::Run(places.len()) } else { Block::Places(places.into()) };
        Self { input, output, start, outer: loops, block, table: None }
    }

    /// The same copy that maps every number on its way.
    pub fn with_table(mut self, table: Option<Box<[u8; 256]>>) -> Self {
        self.table = table;
        self
    }

    pub(super) fn run(&self, input: &[u8], output: &mut [u8]) {
        self.repeat(&self.outer, input, output, self.start);
    }

    fn repeat(&self, loops: &[CopyLoop], input: &[u8], output: &mut [u8], [from, to]: [usize; 2]) {
        let Some((each, rest)) = loops.split_first() else { return self.copy_block(input, output, from, to) };
        for index in 0..each.size {
            self.repeat(rest, input, output, [from + index * each.from, to + index * each.to]);
        }
    }

    fn copy_block(&self, input: &[u8], output: &mut [u8], from: usize, to: usize) {
        let (Some(input), Some(output)) = (input.get(from..), output.get_mut(to..)) else { return };
        match (&self.block, &self.table) {
            (Block::Run(length), table) => {
                let (Some(input), Some(output)) = (input.get(..*length), output.get_mut(..*length)) else { return };
                match table {
                    Some(table) => look_up(table, input, output),
                    None => output.copy_from_slice(input),
                }
            }
            (Block::Places(places), table) => {
                let numbers = places.iter().filter_map(|&place| input.get(place as usize));
                match table {
                    Some(table) => {
                        let mapped = numbers.filter_map(|&number| table.get(usize::from(number)));
                        output.iter_mut().zip(mapped).for_each(|(to, &number)| *to = number);
                    }
                    None => output.iter_mut().zip(numbers).for_each(|(to, &number)| *to = number),
                }
            }
        }
    }
}

/// Nearest-neighbour scaling: which input row and column each output row and column repeats.
#[derive(Debug, Clone)]
pub struct Resize {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Channels.
    pub channels: usize,
    /// Columns of the input.
    pub input_columns: usize,
    /// Input row of each output row.
    pub rows: Vec<usize>,
    /// Input column of each output column.
    pub columns: Vec<usize>,
}

impl Resize {
    pub(super) fn run(&self, input: &[u8], output: &mut [u8]) {
        let places = self.rows.iter().flat_map(|&row| self.columns.iter().map(move |&column| (row, column)));
        for ((row, column), output) in places.zip(output.chunks_exact_mut(self.channels)) {
            let place = (row * self.input_columns + column) * self.channels;
            if let Some(pixel) = input.get(place..place + self.channels) {
                output.copy_from_slice(pixel);
            }
        }
    }
}

/// Numbers of the file as a tensor.
#[derive(Debug, Clone)]
pub struct FillStep {
    /// Written.
    pub output: TensorId,
    /// What is written, in the steps' order.
    pub bytes: Vec<u8>,
}

impl FillStep {
    pub(super) fn run(&self, output: &mut [u8]) {
        output.iter_mut().zip(&self.bytes).for_each(|(to, &byte)| *to = byte);
    }
}
