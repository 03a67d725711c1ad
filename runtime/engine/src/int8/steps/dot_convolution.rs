//! Dense and grouped convolutions as matrix products of bytes, read in place where the image allows it.

use std::ops::Range;

use super::border::{Bordered, Image, bands};
use super::crew::{Crew, Cut};
use crate::int8::kernels::{DotGemm, Kernels};
use crate::int8::memory::TensorId;
use crate::int8::weights::DotWeights;
use crate::int8::window::Window;

/// Bytes of input that are worked on at once, so that they stay in the first-level cache for all panels.
const BLOCK: usize = 24 * 1024;

/// Fewest pixels of a block: below this, reading the weights again for each block costs more than the cache saves.
const FEWEST_PIXELS: usize = 48;

/// Pixels of a block are a multiple of this where rows do not matter, so that register tiles come out even.
const BLOCK_MULTIPLE: usize = 12;

/// Most bytes of input rows that are copied at once; a window that needs more gathers.
const MOST_COPIED: usize = 1 << 22;

/// Where the matrix product finds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// In the input itself, pixel after pixel.
    Pixels,
    /// In the input itself, by rows of the output.
    Input,
    /// In a copy of some of the input's rows with the border around them.
    Bordered,
    /// In rows that were gathered for each group.
    Gathered,
}

/// A dense, pointwise or grouped convolution, or a fully connected layer (one pixel), of which all weights fit i8.
#[derive(Debug, Clone)]
pub struct DotConvolution {
    /// Read.
    pub input: TensorId,
    /// Written.
    pub output: TensorId,
    window: Window,
    /// Channels of the input, of all groups.
    channels: usize,
    /// The input's zero point, which fills the border.
    border: u8,
    /// Weights of each group, with a run for each row of the window.
    groups: Vec<DotWeights>,
    source: Source,
    /// Output rows that are worked on at once; pixels, where rows do not matter.
    block: usize,
}

impl DotConvolution {
    /// A step from `tensors.0` to `tensors.1` over an input of `channels` with `border` around it. `groups` have a run for
    /// each row of the window.
    pub fn new(
        tensors: (TensorId, TensorId),
        window: Window,
        channels: usize,
        border: u8,
        groups: Vec<DotWeights>,
    ) -> Self {
        let (input, output) = tensors;
        let mut step = Self { input, output, window, channels, border, groups, source: Source::Gathered, block: 1 };
        step.source = step.choose_source();
        step.block = step.choose_block();
        if step.source == Source::Bordered && step.scratch() > MOST_COPIED {
            step.source = Source::Gathered;
            step.block = step.choose_block();
        }
        step
    }

    fn choose_source(&self) -> Source {
        let ([_, columns], [_, dilation]) = (self.window.kernel, self.window.dilation);
        if self.groups.len() != 1 || (columns > 1 && dilation > 1) {
            return Source::Gathered;
        }
        let ([rows, columns], [covered_rows, covered_columns]) = (self.window.input, self.window.covered());
        let is_inside = self.window.pad == [0, 0] && covered_rows <= rows && covered_columns <= columns;
        let is_whole = self.groups.iter().all(|group| group.run == self.run_bytes());
        match is_inside && is_whole {
            true if self.window.is_pointwise() => Source::Pixels,
            true => Source::Input,
            false => Source::Bordered,
        }
    }

    fn choose_block(&self) -> usize {
        let [rows, columns] = self.window.output;
        let pixels = |bytes: usize| {
            let (fitting, pixels) = ((BLOCK / bytes.max(1)).max(FEWEST_PIXELS), rows * columns);
            // About as many as fit, rather than a few at the end for which all weights are read again.
            let blocks = ((pixels + fitting / 2) / fitting).max(1);
            pixels.div_ceil(blocks).next_multiple_of(BLOCK_MULTIPLE).min(pixels).max(1)
        };
        match self.source {
            Source::Gathered => pixels(self.gathered_row()),
            Source::Pixels => pixels(self.channels),
            Source::Input | Source::Bordered => {
                let fitting = self.bordered().rows_for(BLOCK);
                fitting.max(FEWEST_PIXELS.div_ceil(columns.max(1))).min(rows).max(1)
            }
        }
    }

    /// Bytes of a run of one group before it is padded to whole groups.
    fn run_bytes(&self) -> usize {
        let [_, tap_columns] = self.window.kernel;
        tap_columns * self.channels / self.groups.len().max(1)
    }

    fn bordered(&self) -> Bordered {
        Bordered { window: self.window, channels: self.channels, border: self.border }
    }

    /// Bytes of one gathered row.
    fn gathered_row(&self) -> usize {
        self.groups.first().map_or(0, |group| group.runs * group.run)
    }

    /// Bytes of scratch wanted.
    pub fn scratch(&self) -> usize {
        let slack = self.groups.first().map_or(0, |group| group.packing.group);
        match self.source {
            Source::Pixels | Source::Input => 0,
            Source::Bordered => self.bordered().bytes(self.block).saturating_add(slack),
            Source::Gathered => self.block.saturating_mul(self.gathered_row()),
        }
    }

    /// Output channels of all groups.
    fn outputs(&self) -> usize {
        self.groups.iter().map(|group| group.channels).sum()
    }

