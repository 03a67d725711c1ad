//! Convolutions: dense and grouped ones as matrix products of gathered rows, depthwise ones directly.

use std::ops::Range;

use super::border::{Bordered, bands};
use super::crew::{Crew, Cut};
use crate::int8::depthwise_weights::DepthwiseWeights;
use crate::int8::kernels::{Depthwise, Gather, Gemm, Kernels};
use crate::int8::memory::{Buffers, TensorId};
use crate::int8::weights::Packed;
use crate::int8::window::Window;

/// Bytes of one block, of gathered rows and of outputs, which every panel writes a part of: with the weights of a panel
/// they stay in a 32 KiB first-level cache.
const BLOCK: usize = 20 * 1024;

/// The same where the weights do not stay in a second-level cache: each block reads all of them again, so that rows from
/// that cache cost less.
const LARGE_BLOCK: usize = 96 * 1024;

/// Bytes of weights that stay in a second-level cache.
const CACHED: usize = 128 * 1024;

/// A product in pairs of i16 takes as long as so many in bytes.
const PAIR_COST: usize = 2;

/// Fewest rows of a block, if there are as many: two register tiles.
const FEWEST_ROWS: usize = 12;

/// Rows of a window of which the places are kept; what has more is gathered tap by tap.
const MOST_LINES: usize = 8;

/// A dense, pointwise or grouped convolution, or a fully connected layer (one pixel).
#[derive(Debug, Clone)]
pub struct Convolution {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Geometry.
    pub window: Window,
    /// Channels of the input, of all groups.
    pub channels: usize,
    /// The input's zero point, which fills the border.
    pub border: u8,
    /// Weights of each group.
    pub groups: Vec<Packed>,
}

impl Convolution {
    fn depth(&self) -> usize {
        self.groups.first().map_or(0, |group| group.depth)
    }

    /// Output pixels that are gathered at once.
    fn block(&self) -> usize {
        let outputs: usize = self.groups.iter().map(|group| group.channels).sum();
        let weights = size_of::<i16>() * self.depth() * outputs;
        let pixel = (size_of::<i16>() * self.depth() + outputs).max(1);
        let fitting = (if weights > CACHED { LARGE_BLOCK } else { BLOCK } / pixel).max(FEWEST_ROWS);
        // Of equal size rather than a short one at the end, for which all weights are read as well.
        let blocks = self.window.outputs().div_ceil(fitting).max(1);
        self.window.outputs().div_ceil(blocks).max(1)
    }

    /// Numbers of scratch wanted.
    pub fn scratch(&self) -> usize {
        self.block() * self.depth()
    }

    pub(super) fn run(&self, input: &[u8], output: &mut [u8], kernels: &Kernels, crew: Crew<'_>) {
        let outputs: usize = self.groups.iter().map(|group| group.channels).sum();
        let units = self.window.outputs();
        let cost = PAIR_COST.saturating_mul(units).saturating_mul(self.depth()).saturating_mul(outputs);
        let cut = Cut { units, unit_bytes: outputs, fewest: FEWEST_ROWS, cost };
        crew.run(cut, output, |buffers, pixels, output| {
            self.run_pixels(&pixels, input, (output, outputs), &mut buffers.rows, kernels);
        });
    }

    /// Some output pixels, of `outputs` channels each.
    fn run_pixels(
        &self,
        pixels: &Range<usize>,
        input: &[u8],
        (output, outputs): (&mut [u8], usize),
        scratch: &mut [i16],
        kernels: &Kernels,
    ) {
        let mut first_channel = 0;
        for (index, group) in self.groups.iter().enumerate() {
            for band in bands(pixels.len(), self.block()) {
                let Some(rows) = scratch.get_mut(..band.len() * group.depth) else { return };
                self.gather(index, pixels.start + band.start, rows, input, kernels);
                let call = Gemm { rows, pixels: band.len(), weights: group, output_stride: outputs };
                if let Some(output) = output.get_mut(band.start * outputs + first_channel..) {
                    (kernels.gemm)(&call, output);
                }
            }
            first_channel += group.channels;
        }
    }

    /// Gathers what the window covers for the output pixels from `start` on, one row each.
    fn gather(&self, group: usize, start: usize, rows: &mut [i16], input: &[u8], kernels: &Kernels) {
        let [_, columns] = self.window.output;
        let depth = self.depth();
        if depth == 0 || columns == 0 {
            return;
        }
        let dense = self.groups.len() == 1;
        if dense && self.window.is_pointwise() && depth == self.channels {
            (kernels.widen)(input.get(start * depth..).unwrap_or(&[]), rows);
            return;
        }
        let (mut y, mut x) = (start / columns, start % columns);
        let inside = if dense { self.inside() } else { 0..0 };
        let (mut at, end) = (0, rows.len() / depth * depth);
        while at < end {
            let rest = rows.get_mut(at..end).unwrap_or_default();
            let mut count = 1;
            if inside.contains(&x) {
                count = (inside.end - x).min(rest.len() / depth);
                self.gather_inside(y, x, (rest, count), input, kernels);
            } else {
                self.gather_taps(group, y, x, rest.get_mut(..depth).unwrap_or_default(), input);
            }
            at += count * depth;
            x += count;
            if x == columns {
                (y, x) = (y + 1, 0);
            }
        }
    }

    /// The output columns whose taps all lie on the image, side by side.
    fn inside(&self) -> Range<usize> {
        let ([_, columns], [_, outputs], [lines, taps]) = (self.window.input, self.window.output, self.window.kernel);
        let ([_, stride], [_, pad], [_, dilation]) = (self.window.stride, self.window.pad, self.window.dilation);
        let end = (columns + pad).checked_sub(taps).map_or(0, |last| last / stride.max(1) + 1).min(outputs);
        if (dilation == 1 || taps == 1) && lines <= MOST_LINES {
            pad.div_ceil(stride.max(1)).min(end)..end
        } else {
            0..0
        }
    }

