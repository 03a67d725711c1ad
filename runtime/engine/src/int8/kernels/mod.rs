//! The inner loops, chosen once at load. The scalar set is the definition; every other gives the same bits.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod choice;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
#[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "kernels for x86-64 skip outputs beyond a row's ends"))]
mod columns;
mod scalar;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod taps;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, unused_imports, unused_macros, reason = "sets for x86-64 without dot products have it")
)]
pub mod winograd;
#[cfg(test)]
pub mod winograd_portable;

use super::depthwise_weights::DepthwiseWeights;
use super::quant::Bounds;
use super::weights::{DotPacking, DotWeights, Packed};
use super::window::Window;
pub use choice::KernelChoice;
use winograd::WinogradKernels;

/// A matrix product in pairs of i16 with its epilogue: `pixels` rows of `weights.depth` numbers against all output channels.
pub struct Gemm<'a> {
    /// `[pixels][depth]`.
    pub rows: &'a [i16],
    /// Rows.
    pub pixels: usize,
    /// The other side.
    pub weights: &'a Packed,
    /// Bytes from one output pixel to the next.
    pub output_stride: usize,
}

impl Gemm<'_> {
    /// Whether all slices are long enough for what the numbers say.
    fn fits(&self, output: &[u8]) -> bool {
        let weights = self.weights;
        let padded = weights.channels.next_multiple_of(super::weights::PANEL);
        let last = self.pixels.saturating_sub(1).saturating_mul(self.output_stride);
        weights.depth.is_multiple_of(2)
            && self.rows.len() >= self.pixels.saturating_mul(weights.depth)
            && weights.panels.len() >= padded.saturating_mul(weights.depth)
            && weights.epilogue.bias.len() >= padded
            && weights.epilogue.scale.len() >= padded
            && output.len() >= last.saturating_add(weights.channels)
    }
}

/// Rows for [`Gemm`] that are made of runs of an NHWC image, the same ones for all, some bytes further for each.
#[derive(Debug, Clone, Copy)]
pub struct Gather<'a> {
    /// The image.
    pub input: &'a [u8],
    /// Where each run of the first row begins; `None` in the border.
    pub starts: &'a [Option<usize>],
    /// Bytes of a run.
    pub length: usize,
    /// Bytes from a row's runs to those of the next row.
    pub step: usize,
    /// The input's zero point.
    pub border: u8,
    /// Rows.
    pub count: usize,
    /// Numbers from one row to the next, at least all runs of a row. What is between them may become anything.
    pub depth: usize,
}

impl Gather<'_> {
    /// How many rows can be made if as many numbers as `unit` says are always read and written at once.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "kernels for x86-64 write whole vectors"))]
    fn rows_in_units(&self, unit: usize, rows: &[i16]) -> usize {
        let excess = self.length.next_multiple_of(unit) - self.length;
        let row = self.starts.len() * self.length + excess;
        let places = |length: usize, first: usize, step: usize| {
            length.checked_sub(first).map_or(0, |room| room.checked_div(step).map_or(usize::MAX, |steps| steps + 1))
        };
        let last = self.starts.iter().flatten().max();
        let inputs = last
            .map_or(usize::MAX, |last| places(self.input.len(), last.saturating_add(self.length + excess), self.step));
        places(rows.len(), row, self.depth).min(inputs).min(self.count)
    }

    /// Whether all slices are long enough for what the numbers say.
    fn fits(&self, rows: &[i16]) -> bool {
        let furthest = self.count.saturating_sub(1).saturating_mul(self.step).saturating_add(self.length);
        let ends = self.starts.iter().flatten().map(|start| start.saturating_add(furthest));
        self.starts.len().saturating_mul(self.length) <= self.depth
            && rows.len() >= self.count.saturating_mul(self.depth)
            && ends.max().is_none_or(|end| end <= self.input.len())
    }
}