    /// In rows where these matter, in pixels otherwise.
    fn cut(&self) -> Cut {
        let ([rows, columns], outputs) = (self.window.output, self.outputs());
        let pixels = rows.saturating_mul(columns);
        let cost = pixels.saturating_mul(self.gathered_row()).saturating_mul(outputs);
        match self.source {
            Source::Pixels | Source::Gathered => {
                Cut { units: pixels, unit_bytes: outputs, fewest: FEWEST_PIXELS, cost }
            }
            Source::Input | Source::Bordered => Cut {
                units: rows,
                unit_bytes: columns.saturating_mul(outputs),
                fewest: FEWEST_PIXELS.div_ceil(columns.max(1)),
                cost,
            },
        }
    }

    pub(super) fn run(&self, input: &[u8], output: &mut [u8], kernels: &Kernels, crew: Crew<'_>) {
        let cut = self.cut();
        crew.run(cut, output, |buffers, units, output| {
            if self.source == Source::Gathered {
                return self.run_gathered(&units, input, output, &mut buffers.bytes, kernels);
            }
            for band in bands(units.len(), self.block) {
                let output = output.get_mut(band.start * cut.unit_bytes..).unwrap_or_default();
                let band = units.start + band.start..units.start + band.end;
                match self.source {
                    Source::Pixels => self.run_pixels(&band, input, output, kernels),
                    Source::Input => self.run_band(band.len(), self.view(&band, input), output, kernels),
                    _ => {
                        let image = self.bordered().copy(&band, input, &mut buffers.bytes);
                        self.run_band(band.len(), image, output, kernels);
                    }
                }
            }
        });
    }

    /// Some pixels of a pointwise convolution.
    fn run_pixels(&self, pixels: &Range<usize>, input: &[u8], output: &mut [u8], kernels: &Kernels) {
        let (Some(weights), Some(dot)) = (self.groups.first(), kernels.products()) else { return };
        let call = DotGemm {
            input: input.get(pixels.start * self.channels..).unwrap_or_default(),
            columns: pixels.len(),
            row_pitch: 0,
            pixel_pitch: self.channels,
            run_pitch: 0,
            pixels: pixels.len(),
            weights,
            output_stride: weights.channels,
        };
        (dot.gemm)(&call, output);
    }

    fn view<'a>(&self, band: &Range<usize>, input: &'a [u8]) -> Image<'a> {
        let ([stride, _], [_, columns]) = (self.window.stride, self.window.input);
        let row_pitch = columns * self.channels;
        Image { bytes: input.get(band.start * stride * row_pitch..).unwrap_or_default(), row_pitch }
    }

    /// So many output rows.
    fn run_band(&self, rows: usize, image: Image<'_>, output: &mut [u8], kernels: &Kernels) {
        let (Some(weights), Some(dot)) = (self.groups.first(), kernels.products()) else { return };
        let ([stride_rows, stride_columns], [dilation, _]) = (self.window.stride, self.window.dilation);
        let [_, columns] = self.window.output;
        let call = DotGemm {
            input: image.bytes,
            columns,
            row_pitch: stride_rows * image.row_pitch,
            pixel_pitch: stride_columns * self.channels,
            run_pitch: dilation * image.row_pitch,
            pixels: rows * columns,
            weights,
            output_stride: weights.channels,
        };
        (dot.gemm)(&call, output);
    }

    /// Some pixels, all groups of them.
    fn run_gathered(
        &self,
        pixels: &Range<usize>,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut [u8],
        kernels: &Kernels,
    ) {
        let Some(dot) = kernels.products() else { return };
        let (row_bytes, output_channels) = (self.gathered_row(), self.outputs());
        let mut first_channel = 0;
        for (index, weights) in self.groups.iter().enumerate() {
            for band in bands(pixels.len(), self.block) {
                let count = band.len();
                let Some(rows) = scratch.get_mut(..count * row_bytes) else { return };
                self.gather(index, pixels.start + band.start, rows, input);
                let call = DotGemm {
                    input: rows,
                    columns: count,
                    row_pitch: 0,
                    pixel_pitch: row_bytes,
                    run_pitch: weights.run,
                    pixels: count,
                    weights,
                    output_stride: output_channels,
                };
                let output = output.get_mut(band.start * output_channels + first_channel..).unwrap_or_default();
                (dot.gemm)(&call, output);
            }
            first_channel += weights.channels;
        }
    }

    /// Gathers what the window covers of one group for the output pixels from `start` on, one row each.
    fn gather(&self, group: usize, start: usize, rows: &mut [u8], input: &[u8]) {
        let ([_, columns], [_, input_columns]) = (self.window.output, self.window.input);
        let per_group = self.channels / self.groups.len().max(1);
        let run = self.groups.get(group).map_or(0, |group| group.run);
        if run == 0 || per_group == 0 {
            return;
        }
        for (index, row) in rows.chunks_exact_mut(self.gathered_row()).enumerate() {
            let (y, x) = ((start + index) / columns, (start + index) % columns);
            for (tap_row, run) in row.chunks_exact_mut(run).enumerate() {
                let source = self.window.row(y, tap_row);
                let taps = run.get_mut(..self.run_bytes()).unwrap_or_default().chunks_exact_mut(per_group);
                for (tap_column, tap) in taps.enumerate() {
                    let place = source.zip(self.window.column(x, tap_column));
                    let place = place.map(|(y, x)| (y * input_columns + x) * self.channels + group * per_group);
                    match place.and_then(|place| input.get(place..place + per_group)) {
                        Some(bytes) => tap.copy_from_slice(bytes),
                        None => tap.fill(self.border),
                    }
                }
            }
        }
    }
}
