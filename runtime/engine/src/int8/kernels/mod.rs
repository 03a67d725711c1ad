//! The inner loops, chosen once at load. The scalar set is the definition; every other gives the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;
#[cfg(test)]
mod tests;

use std::str::FromStr;

use super::quant::Bounds;
use super::weights::{DepthwiseWeights, Packed};
use super::window::Window;

/// The environment variable that forces a set of kernels.
pub const KERNEL_VARIABLE: &str = "TINYSAVER_KERNEL";

/// Which kernels are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KernelChoice {
    /// The fastest that this processor has.
    #[default]
    Fastest,
    /// Portable Rust: the definition.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "" | "auto" => Ok(Self::Fastest),
            "scalar" => Ok(Self::Scalar),
            "avx2" => Ok(Self::Avx2),
            other => Err(format!("there are no kernels '{other}'; choose auto, scalar or avx2")),
        }
    }
}

impl KernelChoice {
    /// As the environment variable `TINYSAVER_KERNEL` says; the fastest where it is not set.
    ///
    /// # Errors
    /// A name that stands for nothing.
    pub fn from_environment() -> Result<Self, String> {
        match std::env::var(KERNEL_VARIABLE) {
            Ok(name) => name.parse().map_err(|error| format!("{KERNEL_VARIABLE}: {error}")),
            Err(_) => Ok(Self::Fastest),
        }
    }
}

/// A matrix product with its epilogue: `pixels` rows of `weights.depth` numbers against all output channels.
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

/// A depthwise convolution of a whole image.
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

/// One set of kernels. Each takes any arguments: what does not fit together leaves the output as it was.
#[derive(Clone, Copy)]
pub struct Kernels {
    /// A short name for logs and tables.
    pub name: &'static str,
    /// Widens bytes; the shorter of the two lengths counts.
    pub widen: fn(&[u8], &mut [i16]),
    /// Matrix product.
    pub gemm: fn(&Gemm<'_>, &mut [u8]),
    /// Depthwise convolution.
    pub depthwise: fn(&Depthwise<'_>, &mut [u8]),
    /// Sum.
    pub add: fn(&Add, &[u8], &[u8], &mut [u8]),
    /// Adds every pixel of an NHWC image to the sums, one a channel.
    pub sum_pixels: fn(&[u8], &mut [i32]),
    /// Whether depthwise weights are wanted in [`super::weights::Block`]s.
    pub wants_blocks: bool,
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

impl Kernels {
    /// The set that a choice stands for.
    ///
    /// # Errors
    /// A set that this processor cannot run.
    pub fn choose(choice: KernelChoice) -> Result<Self, String> {
        match choice {
            KernelChoice::Scalar => Ok(scalar::KERNELS),
            KernelChoice::Fastest => Ok(vector().unwrap_or(scalar::KERNELS)),
            KernelChoice::Avx2 => vector().ok_or_else(|| "this processor has no AVX2 with FMA".into()),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn vector() -> Option<Kernels> {
    avx2::kernels()
}

#[cfg(not(target_arch = "x86_64"))]
fn vector() -> Option<Kernels> {
    None
}