/// A matrix product of bytes with its epilogue. What is multiplied is read where it lies: every output pixel's row of
/// bytes is `weights.runs` runs of an NHWC image, each `run_pitch` bytes after the one before.
#[derive(Debug)]
pub struct DotGemm<'a> {
    /// Pixel `p` begins at `p / columns * row_pitch + p % columns * pixel_pitch`. Runs are read in whole groups, so that
    /// after the last one as much has to lie as is lacking to a whole group.
    pub input: &'a [u8],
    /// Output pixels of an output row; all of them where there is no second row.
    pub columns: usize,
    /// Bytes from one output row's input to the next.
    pub row_pitch: usize,
    /// Bytes from one output pixel's input to the next.
    pub pixel_pitch: usize,
    /// Bytes from one run to the next.
    pub run_pitch: usize,
    /// Output pixels.
    pub pixels: usize,
    /// The other side.
    pub weights: &'a DotWeights,
    /// Bytes from one output pixel to the next.
    pub output_stride: usize,
}

impl DotGemm<'_> {
    /// Where a pixel's row begins.
    #[inline]
    fn place(&self, pixel: usize) -> usize {
        pixel / self.columns * self.row_pitch + pixel % self.columns * self.pixel_pitch
    }

    /// Bytes of the input that are read, counted from its start.
    fn extent(&self) -> usize {
        let (runs, run) = (self.weights.runs, self.weights.run);
        let last = self.pixels.saturating_sub(1);
        let rows = (last / self.columns.max(1)).saturating_mul(self.row_pitch);
        let columns = last.min(self.columns.saturating_sub(1)).saturating_mul(self.pixel_pitch);
        let row = runs.saturating_sub(1).saturating_mul(self.run_pitch).saturating_add(run);
        rows.saturating_add(columns).saturating_add(row)
    }

    /// Whether all slices are long enough for what the numbers say, and the weights are packed as is wanted.
    fn fits(&self, packing: DotPacking, output: &[u8]) -> bool {
        let weights = self.weights;
        let padded = weights.channels.next_multiple_of(packing.panel);
        let last = self.pixels.saturating_sub(1).saturating_mul(self.output_stride);
        weights.packing == packing
            && self.columns > 0
            && weights.run.is_multiple_of(packing.group)
            && self.input.len() >= self.extent()
            && weights.panels.len() >= padded.saturating_mul(weights.runs).saturating_mul(weights.run)
            && weights.epilogue.bias.len() >= padded
            && weights.epilogue.scale.len() >= padded
            && output.len() >= last.saturating_add(weights.channels)
    }
}

/// A depthwise convolution of a whole image.
#[derive(Clone, Copy)]
pub struct Depthwise<'a> {
    /// NHWC.
    pub input: &'a [u8],
    /// One pixel of the border: the input's zero point in every channel, at least 16 times.
    pub border: &'a [u8],
    /// Geometry.
    pub window: &'a Window,
    /// One filter a channel.
    pub weights: &'a DepthwiseWeights,
}

impl Depthwise<'_> {
    fn fits(&self, output: &[u8]) -> bool {
        let (channels, taps) = (self.weights.channels, self.window.taps());
        let [rows, columns] = self.window.input;
        channels > 0
            && taps > 0
            && self.input.len() >= rows.saturating_mul(columns).saturating_mul(channels)
            && self.border.len() >= channels
            && self.weights.taps.len() >= taps.saturating_mul(channels)
            && self.weights.epilogue.bias.len() >= channels
            && self.weights.epilogue.scale.len() >= channels
            && output.len() >= self.window.outputs().saturating_mul(channels)
            && self.weights.blocks.iter().all(|block| {
                matches!(block.width, 16 | 32)
                    && (block.start.saturating_add(block.width) <= channels
                        || (block.start == 0 && block.width == 16 && self.border.len() >= 16))
                    && block.pairs.len() >= taps.div_ceil(2) * 2 * block.width
                    && block.bias.len() >= block.width
                    && block.scale.len() >= block.width
            })
    }
}