    /// `count` rows of an ungrouped convolution, the first of `rows`: the taps of a window row that lie side by side are
    /// one run of bytes.
    fn gather_inside(&self, y: usize, x: usize, (rows, count): (&mut [i16], usize), input: &[u8], kernels: &Kernels) {
        let ([tap_rows, tap_columns], [_, input_columns]) = (self.window.kernel, self.window.input);
        let ([_, stride], [_, pad]) = (self.window.stride, self.window.pad);
        let mut starts = [None; MOST_LINES];
        for (tap_row, start) in starts.iter_mut().enumerate().take(tap_rows) {
            *start = self.window.row(y, tap_row).map(|row| (row * input_columns + x * stride - pad) * self.channels);
        }
        let call = Gather {
            input,
            starts: starts.get(..tap_rows).unwrap_or_default(),
            length: tap_columns * self.channels,
            step: stride * self.channels,
            border: self.border,
            count,
            depth: self.depth(),
        };
        (kernels.gather)(&call, rows);
    }

    /// One row of one group.
    fn gather_taps(&self, group: usize, y: usize, x: usize, row: &mut [i16], input: &[u8]) {
        let ([_, tap_columns], [_, input_columns]) = (self.window.kernel, self.window.input);
        let per_group = (self.channels / self.groups.len().max(1)).max(1);
        for (tap_row, run) in row.chunks_mut(tap_columns * per_group).enumerate() {
            let line = self.window.row(y, tap_row);
            for (tap_column, tap) in run.chunks_mut(per_group).enumerate() {
                match line.zip(self.window.column(x, tap_column)) {
                    Some((line, column)) => {
                        let place = (line * input_columns + column) * self.channels + group * per_group;
                        let bytes = input.get(place..).unwrap_or(&[]);
                        tap.iter_mut().zip(bytes).for_each(|(wide, &byte)| *wide = i16::from(byte));
                    }
                    None => tap.fill(i16::from(self.border)),
                }
            }
        }
    }
}

/// A depthwise convolution.
#[derive(Debug, Clone)]
pub struct DepthwiseStep {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    /// Geometry.
    pub window: Window,
    /// One pixel of the border.
    pub border: Vec<u8>,
    /// Weights.
    pub weights: DepthwiseWeights,
}

/// A product of a depthwise convolution takes as long as so many of a dense one.
const DEPTHWISE_COST: usize = 4;

/// Bytes of an image that are copied at once.
const BAND: usize = 16 * 1024;

/// Most bytes that are copied at once, where even one row needs many.
const MOST_COPIED: usize = 1 << 22;

/// Bytes that a kernel of narrow images may read beyond the last tap.
const SLACK: usize = 64;

impl DepthwiseStep {
    fn bordered(&self) -> Option<Bordered> {
        let bordered = Bordered { window: self.window, channels: self.weights.channels, border: *self.border.first()? };
        let is_wanted = self.weights.narrow.is_some() && bordered.bytes(1) <= MOST_COPIED;
        is_wanted.then_some(bordered)
    }

    fn band(&self, bordered: Bordered) -> usize {
        let [rows, _] = self.window.output;
        bordered.rows_for(BAND).clamp(1, rows.max(1))
    }

    /// Bytes of scratch wanted.
    pub fn scratch(&self) -> usize {
        let copy = self.bordered().map(|bordered| bordered.bytes(self.band(bordered)));
        copy.map_or(0, |bytes| bytes.saturating_add(SLACK))
    }

    pub(super) fn run(&self, input: &[u8], output: &mut [u8], kernels: &Kernels, crew: Crew<'_>) {
        let ([units, columns], channels) = (self.window.output, self.weights.channels);
        let unit_bytes = columns.saturating_mul(channels);
        let cost = DEPTHWISE_COST.saturating_mul(units.saturating_mul(unit_bytes)).saturating_mul(self.window.taps());
        let cut = Cut { units, unit_bytes, fewest: 1, cost };
        crew.run(cut, output, |buffers, rows, output| match self.bordered() {
            Some(bordered) => self.run_bordered(bordered, &rows, input, (output, unit_bytes), buffers, kernels),
            None => {
                let (window, first) = self.window.band(&rows);
                let [_, columns] = self.window.input;
                let input = input.get(first * columns * channels..).unwrap_or_default();
                self.run_window(&window, input, output, kernels);
            }
        });
    }

    /// Some output rows of `row_bytes`, of copies with the border around them.
    fn run_bordered(
        &self,
        bordered: Bordered,
        rows: &Range<usize>,
        input: &[u8],
        (output, row_bytes): (&mut [u8], usize),
        buffers: &mut Buffers,
        kernels: &Kernels,
    ) {
        let [_, columns] = self.window.output;
        let [_, covered] = self.window.covered();
        for band in bands(rows.len(), self.band(bordered)) {
            let image = bordered.copy(&(rows.start + band.start..rows.start + band.end), input, &mut buffers.bytes);
            let window = Window {
                input: [self.window.covered_rows(band.len()), covered],
                output: [band.len(), columns],
                pad: [0, 0],
                ..self.window
            };
            self.run_window(
                &window,
                image.bytes,
                output.get_mut(band.start * row_bytes..).unwrap_or_default(),
                kernels,
            );
        }
    }

    fn run_window(&self, window: &Window, input: &[u8], output: &mut [u8], kernels: &Kernels) {
        let call = Depthwise { input, border: &self.border, window, weights: &self.weights };
        (kernels.depthwise)(&call, output);
    }
}
