//! Steps that move numbers without arithmetic.

use super::elementwise::look_up;
use crate::int8::memory::TensorId;

/// One input of a concatenation along the channels.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Read.
    pub input: TensorId,
    /// Written in part.
    pub output: TensorId,
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub output_channels: usize,
    /// Where in the output the input's channels go.
    pub first_channel: usize,
    /// From the input's steps to the output's, where they differ.
    pub table: Option<Box<[u8; 256]>>,
}

impl Piece {
    pub(super) fn run(&self, input: &[u8], output: &mut [u8]) {
        let span = self.first_channel..self.first_channel + self.channels;
        let pixels = output.chunks_exact_mut(self.output_channels).zip(input.chunks_exact(self.channels));
        for (output, input) in pixels {
            let Some(output) = output.get_mut(span.clone()) else { return };
            match &self.table {
                Some(table) => look_up(table, input, output),
                None => output.copy_from_slice(input),
            }
        }
    }
}

/// An image as one row: channel by channel, as the model counts them.
#[derive(Debug, Clone)]
pub struct Flatten {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Channels.
    pub channels: usize,
}

impl Flatten {
    pub(super) fn run(&self, input: &[u8], output: &mut [u8]) {
        let pixels = input.len() / self.channels.max(1);
        for (channel, plane) in output.chunks_exact_mut(pixels.max(1)).enumerate() {
            let steps = input.iter().skip(channel).step_by(self.channels.max(1));
            plane.iter_mut().zip(steps).for_each(|(to, &step)| *to = step);
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