/// A sum of two tensors of the same size: `round(a * scale_a + b * scale_b + fixed)`, each product fused with its sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Add {
    /// `scale of a / scale of the output`.
    pub scale_a: f32,
    /// `scale of b / scale of the output`.
    pub scale_b: f32,
    /// Taken from the stored `a` first: 128 where the model's type is signed.
    pub offset_a: i32,
    /// Taken from the stored `b` first.
    pub offset_b: i32,
    /// The output's zero point less what the inputs' zero points add, in the model's own type.
    pub fixed: f32,
    /// Range of the sum in the model's own type; `zero_point` is what is added to store it.
    pub bounds: Bounds,
}

impl Add {
    /// Whether all sums can be rounded without a clamp before: scales that large are in no real model.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "kernels for x86-64 leave clamps out"))]
    fn is_tame(&self) -> bool {
        255.0 * (self.scale_a.abs() + self.scale_b.abs()) + self.fixed.abs() < (1u32 << 30) as f32
    }
}

/// A product of two tensors: `round((a - zero_a) * (b - zero_b) * scale + fixed)`, as ONNX Runtime's QLinearMul.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Multiply {
    /// Stored zero points of `a` and `b`.
    pub zero_points: [i32; 2],
    /// `scale of a * scale of b / scale of the output`.
    pub scale: f32,
    /// The output's zero point in the model's own type.
    pub fixed: f32,
    /// Range in the model's own type; `zero_point` is what is added to store it.
    pub bounds: Bounds,
}

impl Multiply {
    /// One product.
    #[inline]
    pub fn of(&self, a: u8, b: u8) -> u8 {
        let [zero_a, zero_b] = self.zero_points;
        let product = (i32::from(a) - zero_a) * (i32::from(b) - zero_b);
        self.bounds.requantise(product as f32 * self.scale + self.fixed)
    }
}

/// Products of bytes: how the weights are wanted, and the kernel.
#[derive(Clone, Copy)]
pub struct DotKernels {
    /// The only packing that `gemm` takes.
    pub packing: DotPacking,
    /// Matrix product.
    pub gemm: fn(&DotGemm<'_>, &mut [u8]),
}

/// One set of kernels. Each takes any arguments: what does not fit together leaves the output as it was.
#[derive(Clone, Copy)]
pub struct Kernels {
    /// A short name for logs and tables.
    pub name: &'static str,
    /// Products of bytes; where there are none, or a weight less its zero point does not fit i8, `gemm` does the layer.
    pub dot: Option<DotKernels>,
    /// Products of bytes of a single pixel, for sets that have none of more.
    pub dot_row: Option<DotKernels>,
    /// Widens bytes for `gemm`; the shorter of the two lengths counts.
    pub widen: fn(&[u8], &mut [i16]),
    /// Makes rows for `gemm` from an image.
    pub gather: fn(&Gather<'_>, &mut [i16]),
    /// Dense 3 x 3 convolutions without stride, of whole panels of channels; where there are none, `gemm` does these too.
    pub winograd: Option<WinogradKernels>,
    /// Matrix product in pairs of i16.
    pub gemm: fn(&Gemm<'_>, &mut [u8]),
    /// Depthwise convolution.
    pub depthwise: fn(&Depthwise<'_>, &mut [u8]),
    /// Sum.
    pub add: fn(&Add, &[u8], &[u8], &mut [u8]),
    /// Product of two tensors; the second begins again as often as it has to.
    pub multiply: fn(&Multiply, &[u8], &[u8], &mut [u8]),
    /// Adds every pixel of an NHWC image to the sums, one a channel.
    pub sum_pixels: fn(&[u8], &mut [i32]),
    /// Adds to the weights of a depthwise convolution over a window what `depthwise` wants to read.
    pub prepare_depthwise: fn(&Window, DepthwiseWeights) -> DepthwiseWeights,
    /// Makes products as fast as the processor can, in registers only, for as many rounds; gives how many it made.
    pub peak: Option<fn(u64) -> u64>,
}

impl Kernels {
    /// Products of bytes, of more than one pixel or of one.
    pub fn products(&self) -> Option<DotKernels> {
        self.dot.or(self.dot_row)
    }

    /// The products for so many pixels.
    pub fn products_for(&self, pixels: usize) -> Option<DotKernels> {
        self.dot.or(self.dot_row.filter(|_| pixels == 1))
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}
